package processor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type ctxKey struct{}

// under runs f as the handler of one attempt with a timeout of ten seconds, in a bubble.
func under(t *testing.T, parent func(context.Context) context.Context, f func(t *testing.T, ctx context.Context)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := handling(t, func(ctx context.Context, _ *job.Job[mail]) error { f(t, ctx); return nil }, job.Policy{Timeout: 10 * time.Second})
		ctx := t.Context()
		if parent != nil {
			ctx = parent(ctx)
		}
		if got := p.Run(ctx, message("a")); got.Verdict != job.VerdictDone {
			t.Errorf("got %+v", got)
		}
	})
}

// The attempt's context makes its timer late; nobody may notice.
func TestContextEnds(t *testing.T) {
	for _, look := range []string{"", "done", "err", "child", "cause", "value"} {
		t.Run("look="+look, func(t *testing.T) {
			under(t, nil, func(t *testing.T, ctx context.Context) {
				began := time.Now()
				switch look {
				case "done":
					ctx.Done()
				case "err":
					if err := ctx.Err(); err != nil {
						t.Errorf("Err() = %v at the start", err)
					}
				case "child":
					child, cancel := context.WithCancel(ctx)
					defer cancel()
					<-child.Done()
					if child.Err() != context.DeadlineExceeded {
						t.Errorf("the child's Err() = %v", child.Err())
					}
				case "cause":
					if err := context.Cause(ctx); err != nil {
						t.Errorf("Cause = %v at the start", err)
					}
				case "value":
					ctx.Value(ctxKey{})
				}
				if end, has := ctx.Deadline(); !has || end != began.Add(10*time.Second) {
					t.Errorf("Deadline() = %v, %v", end, has)
				}
				time.Sleep(time.Until(began.Add(11 * time.Second)))
				if err := ctx.Err(); err != context.DeadlineExceeded {
					t.Errorf("Err() = %v after the deadline", err)
				}
				<-ctx.Done()
				if err := context.Cause(ctx); err != context.DeadlineExceeded {
					t.Errorf("Cause = %v after the deadline", err)
				}
			})
		})
	}
}

func TestContextFollowsParent(t *testing.T) {
	stop := errors.New("stop")
	for _, looked := range []bool{false, true} {
		var cancel context.CancelCauseFunc
		under(t, func(ctx context.Context) context.Context {
			ctx, cancel = context.WithCancelCause(context.WithValue(ctx, ctxKey{}, "value"))
			return ctx
		}, func(t *testing.T, ctx context.Context) {
			if looked {
				ctx.Done()
			}
			if ctx.Value(ctxKey{}) != "value" || ctx.Value("nothing") != nil {
				t.Error("values of the parent are lost")
			}
			if err := ctx.Err(); err != nil {
				t.Errorf("Err() = %v before the end", err)
			}
			cancel(stop)
			synctest.Wait()
			if ctx.Err() != context.Canceled || context.Cause(ctx) != stop {
				t.Errorf("Err() = %v, Cause = %v", ctx.Err(), context.Cause(ctx))
			}
			time.Sleep(time.Minute) // past the deadline: what was said once holds
			if ctx.Err() != context.Canceled || context.Cause(ctx) != stop {
				t.Errorf("Err() = %v, Cause = %v after the deadline", ctx.Err(), context.Cause(ctx))
			}
		})
	}
}

// A deadline of the caller that comes first is the caller's end, not the attempt's.
func TestContextParentsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		p := handling(t, func(ctx context.Context, _ *job.Job[mail]) error {
			if end, _ := ctx.Deadline(); end != time.Now().Add(5*time.Second) {
				t.Errorf("Deadline() = %v", end)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if got := p.Run(ctx, message("a")); got.Verdict != job.VerdictCancelled {
			t.Errorf("got %+v", got)
		}
	})
}

// Who keeps the context after the attempt finds it cancelled, looked at before or not, and no timer is left.
func TestContextAfterTheAttempt(t *testing.T) {
	for _, looked := range []bool{false, true} {
		var kept context.Context
		p := handling(t, func(ctx context.Context, _ *job.Job[mail]) error {
			if kept = ctx; looked {
				ctx.Done()
			}
			return nil
		})
		p.Run(t.Context(), message("a"))
		<-kept.Done()
		if kept.Err() != context.Canceled {
			t.Errorf("looked %v: Err() = %v", looked, kept.Err())
		}
	}
}

func TestContextNamesItself(t *testing.T) {
	under(t, nil, func(t *testing.T, ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if s := fmt.Sprint(ctx); !strings.HasPrefix(s, "processor.attempt(until 2000-01-01T00:00:10Z)") {
			t.Error(s)
		}
	})
}

// Many goroutines may use the context at once, the end of the attempt included.
func TestContextConcurrently(t *testing.T) {
	p := one(t, processor.Kind[mail]{Handle: func(ctx context.Context, _ *job.Job[mail]) error {
		for range 8 {
			go func() {
				child, cancel := context.WithCancel(ctx)
				defer cancel()
				_, _, _ = ctx.Err(), ctx.Value(ctxKey{}), context.Cause(ctx)
				<-child.Done()
			}()
		}
		return nil
	}})
	for range 100 {
		p.Run(t.Context(), message("a"))
	}
}
