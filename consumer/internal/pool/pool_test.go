package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
)

func TestWorkersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var running, most atomic.Int64
		r.handle = func(context.Context, string) error {
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(time.Second)
			running.Add(-1)
			return nil
		}
		p := New(5, r.gate, r.deliver)
		start := time.Now()
		p.Submit(r.entries("single", "j", 50, false))
		time.Sleep(1500 * time.Millisecond)
		if running, waiting := p.Load(); running != 5 || waiting != 40 {
			t.Errorf("%d run and %d wait, want 5 and 40", running, waiting)
		}
		p.Close()
		if took := time.Since(start); most.Load() != 5 || took != 10*time.Second {
			t.Errorf("%d ran at once, and all of it took %v; want 5 and 10 s", most.Load(), took)
		}
		r.finished(50, always(job.VerdictDone))
	})
}

// One start in four goes to a retry while both kinds wait, and no worker is idle when only one does.
func TestShareOfRetries(t *testing.T) {
	for name, c := range map[string]struct {
		fresh, retries int
		want           string
	}{
		"both":            {9, 3, "fffrfffrfffr"},
		"more retries":    {3, 5, "fffrrrrr"},
		"fewer retries":   {8, 1, "fffrfffff"},
		"retries only":    {0, 3, "rrr"},
		"fresh ones only": {4, 0, "ffff"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var order strings.Builder // one worker: no lock
				r.handle = func(_ context.Context, id string) error {
					if id == "x0" {
						time.Sleep(time.Second)
						return nil
					}
					order.WriteString(id[:1])
					return nil
				}
				p := New(1, r.gate, r.deliver)
				p.Submit(r.entries("single", "x", 1, false))
				synctest.Wait() // the worker is busy: what follows waits
				p.Submit(r.entries("single", "r", c.retries, true))
				p.Submit(r.entries("single", "f", c.fresh, false))
				p.Close()
				if order.String() != c.want {
					t.Errorf("started in the order %s, want %s", &order, c.want)
				}
			})
		})
	}
}

// Jobs that wait with a worker behind a slow one, and outcomes that do, are not kept for it.
func TestSlowOneAmongQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.handle = func(_ context.Context, id string) error {
			switch id {
			case "x0", "x1":
				time.Sleep(time.Millisecond)
			case "j3":
				time.Sleep(time.Hour)
			}
			return nil
		}
		p := New(2, r.gate, r.deliver)
		p.Submit(r.entries("single", "q", 2000, false)) // so that the pool believes that all are quick
		synctest.Wait()
		p.Submit(r.entries("single", "x", 2, false))
		synctest.Wait()
		p.Submit(r.entries("single", "j", 40, false)) // both workers are busy: the first to come back takes many
		time.Sleep(time.Second)
		if n := r.back(); n != 2041 {
			t.Errorf("%d of 2041 jobs are back while one is slow", n)
		}
		if running, waiting := p.Load(); running != 1 || waiting != 0 {
			t.Errorf("%d run and %d wait", running, waiting)
		}
		p.Close()
		r.finished(2042, always(job.VerdictDone))
	})
}

// As many slow jobs as there are processors, single or in a batch, hold up no quick ones, however quick those are: workers
// that are idle take them.
func TestSlowOnesBesideQuick(t *testing.T) {
	for _, kind := range []string{"single", "bundled"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.handle = func(_ context.Context, id string) error {
					if strings.HasPrefix(id, "slow") {
						time.Sleep(time.Hour)
					}
					return nil
				}
				r.batch = func(_ context.Context, ids []string) []error {
					time.Sleep(time.Hour)
					return make([]error, len(ids))
				}
				slow := runtime.GOMAXPROCS(0)
				p := New(slow+2, r.gate, r.deliver)
				for i := range slow {
					p.Submit(r.entries(kind, "slow"+strconv.Itoa(i), 1, false))
				}
				synctest.Wait()
				for i := range 100 {
					p.Submit(r.entries("single", "quick"+strconv.Itoa(i)+"-", 20, false))
					time.Sleep(2 * rescueDue)
				}
				if n := r.back(); n != 2000 {
					t.Errorf("%d of 2000 quick jobs are back while %d slow ones run", n, slow)
				}
				p.Close()
				r.finished(2000+slow, always(job.VerdictDone))
				if p.stuck != 0 {
					t.Errorf("%d workers are taken for stuck after the end", p.stuck)
				}
			})
		})
	}
}

// A closed gate hands entries back unrun; a context that ends reaches the handler.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.shut["j0"], r.shut["j2"], r.ctx["j1"] = true, true, ctx
		var ran []string
		r.handle = func(ctx context.Context, id string) error {
			ran = append(ran, id)
			if id == "j1" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		p := New(1, r.gate, r.deliver)
		p.Submit(r.entries("single", "j", 4, false))
		synctest.Wait()
		cancel()
		p.Close()
		if !slices.Equal(ran, []string{"j1", "j3"}) {
			t.Errorf("%v ran", ran)
		}
		r.finished(4, func(id string) job.Verdict {
			if id == "j3" {
				return job.VerdictDone
			}
			return job.VerdictCancelled
		})
	})
}

// Jobs of a batch kind run together, each with its own verdict; the context ends with the first of theirs.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, cancel := context.WithCancel(t.Context())
		r.shut["j1"], r.ctx["j3"], r.ctx["j4"] = true, ctx, ctx
		var sizes []int
		r.batch = func(ctx context.Context, ids []string) []error {
			sizes = append(sizes, len(ids))
			errs := make([]error, len(ids))
			if ids[0] == "x0" {
				time.Sleep(time.Second)
			} else if ids[0] == "j0" {
				<-ctx.Done()
				for i, id := range ids {
					if id != "j2" {
						errs[i] = ctx.Err()
					}
				}
			}
			return errs
		}
		p := New(1, r.gate, r.deliver)
		p.Submit(r.entries("bundled", "x", 1, false))
		synctest.Wait()
		p.Submit(r.entries("bundled", "j", 20, false))
		p.Submit(r.entries("single", "s", 1, false))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !slices.Equal(sizes, []int{1, 7}) {
			t.Errorf("batches of %v are under way", sizes)
		}
		cancel()
		p.Close()
		if !slices.Equal(sizes, []int{1, 7, 8, 4}) {
			t.Errorf("batches of %v", sizes)
		}
		r.finished(22, func(id string) job.Verdict {
			if slices.Contains([]string{"j0", "j1", "j3", "j4", "j5", "j6", "j7"}, id) {
				return job.VerdictCancelled
			}
			return job.VerdictDone
		})
	})
}

// A kind that takes batches and single jobs take turns, from where the kind was first seen.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var order []string
		r.handle = func(_ context.Context, id string) error {
			order = append(order, id)
			time.Sleep(time.Second)
			return nil
		}
		r.batch = func(_ context.Context, ids []string) []error {
			order = append(order, "batch")
			return make([]error, len(ids))
		}
		p := New(1, r.gate, r.deliver)
		p.Submit(r.entries("single", "s", 4, false))
		synctest.Wait()
		p.Submit(r.entries("bundled", "b", 3*batchSize, false))
		p.Close()
		if want := []string{"s0", "s1", "batch", "s2", "batch", "s3", "batch"}; !slices.Equal(order, want) {
			t.Errorf("ran %v, want %v", order, want)
		}
	})
}

// The workers end with the pool: what runs and what waits comes back first.
func TestCloseJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var open atomic.Bool
		open.Store(true)
		r.handle = func(context.Context, string) error { time.Sleep(time.Minute); return nil }
		p := New(3, func(*task.Entry, time.Time) (context.Context, bool) { return context.Background(), open.Load() }, r.deliver)
		p.Submit(r.entries("single", "j", 100, false))
		synctest.Wait()
		open.Store(false)
		start := time.Now()
		p.Close()
		if took := time.Since(start); took != time.Minute {
			t.Errorf("Close took %v, want as long as what ran", took)
		}
		ran := 0
		for _, o := range r.done {
			if o.Verdict == job.VerdictDone {
				ran++
			}
		}
		if ran != 3 || len(r.done) != 100 {
			t.Errorf("%d ran and %d came back, want 3 and 100", ran, len(r.done))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		New(4, nil, nil).Close() // nothing ever ran
	})
}

// Panics and runtime.Goexit in handlers cost their own attempt and no worker.
func TestHandlersThatDoNotReturn(t *testing.T) {
	r := newRig(t)
	r.handle = func(_ context.Context, id string) error {
		switch {
		case strings.HasPrefix(id, "p"):
			panic("no")
		case strings.HasPrefix(id, "g"):
			runtime.Goexit()
		}
		return nil
	}
	p := New(2, r.gate, r.deliver)
	p.Submit(slices.Concat(r.entries("single", "p", 20, false), r.entries("single", "g", 20, false), r.entries("single", "j", 20, false)))
	p.Close()
	r.finished(60, func(id string) job.Verdict {
		if id[0] == 'j' {
			return job.VerdictDone
		}
		return job.VerdictRetry
	})
}

// Everything at once, for the race detector: submitters, singles and batches, gates that close, slow jobs among quick ones.
func TestStress(t *testing.T) {
	r := newRig(t)
	var running, most atomic.Int64
	enter := func() func() {
		n := running.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		return func() { running.Add(-1) }
	}
	r.handle = func(_ context.Context, id string) error {
		defer enter()()
		if rand.IntN(300) == 0 {
			time.Sleep(2 * rescueDue)
		}
		if strings.HasSuffix(id, "7") {
			return errors.New("seven")
		}
		return nil
	}
	r.batch = func(_ context.Context, ids []string) []error {
		defer enter()()
		if len(ids) > batchSize {
			t.Errorf("a batch of %d", len(ids))
		}
		errs := make([]error, len(ids))
		for i, id := range ids {
			if strings.HasSuffix(id, "7") {
				errs[i] = errors.New("seven")
			}
		}
		return errs
	}
	groups := [][]*task.Entry{r.entries("single", "a", 3000, false), r.entries("single", "b", 3000, true), r.entries("bundled", "c", 3000, false)}
	for i := range 300 {
		r.shut[[]string{"a", "b", "c"}[i%3]+string(rune('0'+i%10))] = true
	}
	p := New(6, r.gate, r.deliver)
	var submitters sync.WaitGroup
	for _, g := range groups {
		submitters.Go(func() {
			for len(g) > 0 {
				n := min(len(g), 1+rand.IntN(50))
				p.Submit(g[:n])
				g = g[n:]
				p.Load()
			}
		})
	}
	submitters.Wait()
	p.Close()
	if most.Load() > 6 {
		t.Errorf("%d attempts ran at once on 6 workers", most.Load())
	}
	if running, waiting := p.Load(); running != 0 || waiting != 0 {
		t.Errorf("after the end %d run and %d wait", running, waiting)
	}
	r.finished(9000, func(id string) job.Verdict {
		switch {
		case r.shut[id]:
			return job.VerdictCancelled
		case strings.HasSuffix(id, "7"):
			return job.VerdictRetry
		}
		return job.VerdictDone
	})
}
