package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
)

func jobShowCommand(a *app) *cobra.Command {
	var f jobFlags
	var since string
	c := &cobra.Command{
		Use:   "show KIND/ID",
		Short: "What happened to one job, in order",
		Long: `show puts together what the receipt log and the topics tell of one job: where it was enqueued, its hops with their due times and
errors, its dead letters, redrives and other orders, and its receipts with the owners that wrote them.

It reads the job's partition of the receipt log and of each tier, of the dead letters and the audit topic; of the job
topic the records that receipts name and those above the committed offset, and with --since all from then on. Copies that
were settled are trimmed: of those only the receipts are left. What was read is printed at the end.`,
		Example: `  waybill job show email.welcome/w1 --brokers localhost:9092 --group mailer --topic emails
  waybill job show email.welcome/w1 --key u1 --since 24h --group mailer --json | jq .events`,
		Args: one("job", "email.welcome/w1"),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		j, err := f.job(c, args[0])
		if err != nil {
			return err
		}
		from, err := parseWhen("since", since, time.Now(), -1)
		if err != nil {
			return err
		}
		return a.jobShow(c.Context(), j, from)
	}
	f.add(c)
	c.Flags().StringVar(&since, "since", "", "read the job topic from then on: a time, or a duration ago")
	return c
}

func (a *app) jobShow(ctx context.Context, j inspect.Job, since time.Time) error {
	t, r, j, err := a.lookAt(ctx, j)
	if err != nil {
		return err
	}
	defer r.Close()
	line, err := r.Timeline(ctx, j, since)
	if err != nil {
		return t.unreached(err)
	}
	return a.show(line, func(t *table) { describeTimeline(t, line) })
}

func describeTimeline(t *table, line *inspect.Timeline) {
	state := "nothing is known"
	if line.Known {
		state = line.Receipt.State
	}
	t.note("%s, task %s/%d, identity %s: %s", jobName(line.History), line.Topic, line.Partition, line.Identity, state)
	if len(line.Events) > 0 {
		t.note("")
		t.row("TIME", "WHAT", "GEN", "HOP", "ATTEMPTS", "WHERE", "BY", "")
	}
	for _, e := range line.Events {
		t.row(instant(e.Time), e.What, e.Generation, e.Hop, e.Attempts, e.Where, by(e), eventText(e))
	}
	if !line.Known {
		t.note("\n%s", unknownBecause(line.History))
	}
	t.note("\nread: %s", strings.Join(line.Scanned, ", "))
}

func by(e inspect.Event) string {
	switch {
	case e.Epoch == nil || *e.Epoch < 0:
		return dash(e.Who)
	case e.Who == "":
		return fmt.Sprintf("epoch %d", *e.Epoch)
	}
	return fmt.Sprintf("%s (epoch %d)", e.Who, *e.Epoch)
}

// eventText is what else there is to say of an event.
func eventText(e inspect.Event) string {
	var parts []string
	add := func(ok bool, format string, v ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, v...))
		}
	}
	add(e.Delay != "", "delay %s", e.Delay)
	add(!e.Due.IsZero(), "due %s", instant(e.Due))
	add(!e.NotBefore.IsZero(), "not before %s", instant(e.NotBefore))
	add(e.Waits, "not settled")
	add(e.Why != "", "%s", e.Why)
	switch {
	case e.Code != "" && e.Text != "":
		add(true, "%s: %s", e.Code, clip(e.Text, 80))
	default:
		add(e.Code != "", "%s", e.Code)
		add(e.Text != "", "%s", clip(e.Text, 80))
	}
	return strings.Join(parts, ", ")
}
