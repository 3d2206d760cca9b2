package peers

import (
	"context"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/bench"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

const module = "github.com/waybill-dev/waybill"

var waybillAtLeastOnce = Peer{
	ID: "waybill-at-least-once", Name: "Waybill, AtLeastOnce", Modules: []string{module},
	Settings:    "Policy.Guarantee: AtLeastOnce; otherwise the defaults, the raw codec",
	Concurrency: "100 workers, one a key",
	Lacks:       "no dedupe of a second enqueue; five times the partitions",
	Run: func(ctx context.Context, w Work) error {
		return runWaybill(ctx, w, job.Policy{Guarantee: job.AtLeastOnce})
	},
}

var waybillEffectivelyOnce = Peer{
	ID: "waybill-effectively-once", Name: "Waybill, EffectivelyOnce", Modules: []string{module},
	Settings:    "the defaults, the raw codec: a durable receipt for each job",
	Concurrency: "100 workers, one a key",
	Lacks:       "receipts are held in memory; five times the partitions",
	Run:         func(ctx context.Context, w Work) error { return runWaybill(ctx, w, job.Policy{}) },
}

// blob is the job that internal/bench loads.
type blob []byte

// Kind is the kind of those jobs.
func (blob) Kind() string { return bench.KindRaw }

func runWaybill(ctx context.Context, w Work, policy job.Policy) error {
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Policy: policy, Handle: func(_ context.Context, j *job.Job[blob]) error {
		w.Handle(j.Args)
		return nil
	}})
	return consumer.Run(ctx, consumer.Config{Brokers: w.Brokers, Group: w.Group, Topics: []string{w.Topic}, Mux: mux, Setup: consumer.Create})
}
