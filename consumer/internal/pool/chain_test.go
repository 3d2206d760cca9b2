package pool

import (
	"context"
	"errors"
	"math/rand/v2"
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

// What is chained runs in order, whatever comes of each, up to the first that is cancelled; the rest comes back unbegun.
func TestChain(t *testing.T) {
	for name, c := range map[string]struct {
		fails, shut string
		want        string
		cancelled   int
	}{
		"all done":       {want: "k0 k1 k2 k3 k4", cancelled: 0},
		"one fails":      {fails: "k2", want: "k0 k1 k2 k3 k4", cancelled: 0},
		"the last fails": {fails: "k4", want: "k0 k1 k2 k3 k4", cancelled: 0},
		"a closed gate":  {shut: "k1", want: "k0", cancelled: 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				var ran []string
				r.handle = func(_ context.Context, id string) error {
					if ran = append(ran, id); id == c.fails {
						return errors.New("no")
					}
					return nil
				}
				r.shut[c.shut] = true
				p := New(1, r.gate, r.deliver)
				p.Submit([]*task.Entry{r.chain("k", 5)})
				p.Close()
				if got := strings.Join(ran, " "); got != c.want {
					t.Errorf("ran %s, want %s", got, c.want)
				}
				n := 0
				for _, o := range r.done {
					if o.Verdict == job.VerdictCancelled {
						n++
					}
				}
				if n != c.cancelled || r.came != 5 {
					t.Errorf("%d of %d that came back are cancelled, want %d of 5", n, r.came, c.cancelled)
				}
			})
		})
	}
}

// A chain of slow jobs takes turns with what waits beside it, and what it has finished comes back at once.
func TestSlowChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		var ran []string
		r.handle = func(_ context.Context, id string) error {
			ran = append(ran, id)
			time.Sleep(time.Second)
			return nil
		}
		p := New(1, r.gate, r.deliver)
		p.Submit([]*task.Entry{r.chain("k", 3), r.chain("l", 3)})
		time.Sleep(2500 * time.Millisecond)
		if n := r.back(); n != 2 {
			t.Errorf("%d are back after two have ended", n)
		}
		p.Close()
		if want := []string{"k0", "l0", "k1", "l1", "k2", "l2"}; !slices.Equal(ran, want) {
			t.Errorf("ran %v, want %v", ran, want)
		}
		r.finished(6, always(job.VerdictDone))
	})
}

// When one of a chain among quick ones takes long, those behind it stay behind it, and other chains go to other workers.
func TestSlowOneInAChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.handle = func(_ context.Context, id string) error {
			switch id {
			case "x0":
				time.Sleep(time.Millisecond)
			case "k1":
				time.Sleep(time.Hour)
			}
			return nil
		}
		p := New(2, r.gate, r.deliver)
		for range 20 {
			p.Submit(r.entries("single", "q"+strconv.Itoa(len(r.done)), 100, false)) // so that the pool believes that all are quick
			synctest.Wait()
		}
		before := r.back()
		p.Submit(r.entries("single", "x", 1, false))
		synctest.Wait()
		p.Submit([]*task.Entry{r.chain("k", 4), r.chain("l", 4), r.chain("m", 4)})
		time.Sleep(time.Minute)
		if n := r.back() - before; n != 1+1+4+4 { // x0, k0 and the other chains
			t.Errorf("%d jobs are back while k1 runs, want 10", n)
		}
		if running, waiting := p.Load(); running != 3 || waiting != 0 {
			t.Errorf("%d are with workers and %d wait, want k1 to k3 and none", running, waiting)
		}
		p.Close()
		r.finished(before+13, always(job.VerdictDone))
	})
}

// Chains under the race detector, with failures, slow ones and gates that close: no two of a chain run at once or out of order.
func TestChainStress(t *testing.T) {
	r := newRig(t)
	const chains, long = 200, 20
	var last [chains]atomic.Int64
	r.handle = func(_ context.Context, id string) error {
		chain, n, _ := strings.Cut(id, "-")
		c, _ := strconv.Atoi(chain[1:])
		i, _ := strconv.Atoi(n)
		if !last[c].CompareAndSwap(int64(i), -1) {
			t.Errorf("%s runs out of turn", id)
		}
		defer last[c].Store(int64(i + 1))
		if rand.IntN(500) == 0 {
			time.Sleep(2 * rescueDue)
		}
		if rand.IntN(100) == 0 {
			return errors.New("no")
		}
		return nil
	}
	var heads []*task.Entry
	total := 0
	for c := range chains {
		e := r.chain("c"+strconv.Itoa(c)+"-", long)
		heads = append(heads, e)
		total += 1 + e.Chain()
	}
	p := New(6, r.gate, r.deliver)
	var submitters sync.WaitGroup
	for half := range slices.Chunk(heads, chains/2) {
		submitters.Go(func() {
			for some := range slices.Chunk(half, 7) {
				p.Submit(some)
			}
		})
	}
	submitters.Wait()
	p.Close()
	if r.came != total || len(r.done) != total {
		t.Errorf("%d outcomes of %d jobs came back, want %d", r.came, len(r.done), total)
	}
	if running, waiting := p.Load(); running != 0 || waiting != 0 {
		t.Errorf("after the end %d run and %d wait", running, waiting)
	}
}
