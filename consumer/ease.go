package consumer

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// easing keeps the poller from fetching faster than jobs are finished. The machines would pause their partitions for it,
// and a pause is dear: the client throws away what it has fetched, and asks for the partition again only when the fetch
// under way has come back, which takes a whole fetch wait where no other partition has news. So the poller waits a little
// before it takes more, while the client has one fetch in hand.
//
// It waits only as long as that helps: while a task that was fed last is crowded, gets on, and none of the others that were
// fed with it has run dry. A task that is slow is paused by its machine, and then costs the others nothing.
type easing struct {
	feed  []*handle // that got records of their job topic in the last turn; the poller's alone
	eased chan struct{}
}

const (
	easeStep = 10 * time.Millisecond  // in which a crowded task must finish something
	easeMost = 250 * time.Millisecond // as long as a pause would last
	easeGain = 100                    // records that are worth a step of waiting
)

// load is what the poller may know of a task. Its fields may be read by any goroutine.
type load struct {
	coming  atomic.Int64 // records on their way to the machine
	held    atomic.Int64
	crowded atomic.Bool
	watched atomic.Bool
}

func (l *load) admitted(n int) { l.coming.Add(int64(-n)) }

// look is called by the shard after each round of inputs.
func (l *load) look(m *task.Machine, e *easing) { l.show(int64(m.Held()), m.Crowded(), e) }

func (l *load) show(held int64, crowded bool, e *easing) {
	l.held.Store(held)
	l.crowded.Store(crowded)
	if l.watched.Load() && (!l.busy() || l.left() == 0) {
		select {
		case e.eased <- struct{}{}:
		default:
		}
	}
}

func (l *load) left() int64 { return l.coming.Load() + l.held.Load() }
func (l *load) busy() bool  { return l.crowded.Load() || l.coming.Load() > 0 }

// fed notes that a task is about to get n records.
func (e *easing) fed(h *handle, n int) {
	h.load.coming.Add(int64(n))
	h.load.watched.Store(true)
	e.feed = append(e.feed, h)
}

// wait returns when it is time to fetch, or ctx ends.
func (e *easing) wait(ctx context.Context) {
	if len(e.feed) == 0 {
		return
	}
	defer e.forget()
	var step *time.Timer
	before, busy, dry := e.look()
	for waited := time.Duration(0); busy && !dry && waited < easeMost; {
		if step == nil {
			step = time.NewTimer(easeStep)
			defer step.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-e.eased:
			_, busy, dry = e.look()
			continue
		case <-step.C:
		}
		var left int64
		if left, busy, dry = e.look(); before-left < easeGain {
			return
		}
		before = left
		waited += easeStep
		step.Reset(easeStep)
	}
}

func (e *easing) forget() {
	for i, h := range e.feed {
		h.load.watched.Store(false)
		e.feed[i] = nil
	}
	e.feed = e.feed[:0]
}

// look is what the tasks that are busy have left to do, whether there are such, and whether one of the fed has run dry.
func (e *easing) look() (left int64, busy, dry bool) {
	for _, h := range e.feed {
		n := h.load.left()
		dry = dry || n == 0 && !h.gone.Load()
		if h.load.busy() && !h.stopped.Load() {
			busy = true
			left += n
		}
	}
	return left, busy, dry
}
