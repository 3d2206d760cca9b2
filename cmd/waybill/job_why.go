package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
)

func jobWhyCommand(a *app) *cobra.Command {
	var f jobFlags
	c := &cobra.Command{
		Use:   "why [KIND/ID]",
		Short: "The one thing a job, or a key, waits for",
		Long: `why says in one sentence what a job waits for: its due time, jobs of its key before it, an owner for its task, a worker that knows its
kind; or that it waits for nothing, since it is done, dead, discarded or expired. With --key alone it is about the first
unsettled job of that key in the job topic, or, if there is none, the copy of one that is due first in a retry tier.

It knows what the cluster knows. Why a partition is paused only its instance knows: then it says which one to ask.`,
		Example: `  waybill job why email.welcome/w1 --brokers localhost:9092 --group mailer --topic emails
  waybill job why --key u1 --group mailer --topic emails --json`,
		Args: cobra.MaximumNArgs(1),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 {
			j, err := f.job(c, args[0])
			if err != nil {
				return err
			}
			return a.jobWhy(c.Context(), j, false)
		}
		if !c.Flags().Changed("key") {
			return errors.New("name a job, such as email.welcome/w1, or a key with --key")
		}
		return a.jobWhy(c.Context(), inspect.Job{Key: []byte(f.key), Partition: f.partition}, true)
	}
	f.add(c)
	return c
}

func (a *app) jobWhy(ctx context.Context, j inspect.Job, keyOnly bool) error {
	t, r, j, err := a.lookAt(ctx, j)
	if err != nil {
		return err
	}
	defer r.Close()
	var copies *inspect.Copies
	if keyOnly {
		k, err := r.Key(ctx, j)
		if err != nil {
			return t.unreached(err)
		}
		if k == nil {
			w := &inspect.Why{Task: fmt.Sprintf("%s/%d", j.Topic, j.Partition), Reason: "nothing_waits",
				Text: fmt.Sprintf("no job of key %s waits in the job topic or a retry tier", readable(j.Key))}
			return a.show(w, func(t *table) { t.note("%s", w.Text) })
		}
		j, copies = k.Job, k.Copies
	}
	w, err := r.Why(ctx, j, time.Now())
	if err != nil {
		return t.unreached(err)
	}
	w.Copies = copies
	return a.show(w, func(t *table) {
		t.note("%s/%s: %s", w.Kind, w.ID, w.Text)
		if copies != nil {
			t.note("besides, %d more of its key in the retry tiers, where copies hold up nobody; first is %s, due at %s",
				copies.Count, copies.First, copies.Due.Format(time.RFC3339))
		}
	})
}
