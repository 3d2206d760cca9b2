package e2e

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/witness"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// script is a payload that says how its handler behaves. A redriven job succeeds whatever it says.
type script struct {
	N     int           `json:"n"`
	Fails int           `json:"fails,omitempty"` // attempts that fail first
	How   string        `json:"how,omitempty"`   // how they do: "" a plain error, panic, timeout, after, snooze
	After time.Duration `json:"after,omitempty"` // what an "after" or a "snooze" asks for
	Slow  time.Duration `json:"slow,omitempty"`
	End   string        `json:"end,omitempty"` // "" done, dead, discard
}

type (
	keyed   struct{ script }
	parted  struct{ script }
	free    struct{ script }
	batched struct{ script }
	ordered struct{ script } // through retries; a dead one holds its key
)

func (keyed) Kind() string   { return "e2e.keyed" }
func (parted) Kind() string  { return "e2e.parted" }
func (free) Kind() string    { return "e2e.free" }
func (batched) Kind() string { return "e2e.batched" }
func (ordered) Kind() string { return "e2e.ordered" }

const (
	maxAttempts = 4
	timeout     = 2 * time.Second
	drain       = 4 * time.Second
)

var orders = witness.Orders{"e2e.parted": job.ByPartition, "e2e.free": job.Unordered, "e2e.ordered": job.ByKeyStrict}

// known is what the checker must know of the kinds.
var known = map[string]checker.Kind{"e2e.keyed": {MaxAttempts: maxAttempts}, "e2e.parted": {MaxAttempts: maxAttempts},
	"e2e.free": {MaxAttempts: maxAttempts}, "e2e.batched": {MaxAttempts: maxAttempts},
	"e2e.ordered": {MaxAttempts: maxAttempts, Strict: true, Holds: true}}

// mux is the handlers of one process, each attempt noted in its ledger.
func mux(sink ledger.Sink) *processor.Mux {
	m := processor.NewMux()
	m.Use(witness.Middleware(sink, orders))
	policy := job.Policy{MaxAttempts: maxAttempts, Timeout: timeout}
	parts, loose := policy, policy
	parts.Order, loose.Order, loose.Class = job.ByPartition, job.Unordered, "loose"
	loose.Backoff = job.Backoff{Initial: 300 * time.Millisecond, Max: 4 * time.Second, Factor: 2} // between and beyond the tiers
	processor.Handle(m, func(ctx context.Context, j *job.Job[keyed]) error { return play(ctx, sink, j.Message, &j.Args.script) }, policy)
	processor.Handle(m, func(ctx context.Context, j *job.Job[parted]) error { return play(ctx, sink, j.Message, &j.Args.script) }, parts)
	processor.Handle(m, func(ctx context.Context, j *job.Job[free]) error { return play(ctx, sink, j.Message, &j.Args.script) }, loose)
	strict := policy
	strict.Order, strict.OnDead = job.ByKeyStrict, job.Block
	strict.Backoff = job.Backoff{Initial: tiers[0], Max: tiers[1], Factor: 3, Jitter: job.NoJitter}
	processor.Handle(m, func(ctx context.Context, j *job.Job[ordered]) error {
		return play(ctx, sink, j.Message, &j.Args.script)
	}, strict)
	processor.Register(m, processor.Kind[batched]{Policy: policy, BatchSize: 16, Batch: func(ctx context.Context, js []*job.Job[batched]) []error {
		errs := make([]error, len(js))
		for i, j := range js {
			errs[i] = play(ctx, sink, j.Message, &j.Args.script)
		}
		return errs
	}})
	return m
}

// play does what a script says.
func play(ctx context.Context, sink ledger.Sink, m *job.Message, s *script) error {
	if err := witness.Rest(ctx, s.Slow); err != nil {
		return err
	}
	if m.Generation == 0 {
		switch {
		case s.How == "snooze" && m.Hop == 0:
			return job.Snooze(s.After)
		case m.Attempt <= s.Fails:
			return fail(ctx, s)
		case s.End == "dead":
			return job.Dead(errors.New("hopeless"))
		case s.End == "discard":
			return job.Discard("superseded")
		}
	}
	witness.Applied(sink, m)
	return nil
}

func fail(ctx context.Context, s *script) error {
	switch s.How {
	case "panic":
		panic(fmt.Sprintf("job %d panics", s.N))
	case "after":
		return job.RetryAfter(s.After, errors.New("busy"))
	case "timeout":
		<-ctx.Done()
		return ctx.Err()
	}
	return errors.New("not yet")
}
