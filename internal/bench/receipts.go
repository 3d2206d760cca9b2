package bench

import (
	"context"

	"github.com/waybill-dev/waybill/job"
)

// "memory" keeps the receipts where consumer.Config keeps them by default, "dir" in a Config.Dir that is empty at first.
var receiptsCase = Case{
	Name:     "receipts",
	Measures: "how fast a backlog of no-op jobs is worked through when each leaves a receipt, in memory or on disk, beside a raw loop",
	Rows:     []string{"memory", "dir"},
	jobs:     3_000_000,
	run:      runReceipts,
}

func runReceipts(ctx context.Context, e *env) error {
	topic, err := e.load(ctx, Load{Jobs: e.jobs()})
	if err != nil {
		return err
	}
	for _, row := range e.of.Rows {
		if !e.wants(row) {
			continue
		}
		err := e.inDir(func(dir string) error {
			raw := passParams{Topic: topic, Jobs: e.jobs(), Seconds: e.Seconds, Policy: job.Policy{Guarantee: job.EffectivelyOnce, Order: job.ByKey}}
			ours := raw
			if row == "dir" {
				ours.Dir = dir
			}
			rounds, err := e.pairs(ctx, row, raw, ours)
			if err != nil {
				return err
			}
			r := e.row(row, atLeast("ratio", 0.33))
			r.addPairs(rounds)
			return e.Report(r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
