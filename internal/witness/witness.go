// Package witness writes a ledger from inside handlers: a middleware that notes each attempt and how it ended. The
// simulation, the demo, the examples' tests and the end-to-end suites put it outermost, so that what the checker reads is
// what handlers saw, and nothing the engine says of itself.
//
// It knows handlers and the ledger; the checker, which judges, knows neither it nor the engine.
package witness

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Orders says the order of each kind, which a message does not carry. A kind that is absent is ordered by key.
type Orders map[string]job.Order

var calls atomic.Int64

// Middleware notes Called before an attempt and Returned after it.
func Middleware(sink ledger.Sink, orders Orders) processor.Middleware {
	return func(next processor.Handler) processor.Handler {
		return func(ctx context.Context, m *job.Message) (err error) {
			e := event(m, orders)
			e.Type, e.Call = ledger.Called, calls.Add(1)
			sink.Record(e)
			e.Type, e.IdempotencyKey, e.Fence = ledger.Returned, "", 0
			e.Result = ledger.Panic // unless it returns: a panic and runtime.Goexit pass through
			defer func() { sink.Record(e) }()
			err = next(ctx, m)
			e.Result = result(ctx, err)
			return err
		}
	}
}

// Rest is a downstream that takes its time: it returns after d, or with the context's error before.
func Rest(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Applied notes that a downstream applied the effect of a job.
func Applied(sink ledger.Sink, m *job.Message) {
	sink.Record(ledger.Event{Type: ledger.Effect, Kind: m.Kind, Key: string(m.Key), ID: m.ID, Attempt: m.Attempt,
		Generation: int(m.Generation), Fence: m.Fence, IdempotencyKey: m.IdempotencyKey()})
}

func event(m *job.Message, orders Orders) ledger.Event {
	e := ledger.Event{Record: ledger.Pos{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}, Kind: m.Kind, Key: string(m.Key),
		ID: m.ID, Attempt: m.Attempt, Hop: int(m.Hop), Generation: int(m.Generation), Fence: m.Fence, IdempotencyKey: m.IdempotencyKey(),
		Order: ledger.ByKey}
	switch o := orders[m.Kind]; {
	case o == job.ByPartition:
		e.Order = ledger.ByPartition
	case o == job.Unordered || m.Key == nil:
		e.Order = ledger.Unordered
	case o == job.ByKeyStrict:
		e.Order = ledger.ByKeyStrict
	}
	return e
}

func result(ctx context.Context, err error) ledger.Result {
	var p *processor.PanicError
	switch {
	case err == nil:
		return ledger.Done
	case errors.As(err, &p):
		return ledger.Panic
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return ledger.Cancelled
	}
	switch job.Classify(err).Verdict {
	case job.VerdictSnooze:
		return ledger.Snooze
	case job.VerdictDead:
		return ledger.Dead
	case job.VerdictDiscard:
		return ledger.Discard
	}
	return ledger.Retry
}
