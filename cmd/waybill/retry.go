package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
)

func retryCommand(a *app) *cobra.Command {
	limit := 50
	c := &cobra.Command{
		Use:   "list",
		Short: "The jobs that wait in the retry tiers",
		Long: `list prints the records above the committed offsets of the retry tiers, tier by tier in the order of the log, with the
time at which each is looked at again, and why it is there. Records that are done but lie above one that is not are
among them.`,
		Example: `  waybill retry list --brokers localhost:9092 --group mailer --topic emails
  waybill retry list --group mailer --limit 0 --json | jq -c 'select(.kind == "email.welcome")'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.retryList(c.Context(), limit) },
	}
	c.Flags().IntVar(&limit, "limit", limit, "print so many at most; 0 for all")
	return noun("retry", "Look at jobs that wait for their next attempt", c)
}

func (a *app) retryList(ctx context.Context, limit int) error {
	t, r, err := a.look(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	out, n := newTable(a.out), 0
	if !a.json {
		out.row("TIER", "DUE", "IN", "KIND", "ID", "ATTEMPT", "LAST ERROR")
	}
	now := time.Now()
	more := false
	for _, topic := range a.chosen(r) {
		err := r.Retries(ctx, topic, func(w inspect.Retry) error {
			if limit > 0 && n == limit {
				more = true
				return inspect.ErrEnough
			}
			n++
			if a.json {
				return a.printJSON(w)
			}
			out.row(w.Tier, instant(w.Due), until(w.Due, now), w.Kind, clip(w.ID, 40), w.Attempt, clip(cause(w), 60))
			return nil
		})
		if err != nil {
			return t.unreached(err)
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	if more {
		a.say("there are more; --limit 0 prints all")
	}
	return nil
}

// until is how long it is to a due time.
func until(due, now time.Time) string {
	if !due.After(now) {
		return "due"
	}
	return due.Sub(now).Round(time.Second).String()
}

// cause is why a job waits.
func cause(w inspect.Retry) string {
	switch {
	case w.Fault != "":
		return "malformed: " + w.Fault
	case w.Error != "":
		return w.Code + ": " + w.Error
	}
	return dash(w.Code)
}
