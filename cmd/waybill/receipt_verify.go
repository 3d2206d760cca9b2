package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
	"github.com/waybill-dev/waybill/dedupe/disk/asis"
)

func receiptVerifyCommand(a *app) *cobra.Command {
	partition, dir := int32(-1), ""
	c := &cobra.Command{
		Use:   "verify",
		Short: "Rebuild receipts from the log by other code, and compare",
		Long: `verify reads the receipt log of each task, folds it by the engine's code and by code that shares no rule with it, and compares
every job and the position. It exits with 1 if anything differs. It needs some 350 bytes of memory for each job of one task.`,
		Example: `  waybill receipt verify --brokers localhost:9092 --group mailer
  waybill receipt verify --group mailer --topic emails --partition 3 --json
  waybill receipt verify --group mailer --dir /var/lib/mailer`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.receiptVerify(c.Context(), partition, dir) },
	}
	c.Flags().Int32Var(&partition, "partition", -1, "only this one (default: all)")
	c.Flags().StringVar(&dir, "dir", "", "what a stopped instance keeps in this directory, instead of the engine's fold")
	return c
}

func (a *app) receiptVerify(ctx context.Context, partition int32, dir string) error {
	t, r, tasks, err := a.tasks(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if partition >= 0 {
		tasks = slices.DeleteFunc(tasks, func(x inspect.Task) bool { return x.Partition != partition })
	}
	if len(tasks) == 0 {
		return fmt.Errorf("no task has partition %d", partition)
	}
	verify := func(task inspect.Task) (*inspect.Verdict, error) {
		return r.Verify(ctx, task.Topic, task.Partition, a.engine())
	}
	whose := "the engine's fold"
	if dir != "" {
		d, err := asis.Open(dir)
		if err != nil {
			return err
		}
		defer func() { _ = d.Close() }()
		verify = func(task inspect.Task) (*inspect.Verdict, error) {
			return r.VerifyDir(ctx, d, task.Topic, task.Partition)
		}
		whose = dir
	}
	return a.verdicts(t, tasks, whose, verify)
}

// verdicts prints what comparing each task came to; what there is nothing of is left out.
func (a *app) verdicts(t target, tasks []inspect.Task, whose string, verify func(inspect.Task) (*inspect.Verdict, error)) error {
	out, bad, compared := newTable(a.out), 0, 0
	if !a.json {
		out.row("TASK", "LOG", "OWNERS", "SEGMENTS", "RECEIPTS", "MARKS", "ORDERS", "JOBS", "DIFFERENCES")
	}
	var notes []string
	for _, task := range tasks {
		v, err := verify(task)
		if err != nil {
			return t.unreached(err)
		}
		if v == nil {
			continue
		}
		compared++
		n := len(v.Differences) + v.More
		bad += n
		if a.json {
			if err := a.printJSON(v); err != nil {
				return err
			}
			continue
		}
		out.row(fmt.Sprintf("%s/%d", v.Topic, v.Partition), fmt.Sprintf("%d to %d", v.From, v.To), v.Owners, v.Segments, v.Receipts, v.Marks, v.Orders, v.Jobs, n)
		for _, d := range v.Differences {
			notes = append(notes, fmt.Sprintf("%s/%d: %s", v.Topic, v.Partition, d))
		}
	}
	if err := out.flush(); err != nil {
		return err
	}
	for _, n := range notes {
		a.say("%s", n)
	}
	if bad > 0 {
		return fmt.Errorf("%s between %s and the log: a fault of Waybill; keep both and report it", plural(bad, "difference"), whose)
	}
	if compared == 0 {
		return fmt.Errorf("%s has nothing of these tasks: it is of another group or cluster, or its topics were made anew", whose)
	}
	return nil
}
