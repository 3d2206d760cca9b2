package processor_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type payment struct{}

func (payment) Kind() string { return "payment" }

// marker is a job.Keeper that notes marks.
type marker struct {
	told func(string)
	err  error
}

func (m marker) Keep(context.Context, *job.Message, []byte) error { return nil }
func (m marker) Start(context.Context, *job.Message) error        { m.told("mark"); return m.err }

// The mark comes before everything else of an attempt, and the question before the handler.
func TestMarkedAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		guarantee job.Guarantee
		unsure    bool
		happened  bool
		err, mark error
		want      string
		verdict   job.Verdict
	}{
		"at most once":               {guarantee: job.AtMostOnce, want: "mark middleware handle", verdict: job.VerdictDone},
		"reconciled, first":          {guarantee: job.Reconciled, want: "mark middleware handle", verdict: job.VerdictDone},
		"it happened":                {guarantee: job.Reconciled, unsure: true, happened: true, want: "mark middleware reconcile", verdict: job.VerdictDone},
		"it did not":                 {guarantee: job.Reconciled, unsure: true, want: "mark middleware reconcile handle", verdict: job.VerdictDone},
		"nobody can say":             {guarantee: job.Reconciled, unsure: true, err: errors.New("bank is away"), want: "mark middleware reconcile", verdict: job.VerdictRetry},
		"it is hopeless":             {guarantee: job.Reconciled, unsure: true, err: job.Dead(errors.New("no such bank")), want: "mark middleware reconcile", verdict: job.VerdictDead},
		"let go while it was marked": {guarantee: job.AtMostOnce, mark: context.Canceled, want: "mark", verdict: job.VerdictCancelled},
		"not marked":                 {guarantee: job.EffectivelyOnce, want: "middleware handle", verdict: job.VerdictDone},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			tell := func(what string) { told = append(told, what) }
			mux := processor.NewMux()
			mux.Use(func(next processor.Handler) processor.Handler {
				return func(ctx context.Context, m *job.Message) error { tell("middleware"); return next(ctx, m) }
			})
			k := processor.Kind[payment]{Policy: job.Policy{Guarantee: c.guarantee}, Handle: func(context.Context, *job.Job[payment]) error { tell("handle"); return nil }}
			if c.guarantee == job.Reconciled {
				k.Reconcile = func(context.Context, *job.Job[payment]) (bool, error) { tell("reconcile"); return c.happened, c.err }
			}
			processor.Register(mux, k)
			set, err := mux.Compile()
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(job.WithKeeper(t.Context(), marker{tell, c.mark}))
			defer cancel()
			if c.mark != nil { // whoever lets a task go cancels its attempts
				ctx = job.WithKeeper(ctx, marker{func(s string) { tell(s); cancel() }, c.mark})
			}
			m := &job.Message{Kind: "payment", Payload: []byte("{}"), Unsure: c.unsure, Attempt: 1}
			out := set.Lookup("payment").Run(ctx, m)
			if got := strings.Join(told, " "); got != c.want || out.Verdict != c.verdict {
				t.Errorf("%s: %+v, want %s", got, out, c.want)
			}
			if m.Unsure != (c.err != nil) {
				t.Errorf("unsure after the attempt: %v", m.Unsure)
			}
		})
	}
}

func TestReconcileIsForReconciled(t *testing.T) {
	handle := func(context.Context, *job.Job[payment]) error { return nil }
	batch := func(context.Context, []*job.Job[payment]) []error { return nil }
	ask := func(context.Context, *job.Job[payment]) (bool, error) { return false, nil }
	for want, k := range map[string]processor.Kind[payment]{
		"Reconcile: is not set":                {Handle: handle, Policy: job.Policy{Guarantee: job.Reconciled}},
		"Reconcile: is set under at_most_once": {Handle: handle, Reconcile: ask, Policy: job.Policy{Guarantee: job.AtMostOnce}},
		"at_most_once marks one job at a time": {Batch: batch, Policy: job.Policy{Guarantee: job.AtMostOnce}},
	} {
		mux := processor.NewMux()
		processor.Register(mux, k)
		if _, err := mux.Compile(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
