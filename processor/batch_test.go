package processor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

var through = each(func(ctx context.Context, m *job.Message, next processor.Handler) error { return next(ctx, m) })

// withAndWithout runs f on a batch kind without middleware and behind some.
func withAndWithout(t *testing.T, batch func(context.Context, []*job.Job[mail]) []error, f func(*testing.T, *processor.Processor)) {
	t.Helper()
	for name, use := range map[string][]processor.Middleware{"plain": nil, "middleware": {through, through}} {
		p := one(t, processor.Kind[mail]{Batch: batch, Use: use, Policy: job.Policy{Timeout: 10 * time.Second}})
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, p) }) })
	}
}

func codes(out []job.Outcome) string {
	s := make([]string, len(out))
	for i := range out {
		s[i] = out[i].Code.String()
	}
	return strings.Join(s, " ")
}

func recipients(js []*job.Job[mail]) string {
	s := make([]string, len(js))
	for i := range js {
		s[i] = js[i].Args.To
	}
	return strings.Join(s, " ")
}

func TestBatchErrors(t *testing.T) {
	plain := errors.New("refused")
	for _, c := range []struct {
		name string
		errs func() []error
		want string
		text string // of the first
	}{
		{"done", func() []error { return make([]error, 3) }, "none none none", ""},
		{"one each", func() []error { return []error{plain, nil, job.Dead(plain)} }, "handler_error none dead", "refused"},
		{"none", func() []error { return nil }, "handler_error handler_error handler_error", "returned 0 errors for 3 jobs"},
		{"too few", func() []error { return []error{nil, job.Snooze(1)} }, "handler_error snoozed handler_error", "returned 2 errors for 3 jobs"},
		{"too many", func() []error { return make([]error, 4) }, "handler_error handler_error handler_error", "returned 4 errors for 3 jobs"},
		{"panic", func() []error { panic("boom") }, "panic panic panic", "panic: boom"},
		{"goexit", func() []error { leave(); return nil }, "panic panic panic", "Goexit"},
		{"bad error", func() []error { return []error{nil, (*nasty)(nil), plain} }, "none panic handler_error", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			withAndWithout(t, func(_ context.Context, js []*job.Job[mail]) []error {
				if got := recipients(js); got != "a b c" {
					t.Errorf("Batch got %q", got)
				}
				clear(js) // its slice is its own
				return c.errs()
			}, func(t *testing.T, p *processor.Processor) {
				out := make([]job.Outcome, 3)
				p.RunBatch(t.Context(), messages("a", "b", "c"), out)
				if codes(out) != c.want || !strings.Contains(out[0].Text, c.text) {
					t.Errorf("got %s, want %s; %q", codes(out), c.want, out[0].Text)
				}
			})
		})
	}
}

func TestBatchUndecodableFailAlone(t *testing.T) {
	withAndWithout(t, func(_ context.Context, js []*job.Job[mail]) []error {
		if got := recipients(js); got != "b d" {
			t.Errorf("Batch got %q", got)
		}
		return []error{nil, errors.New("refused")}
	}, func(t *testing.T, p *processor.Processor) {
		ms := messages("a", "b", "c", "d", "e")
		ms[0].Payload, ms[2].ContentType, ms[4].Version = nil, "text/plain", 9
		out := make([]job.Outcome, 5)
		p.RunBatch(t.Context(), ms, out)
		if want := "decode none content_type handler_error unknown_version"; codes(out) != want {
			t.Errorf("got %s, want %s", codes(out), want)
		}
	})
}

func TestBatchOfNothing(t *testing.T) {
	withAndWithout(t, func(context.Context, []*job.Job[mail]) []error {
		t.Error("Batch is called")
		return nil
	}, func(t *testing.T, p *processor.Processor) {
		p.RunBatch(t.Context(), nil, nil)
		ms := messages("a", "b")
		ms[0].Payload, ms[1].Payload = nil, nil
		out := make([]job.Outcome, 2)
		p.RunBatch(t.Context(), ms, out)
		if codes(out) != "decode decode" {
			t.Errorf("got %s", codes(out))
		}
	})
}

func TestBatchDeadlineAndStop(t *testing.T) {
	batch := func(ctx context.Context, js []*job.Job[mail]) []error {
		<-ctx.Done()
		return []error{ctx.Err(), nil, job.Dead(nil)}
	}
	withAndWithout(t, batch, func(t *testing.T, p *processor.Processor) {
		out := make([]job.Outcome, 3)
		p.RunBatch(t.Context(), messages("a", "b", "c"), out)
		if codes(out) != "deadline none dead" || out[0].Verdict != job.VerdictRetry {
			t.Errorf("deadline: %+v", out)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.RunBatch(ctx, messages("a", "b", "c"), out)
		if codes(out) != "cancelled none dead" || out[0].Verdict != job.VerdictCancelled {
			t.Errorf("stop: %+v", out)
		}
		p.RunBatch(ctx, messages("a", "b", "c"), out)
		if codes(out) != "cancelled cancelled cancelled" {
			t.Errorf("after the stop: %+v", out)
		}
	})
}

func TestRunBatchOfASingleKind(t *testing.T) {
	order := ""
	p := handling(t, func(_ context.Context, j *job.Job[mail]) error {
		if order += j.Args.To; j.Args.To == "b" {
			leave()
		}
		return nil
	})
	out := make([]job.Outcome, 3)
	p.RunBatch(t.Context(), messages("a", "b", "c"), out)
	if codes(out) != "none panic none" || order != "abc" {
		t.Errorf("got %s in order %s", codes(out), order)
	}
}

// Middleware sees every message; one Batch gets those it lets through, in their order; it may hand on another message.
func TestBatchThroughMiddleware(t *testing.T) {
	var seen sync.Map
	calls := 0
	p := one(t, processor.Kind[mail]{
		Batch: func(_ context.Context, js []*job.Job[mail]) []error {
			if calls++; recipients(js) != "a changed e" {
				t.Errorf("Batch got %q", recipients(js))
			}
			return []error{nil, nil, errors.New("refused")}
		},
		Use: []processor.Middleware{each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
			switch m.ID {
			case "b":
				return nil
			case "c":
				m = message("changed")
			case "d":
				return job.Discard("not wanted")
			case "f":
				explode()
			}
			err := next(ctx, m)
			seen.Store(m.ID, fmt.Sprint(err))
			return err
		})},
	})
	out := make([]job.Outcome, 6)
	p.RunBatch(t.Context(), messages("a", "b", "c", "d", "e", "f"), out)
	if want := "none none none discarded handler_error panic"; codes(out) != want || calls != 1 {
		t.Errorf("got %s, want %s, after %d calls", codes(out), want, calls)
	}
	for id, want := range map[string]string{"a": "<nil>", "changed": "<nil>", "e": "refused"} {
		if got, _ := seen.Load(id); got != want {
			t.Errorf("the middleware of %s saw %v, want %s", id, got, want)
		}
	}
}

// Middleware that lets only one message through at a time would wait for Batch, and Batch for it: after the timeout those
// that came are run, the others one by one.
func TestBatchDoesNotWaitForeverForMiddleware(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{}, 1) // a bubble's time stands still behind a Mutex
		var sizes []int
		p := one(t, processor.Kind[mail]{
			Batch: func(ctx context.Context, js []*job.Job[mail]) []error {
				if ctx.Err() != nil {
					t.Error("the attempt begins after its end")
				}
				sizes = append(sizes, len(js))
				return make([]error, len(js))
			},
			Use: []processor.Middleware{each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
				gate <- struct{}{}
				defer func() { <-gate }()
				return next(ctx, m)
			})},
			Policy: job.Policy{Timeout: 10 * time.Second},
		})
		began := time.Now()
		out := make([]job.Outcome, 3)
		p.RunBatch(t.Context(), messages("a", "b", "c"), out)
		if fmt.Sprint(sizes) != "[1 1 1]" || codes(out) != "none none none" || time.Since(began) != 10*time.Second {
			t.Errorf("batches %v, outcomes %s after %v", sizes, codes(out), time.Since(began))
		}
	})
}

// Middleware that tries again gets its message run alone.
func TestBatchMiddlewareCallsAgain(t *testing.T) {
	var calls []string
	var again atomic.Int32
	p := one(t, processor.Kind[mail]{
		Batch: func(_ context.Context, js []*job.Job[mail]) []error {
			calls = append(calls, recipients(js))
			errs := make([]error, len(js))
			if len(js) > 1 {
				errs[1] = errors.New("refused")
			}
			return errs
		},
		Use: []processor.Middleware{each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
			if err := next(ctx, m); err == nil {
				return nil
			}
			again.Add(1)
			return next(ctx, m)
		})},
	})
	out := make([]job.Outcome, 3)
	p.RunBatch(t.Context(), messages("a", "b", "c"), out)
	if fmt.Sprint(calls) != "[a b c b]" || codes(out) != "none none none" || again.Load() != 1 {
		t.Errorf("calls %q, outcomes %s", calls, codes(out))
	}
}

// A message that stops waiting for the others when the instance stops.
func TestBatchStopsWhileGathering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		p := one(t, processor.Kind[mail]{
			Batch: func(context.Context, []*job.Job[mail]) []error { t.Error("Batch is called"); return nil },
			Use: []processor.Middleware{each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
				if m.ID == "slow" {
					time.Sleep(time.Second)
					cancel()
					time.Sleep(time.Second)
					return next(ctx, m)
				}
				err := next(ctx, m)
				if waited := time.Since(began); waited != time.Second {
					t.Errorf("%s has waited %v", m.ID, waited)
				}
				return err
			})},
		})
		out := make([]job.Outcome, 3)
		p.RunBatch(ctx, messages("a", "slow", "c"), out)
		if codes(out) != "cancelled cancelled cancelled" {
			t.Errorf("got %+v", out)
		}
	})
}

// fate is what is to happen to one message of a random batch.
type fate struct {
	undecodable bool
	before      int // 0 pass, 1 skip, 2 fail, 3 panic, in the middleware
	err         int // 0 none, 1 plain, 2 dead
}

var fates = rapid.Custom(func(t *rapid.T) fate {
	return fate{rapid.IntRange(0, 4).Draw(t, "decode") == 0, max(0, rapid.IntRange(-4, 3).Draw(t, "before")), rapid.IntRange(0, 2).Draw(t, "err")}
})

// For any batch: each job's outcome is its own, Batch is called at most once and gets those that reach it, in order.
func TestRunBatchProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := rapid.SliceOfN(fates, 0, 12).Draw(t, "fates")
		panics := rapid.IntRange(0, 5).Draw(t, "panics") == 0
		short := rapid.IntRange(0, 3).Draw(t, "short")
		withMiddleware := rapid.Bool().Draw(t, "middleware")
		ms := make([]*job.Message, len(fs))
		var reach []string
		for i, f := range fs {
			if ms[i] = message(fmt.Sprint(i)); f.undecodable {
				ms[i].Payload = []byte("{")
			}
			if !f.undecodable && (f.before == 0 || !withMiddleware) {
				reach = append(reach, fmt.Sprint(i))
			}
		}
		short = min(short, len(reach))
		calls, got := 0, ""
		errOf := func(id string) error {
			var i int
			_, _ = fmt.Sscan(id, &i)
			return []error{nil, errors.New("refused"), job.Dead(nil)}[fs[i].err]
		}
		k := processor.Kind[mail]{Batch: func(_ context.Context, js []*job.Job[mail]) []error {
			calls++
			if got = recipients(js); panics {
				panic("boom")
			}
			errs := make([]error, 0, len(js))
			for _, j := range js[:len(js)-short] {
				errs = append(errs, errOf(j.ID))
			}
			return errs
		}}
		if withMiddleware {
			k.Use = []processor.Middleware{each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
				var i int
				_, _ = fmt.Sscan(m.ID, &i)
				switch fs[i].before {
				case 1:
					return nil
				case 2:
					return job.Snooze(time.Second)
				case 3:
					panic("middleware")
				}
				return next(ctx, m)
			})}
		}
		mux := processor.NewMux()
		processor.Register(mux, k)
		s, err := mux.Compile()
		if err != nil {
			t.Fatal(err)
		}
		out := make([]job.Outcome, len(ms))
		for i := range out {
			out[i].Verdict = 99
		}
		s.Lookup("mail").RunBatch(t.Context(), ms, out)

		if want := strings.Join(reach, " "); got != want || calls > 1 || (calls == 1) != (len(reach) > 0) {
			t.Fatalf("Batch got %q in %d calls, want %q", got, calls, want)
		}
		place := 0
		for i, f := range fs {
			want := job.CodeNone
			switch {
			case withMiddleware && f.before > 0:
				want = []job.Code{job.CodeNone, job.CodeSnoozed, job.CodePanic}[f.before-1]
			case f.undecodable:
				want = job.CodeDecode
			default:
				place++
				switch {
				case panics:
					want = job.CodePanic
				case place <= len(reach)-short && f.err > 0:
					want = []job.Code{job.CodeHandlerError, job.CodeDead}[f.err-1]
				case short > 0:
					want = job.CodeHandlerError
				}
			}
			if out[i].Code != want || out[i].Verdict > job.VerdictCancelled {
				t.Fatalf("message %d (%+v): %+v, want %v", i, f, out[i], want)
			}
		}
	})
}
