package bench

import (
	"context"

	"github.com/waybill-dev/waybill/job"
)

// The store is where consumer.Config keeps it by default: in memory.
var receiptsCase = Case{
	Name:     "receipts",
	Measures: "how fast a backlog of no-op jobs is worked through when each leaves a receipt, beside a raw loop",
	jobs:     3_000_000,
	run:      runReceipts,
}

func runReceipts(ctx context.Context, e *env) error {
	topic, err := e.load(ctx, Load{Jobs: e.jobs()})
	if err != nil {
		return err
	}
	p := passParams{Topic: topic, Jobs: e.jobs(), Seconds: e.Seconds, Policy: job.Policy{Guarantee: job.EffectivelyOnce, Order: job.ByKey}}
	rounds, err := e.pairs(ctx, "receipts", p, p)
	if err != nil {
		return err
	}
	r := e.row("", atLeast("ratio", 0.33))
	r.addPairs(rounds)
	return e.Report(r)
}
