package processor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type endless struct{}

func (endless) Kind() string { return "endless" }

// Without a timeout an attempt has no deadline but its caller's, and ends with its caller.
func TestNoTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var saw []bool
		mux := processor.NewMux()
		processor.Handle(mux, func(ctx context.Context, _ *job.Job[endless]) error {
			_, has := ctx.Deadline()
			saw = append(saw, has)
			select {
			case <-time.After(1000 * time.Hour):
				return ctx.Err()
			case <-ctx.Done():
				return ctx.Err()
			}
		}, job.Policy{Timeout: job.NoTimeout})
		set, err := mux.Compile()
		if err != nil {
			t.Fatal(err)
		}
		p := set.Processors()[0]
		run := func(ctx context.Context) job.Outcome {
			return p.Run(ctx, &job.Message{Kind: "endless", ID: "a", Payload: []byte("{}"), Attempt: 1})
		}
		if o := run(t.Context()); o.Verdict != job.VerdictDone {
			t.Errorf("without an end: %+v", o)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if o := run(ctx); o.Verdict != job.VerdictCancelled {
			t.Errorf("with a caller that ends: %+v", o)
		}
		if len(saw) != 2 || saw[0] || !saw[1] {
			t.Errorf("deadlines: %v", saw)
		}
	})
}
