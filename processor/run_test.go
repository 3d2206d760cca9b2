package processor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// nasty is an error of which nothing may be asked.
type nasty struct{ s *string }

func (n *nasty) Error() string { return *n.s }

var errStop = errors.New("the instance stops")

func TestOutcomes(t *testing.T) {
	plain := errors.New("refused")
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	type outcome struct {
		verdict job.Verdict
		code    job.Code
		delay   time.Duration
	}
	retry := func(c job.Code) outcome { return outcome{job.VerdictRetry, c, 0} }
	cancelled := outcome{job.VerdictCancelled, job.CodeCancelled, 0}
	for _, c := range []struct {
		name   string
		handle func(context.Context) error
		stop   bool // the caller's context ends after a second; the timeout is ten
		want   outcome
		text   string
	}{
		{"nil", func(context.Context) error { return nil }, false, outcome{}, ""},
		{"error", func(context.Context) error { return plain }, false, retry(job.CodeHandlerError), "refused"},
		{"retry after", func(context.Context) error { return job.RetryAfter(time.Minute, plain) }, false,
			outcome{job.VerdictRetry, job.CodeHandlerError, time.Minute}, "refused"},
		{"snooze", func(context.Context) error { return job.Snooze(time.Hour) }, false,
			outcome{job.VerdictSnooze, job.CodeSnoozed, time.Hour}, "snoozed"},
		{"dead", func(context.Context) error { return fmt.Errorf("wrapped: %w", job.Dead(plain)) }, false,
			outcome{job.VerdictDead, job.CodeDead, 0}, "wrapped: refused"},
		{"discard", func(context.Context) error { return job.Discard("gone") }, false,
			outcome{job.VerdictDiscard, job.CodeDiscarded, 0}, "gone"},

		{"panic", func(context.Context) error { panic("boom") }, false, retry(job.CodePanic), "panic: boom\n"},
		{"panic with an error", func(context.Context) error { panic(job.Dead(plain)) }, false, retry(job.CodePanic), "panic: refused"},
		{"panic with nil", func(context.Context) error { panic(nil) }, false, retry(job.CodePanic), "panic called with nil"},
		{"runtime panic", func(context.Context) error { var m map[int]int; m[1] = 1; return nil }, false, retry(job.CodePanic), "nil map"},
		{"goexit", func(context.Context) error { runtime.Goexit(); return nil }, false, retry(job.CodePanic), "Goexit"},
		{"error panics", func(context.Context) error { return (*nasty)(nil) }, false, retry(job.CodePanic), "nil pointer"},

		{"deadline", wait, false, retry(job.CodeDeadline), "ran past its timeout of 10s: context deadline exceeded"},
		{"deadline, own error", func(ctx context.Context) error { _ = wait(ctx); return plain }, false, retry(job.CodeDeadline), "refused"},
		{"deadline ignored", func(context.Context) error { time.Sleep(time.Minute); return plain }, false, retry(job.CodeDeadline), "refused"},
		{"deadline, done", func(ctx context.Context) error { _ = wait(ctx); return nil }, false, outcome{}, ""},
		{"deadline ignored, done", func(context.Context) error { time.Sleep(time.Minute); return nil }, false, outcome{}, ""},
		{"deadline, dead", func(ctx context.Context) error { return job.Dead(wait(ctx)) }, false, outcome{job.VerdictDead, job.CodeDead, 0}, ""},
		{"deadline, snooze", func(ctx context.Context) error { _ = wait(ctx); return job.Snooze(time.Hour) }, false,
			outcome{job.VerdictSnooze, job.CodeSnoozed, time.Hour}, ""},
		{"deadline, retry after", func(ctx context.Context) error { return job.RetryAfter(time.Minute, wait(ctx)) }, false,
			outcome{job.VerdictRetry, job.CodeDeadline, time.Minute}, "ran past"},
		{"deadline, panic", func(ctx context.Context) error { panic(wait(ctx)) }, false, retry(job.CodePanic), "deadline exceeded"},
		{"inner deadline", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return wait(ctx)
		}, false, retry(job.CodeHandlerError), "context deadline exceeded"},

		{"stopped", wait, true, cancelled, "context canceled"},
		{"stopped, wrapped", func(ctx context.Context) error { return fmt.Errorf("call: %w", wait(ctx)) }, true, cancelled, "call: context canceled"},
		{"stopped, cause", func(ctx context.Context) error { _ = wait(ctx); return context.Cause(ctx) }, true, cancelled, "the instance stops"},
		{"stopped, retry after", func(ctx context.Context) error { return job.RetryAfter(time.Hour, wait(ctx)) }, true, cancelled, ""},
		{"stopped, dead", func(ctx context.Context) error { return job.Dead(wait(ctx)) }, true, cancelled, ""},
		{"stopped, own error", func(ctx context.Context) error { _ = wait(ctx); return plain }, true, retry(job.CodeHandlerError), "refused"},
		{"stopped, done", func(ctx context.Context) error { _ = wait(ctx); return nil }, true, outcome{}, ""},
		{"stopped, panic", func(ctx context.Context) error { panic(wait(ctx)) }, true, retry(job.CodePanic), "canceled"},
		{"stopped, ignored past the deadline", func(ctx context.Context) error { time.Sleep(time.Minute); return ctx.Err() }, true, cancelled, ""},
	} {
		for batch, kind := range map[string]processor.Kind[mail]{
			"":      {Handle: func(ctx context.Context, _ *job.Job[mail]) error { return c.handle(ctx) }},
			"Batch": {Batch: func(ctx context.Context, _ []*job.Job[mail]) []error { return []error{c.handle(ctx)} }},
			"chain": {Batch: func(ctx context.Context, _ []*job.Job[mail]) []error { return []error{c.handle(ctx)} },
				Use: []processor.Middleware{func(h processor.Handler) processor.Handler { return h }}},
		} {
			kind.Policy.Timeout = 10 * time.Second
			p := one(t, kind)
			for by, run := range runs {
				t.Run(c.name+"/"+batch+by, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						ctx, cancel := context.WithCancelCause(t.Context())
						defer cancel(nil)
						if c.stop {
							time.AfterFunc(time.Second, func() { cancel(errStop) })
						}
						got := run(ctx, p, message("a"))
						if (outcome{got.Verdict, got.Code, got.Delay}) != c.want {
							t.Errorf("got verdict %d, %v, %v; want %+v\n%s", got.Verdict, got.Code, got.Delay, c.want, got.Text)
						}
						if !strings.Contains(got.Text, c.text) || len(got.Text) > job.MaxText {
							t.Errorf("text lacks %q, or is too long (%d):\n%s", c.text, len(got.Text), got.Text)
						}
					})
				})
			}
		}
	}
}

// What came first, the deadline or the stop, is what counts.
func TestStoppedAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := handling(t, func(c context.Context, _ *job.Job[mail]) error {
			<-c.Done()
			<-ctx.Done()
			return c.Err()
		}, job.Policy{Timeout: 10 * time.Second})
		if got := p.Run(ctx, message("a")); got.Verdict != job.VerdictRetry || got.Code != job.CodeDeadline {
			t.Errorf("got %+v", got)
		}
	})
}

func explode() { panic("boom") }

func leave() { runtime.Goexit() }

// The stack begins with the function that is to blame, not with the recovery.
func TestStackOfPanic(t *testing.T) {
	for name, c := range map[string]struct {
		do   func()
		head string
		in   string
	}{
		"panic":  {explode, "panic: boom\n", "processor_test.explode("},
		"goexit": {leave, "panic: " + processor.ErrGoexit.Error() + "\n", "processor_test.leave("},
	} {
		p := handling(t, func(context.Context, *job.Job[mail]) error { c.do(); return nil })
		text := p.Run(t.Context(), message("a")).Text
		rest, found := strings.CutPrefix(text, c.head)
		first, _, _ := strings.Cut(rest, "\n")
		if !found || !strings.Contains(first, c.in) {
			t.Errorf("%s: want the frame of %s first:\n%s", name, c.in, text)
		}
	}
}

func TestNothingIsCalledWhenStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	called := 0
	m := processor.NewMux()
	m.Use(each(func(ctx context.Context, m *job.Message, next processor.Handler) error { called++; return next(ctx, m) }))
	processor.Handle(m, func(context.Context, *job.Job[mail]) error { called++; return nil })
	for by, run := range runs {
		got := run(ctx, compile(t, m).Lookup("mail"), message("a"))
		if got.Verdict != job.VerdictCancelled || got.Code != job.CodeCancelled || called != 0 {
			t.Errorf("%s: %+v after %d calls", by, got, called)
		}
	}
}

// An instance that stops while middleware is still at work starts no handler.
func TestStoppedInMiddleware(t *testing.T) {
	for name, k := range map[string]processor.Kind[mail]{
		"Handle": {Handle: func(context.Context, *job.Job[mail]) error { t.Error("the handler is called"); return nil }},
		"Batch":  {Batch: func(context.Context, []*job.Job[mail]) []error { t.Error("the handler is called"); return []error{nil} }},
	} {
		for by, run := range runs {
			t.Run(name+by, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p := one(t, k, each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
					cancel()
					return next(ctx, m)
				}))
				if got := run(ctx, p, message("a")); got.Verdict != job.VerdictCancelled {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

func TestPanicInMiddleware(t *testing.T) {
	for name, bad := range map[string]func(){"panic": explode, "goexit": leave} {
		for by, run := range runs {
			p := one(t, processor.Kind[mail]{Batch: oks}, each(func(context.Context, *job.Message, processor.Handler) error {
				bad()
				return nil
			}))
			if got := run(t.Context(), p, message("a")); got.Verdict != job.VerdictRetry || got.Code != job.CodePanic {
				t.Errorf("%s in %s: %+v", name, by, got)
			}
		}
	}
}

// Middleware sees what the layers below it found, and has the last word.
func TestMiddlewareDecides(t *testing.T) {
	bad := message("a")
	bad.Payload = []byte("{")
	boom := func(context.Context, *job.Job[mail]) error { panic("boom") }
	for _, c := range []struct {
		name   string
		handle func(context.Context, *job.Job[mail]) error
		m      *job.Message
		after  func(error) error
		want   job.Outcome
	}{
		{"swallow", boom, message("a"), func(error) error { return nil }, job.Outcome{}},
		{"dead panic", boom, message("a"), job.Dead, job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead}},
		{"later", boom, message("a"), func(err error) error { return job.RetryAfter(time.Hour, err) },
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodePanic, Delay: time.Hour}},
		{"undecodable later", ok, bad, func(err error) error { return job.RetryAfter(time.Hour, err) },
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeDecode, Delay: time.Hour}},
		{"undecodable wrapped", ok, bad, func(err error) error { return fmt.Errorf("seen: %w", err) },
			job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDecode}},
		{"panic is typed", boom, message("a"), func(err error) error {
			if p, is := errors.AsType[*processor.PanicError](err); !is || p.Value != "boom" || len(p.Stack) == 0 {
				return errors.New("no PanicError")
			}
			return job.Discard("")
		}, job.Outcome{Verdict: job.VerdictDiscard, Code: job.CodeDiscarded}},
	} {
		p := one(t, processor.Kind[mail]{Handle: c.handle}, each(func(ctx context.Context, m *job.Message, next processor.Handler) error {
			return c.after(next(ctx, m))
		}))
		got := p.Run(t.Context(), c.m)
		got.Text = ""
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestServe(t *testing.T) {
	p := handling(t, func(_ context.Context, j *job.Job[mail]) error {
		switch j.Args.To {
		case "exit":
			runtime.Goexit()
		case "panic":
			panic("boom")
		case "dead":
			return job.Dead(nil)
		}
		return nil
	})
	todo := []string{"ok", "exit", "exit", "panic", "dead", "ok", "exit"}
	want := []job.Code{0, job.CodePanic, job.CodePanic, job.CodePanic, job.CodeDead, 0, job.CodePanic}
	var got []job.Code
	processor.Serve(func() (processor.Attempt, bool) {
		if len(got) == len(todo) {
			return processor.Attempt{}, false
		}
		return processor.Attempt{Processor: p, Context: t.Context(), Message: message(todo[len(got)])}, true
	}, func(o job.Outcome) { got = append(got, o.Code) })
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A Goexit of the caller's own functions is the caller's.
func TestServeCallersGoexit(t *testing.T) {
	returned, ended := false, make(chan struct{})
	go func() {
		defer close(ended)
		processor.Serve(func() (processor.Attempt, bool) { runtime.Goexit(); return processor.Attempt{}, false }, nil)
		returned = true
	}()
	<-ended
	if returned {
		t.Error("Serve returned")
	}
}
