package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
	"github.com/waybill-dev/waybill/internal/setup"
)

// setupFlags are those of both verbs.
type setupFlags struct {
	tiers       []time.Duration
	window      time.Duration
	partitions  int
	replication int
}

func setupCommand(a *app) *cobra.Command {
	return noun("setup", "Compare the topics of a group with what it needs, and mend what differs", setupVerb(a, false), setupVerb(a, true), setupRights(a))
}

func setupVerb(a *app, apply bool) *cobra.Command {
	var s setupFlags
	c := &cobra.Command{
		Use:   "plan",
		Short: "Print what setup apply would create and change",
		Long: `plan compares the topics of a group with what Waybill needs: partition counts, retention, timestamp type, sizes.
It changes nothing. The exit status is 0 when nothing differs and 2 when something does.`,
		Example: `  waybill setup plan --brokers localhost:9092 --group mailer --topic emails
  waybill setup plan --group mailer --topic emails --tiers 10s,2m,30m --partitions 12 --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.setup(c.Context(), s, apply) },
	}
	if apply {
		c.Use, c.Short = "apply", "Create the topics of a group and change what differs"
		c.Long = `apply creates the topics that are missing and changes the settings that differ. It never deletes a topic, never
changes a partition count and never takes a tier away. The job topic itself is created only with --partitions.
The exit status is 1 when something is left that only a person can mend.`
		c.Example = `  waybill setup apply --brokers localhost:9092 --group mailer --topic emails --partitions 12 --replication 3`
	}
	f := c.Flags()
	f.DurationSliceVar(&s.tiers, "tiers", nil, "delays of the retry topics (default: those the group has, else 10s,2m,30m)")
	f.DurationVar(&s.window, "window", 0, "how long receipts are remembered (default 72h)")
	f.IntVar(&s.partitions, "partitions", 0, "create the job topic with so many partitions if it is missing")
	f.IntVar(&s.replication, "replication", 0, "replicas of topics that are created (default: the job topic's, else the brokers')")
	return c
}

func (a *app) setup(ctx context.Context, s setupFlags, apply bool) error {
	t, err := a.target(needs{group: true, topic: true})
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(t.opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	want, err := a.want(ctx, t, s)
	if err != nil {
		return t.unreached(err)
	}
	report, err := setup.Plan(ctx, admin, t.opts, want)
	if err != nil {
		return t.unreached(err)
	}
	if !apply {
		return a.plan(report)
	}
	if !report.OK() {
		if err := setup.Apply(ctx, admin, t.opts, report); err != nil {
			return err
		}
	}
	left, err := setup.Plan(ctx, admin, t.opts, want)
	if err != nil {
		return err
	}
	if err := a.printPlan(report, true); err != nil {
		return err
	}
	return left.Err()
}

// want is what the flags say, then the settings, then what the group has, then the defaults.
func (a *app) want(ctx context.Context, t target, s setupFlags) (setup.Want, error) {
	if len(s.tiers) == 0 {
		s.tiers = t.cfg.Tiers
	}
	if len(s.tiers) == 0 { // workers may have been given tiers that no settings file tells
		r, err := inspect.Open(ctx, t.opts, t.group)
		if err != nil {
			return setup.Want{}, err
		}
		for _, name := range t.topics {
			s.tiers = append(s.tiers, r.Tiers(name)...)
		}
		r.Close()
		slices.Sort(s.tiers)
		s.tiers = slices.Compact(s.tiers)
	}
	cfg := t.cfg
	cfg.Tiers = s.tiers
	for _, f := range []struct{ to, flag *int }{{&cfg.Partitions, &s.partitions}, {&cfg.Replication, &s.replication}} {
		if *f.flag != 0 {
			*f.to = *f.flag
		}
	}
	if s.window != 0 {
		cfg.Window = s.window
	}
	want := setup.Want{Group: t.group}
	for _, name := range t.topics {
		want.Topics = append(want.Topics, setup.TopicWant{Name: name, Partitions: cfg.Partitions, Replication: cfg.Replication})
	}
	cfg = cfg.WithDefaults()
	want.Tiers, want.Window = cfg.Tiers, cfg.Window
	return want, nil
}

func (a *app) plan(r setup.Report) error {
	if err := a.printPlan(r, false); err != nil {
		return err
	}
	if !r.OK() {
		return exitStatus(2)
	}
	return nil
}

func (a *app) printPlan(r setup.Report, applied bool) error {
	if r.Changes == nil {
		r.Changes = []setup.Change{}
	}
	return a.show(r, func(t *table) {
		for _, c := range r.Changes {
			action := string(c.Action)
			if applied && (c.Action == setup.Create || c.Action == setup.Alter) {
				action = strings.TrimSuffix(action, "e") + "ed"
			}
			t.row(action, c.Topic, c.Text)
		}
		switch {
		case r.OK():
			t.note("Nothing differs.")
		case len(r.Changes) == 0:
			t.note("Only the layout is to be written.")
		}
		verb := "has"
		if !r.OK() && !applied {
			verb = "will have"
		}
		t.note("The group %s %d partitions in all, the job topics included.", verb, r.Partitions)
	})
}
