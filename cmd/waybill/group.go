package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func groupCommand(a *app) *cobra.Command {
	return noun("group", "Look at a group as a whole", &cobra.Command{
		Use:   "show",
		Short: "Members, lag by topic and tier, and how many letters there are",
		Long: `show prints the group's state, the balancer its members agreed on, its members with the tasks they hold, and for each
job topic and each of its tiers how far the group has committed. Lag counts every record above the committed offset, also those that are done but
lie above one that is not; dead letters are counted as records, redriven ones included (see waybill dlq list).`,
		Example: `  waybill group show --brokers localhost:9092 --group mailer
  waybill group show --group mailer --json | jq '.topics[].waiting'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.groupShow(c.Context()) },
	})
}

func (a *app) groupShow(ctx context.Context) error {
	t, r, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	g, err := r.Group(ctx)
	if err != nil {
		return t.unreached(err)
	}
	return a.show(g, func(t *table) {
		balance := ""
		if g.Balance != "" {
			balance = ", balanced by " + g.Balance
		}
		t.note("Group %s: %s, %s%s.\n", g.Group, strings.ToLower(g.State), plural(len(g.Members), "member"), balance)
		if len(g.Members) > 0 {
			t.row("CLIENT", "HOST", "STATIC ID", "TASKS", "")
		}
		for _, m := range g.Members {
			t.row(m.Client, m.Host, dash(m.Static), len(m.Tasks), clip(strings.Join(m.Tasks, " "), 80))
		}
		if len(g.Members) > 0 {
			t.note("")
		}
		t.row("TOPIC", "TIER", "COMMITTED", "END", "LAG")
		for _, topic := range g.Topics {
			for _, s := range topic.Sources {
				t.row(s.Topic, dash(s.Tier), s.Committed, s.End, s.Lag)
			}
		}
		t.note("")
		for _, topic := range g.Topics {
			t.note("%s: %s, %d waiting in tiers, %s", topic.Topic, plural(topic.Tasks, "task"), topic.Waiting, plural(int(topic.DeadLetters), "dead letter"))
		}
	})
}
