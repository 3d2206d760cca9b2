package pool

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// Gate is asked before each attempt: the context to run it under, or ok false when it must not start any more because its
// task was revoked or the lease on the group has ended. now is the clock, read a moment ago. It must be quick and safe for
// concurrent use.
type Gate func(e *task.Entry, now time.Time) (ctx context.Context, ok bool)

// Deliver hands back entries whose Outcome is set, or that were returned unbegun. It must not block; the slice is the
// pool's again when it returns.
type Deliver func(done []*task.Entry)

const (
	maxTake    = 64                     // entries a worker takes at once, with what is chained to the last of them
	swift      = 10 * time.Microsecond  // attempts shorter than this need processors, not workers
	quick      = 50 * time.Microsecond  // attempts shorter than this are taken several at a time
	deliverDue = 500 * time.Microsecond // finished entries wait no longer than this for others that are as quick
	rescueDue  = 5 * time.Millisecond   // nor longer than this, nor do waiting ones, for one that is not
)

// Pool runs entries on a fixed number of workers. Its methods are safe for concurrent use.
type Pool struct {
	gate    Gate
	deliver Deliver
	workers int
	swift   int // workers that are enough for swift jobs

	mu      sync.Mutex
	q       queues
	idle    int
	stuck   int // workers whose attempt has taken rescueDue: they say nothing of how soon one will look for work
	closed  bool
	wake    chan struct{}
	mean    time.Duration // of one attempt, moving
	running atomic.Int64
	wg      sync.WaitGroup
}

// New starts a pool of that many workers.
func New(workers int, gate Gate, deliver Deliver) *Pool {
	p := &Pool{gate: gate, deliver: deliver, workers: workers, swift: min(workers, runtime.GOMAXPROCS(0)), wake: make(chan struct{}, workers),
		q: queues{batches: map[*task.Kind]*ring{}}, mean: quick}
	p.wg.Add(workers)
	for range workers {
		go p.work()
	}
	return p
}

// Submit queues entries, each with its chain. It never blocks.
func (p *Pool) Submit(entries []*task.Entry) {
	p.mu.Lock()
	for _, e := range entries {
		p.q.push(e)
	}
	p.unlock()
}

// unlock unlocks the pool and lets as many idle workers look for work as what waits is worth: for swift jobs no more than
// there are processors, since waking a worker costs as much as many of them, and those at work take what waits as soon as
// they are done. Workers that are stuck will not.
func (p *Pool) unlock() {
	wake := min(p.idle, p.fresh())
	if p.mean < swift {
		wake = min(wake, p.swift-(p.workers-p.idle-p.stuck))
	}
	wake = max(0, wake)
	p.idle -= wake
	p.mu.Unlock()
	for range wake {
		p.wake <- struct{}{}
	}
}

// fresh is how many workers could begin with what waits: a chain is for one.
func (p *Pool) fresh() int {
	n := p.q.fresh.n + p.q.retried.n
	for _, r := range p.q.batches {
		n += r.n
	}
	return n
}

// Busy is how many of the workers are at work, or about to look for some.
func (p *Pool) Busy() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workers - p.idle
}

// Load is how many attempts are with workers and how many wait.
func (p *Pool) Load() (running, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.running.Load()), p.q.n
}

// Close lets the workers finish what is queued, which a closed gate makes quick, and joins them.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	wake := p.idle
	p.idle = 0
	p.mu.Unlock()
	for range wake {
		p.wake <- struct{}{}
	}
	p.wg.Wait()
}

// get takes what a worker is to do next, waiting for work; false when the pool is closed and empty. spent is what took
// attempts took since the worker asked last.
func (p *Pool) get(dst []run, spent time.Duration, took int) ([]run, time.Duration, bool) {
	p.mu.Lock()
	if took > 0 { // bounded: one that was interrupted says little of the others
		p.mean += (min(spent/time.Duration(took), 8*p.mean+time.Microsecond) - p.mean) / 8
	}
	for p.q.n == 0 {
		if p.closed {
			p.mu.Unlock()
			return dst, 0, false
		}
		p.idle++
		p.mu.Unlock()
		<-p.wake
		p.mu.Lock()
	}
	limit := 1
	switch {
	case p.mean < swift:
		limit = min(maxTake, p.q.n/p.swift+1)
	case p.mean < quick:
		limit = min(maxTake, p.q.n/p.workers+1)
	}
	dst = p.q.take(dst, limit)
	mean := p.mean
	n := 0
	for _, x := range dst {
		n += x.n
	}
	p.running.Add(int64(n))
	p.unlock()
	return dst, mean, true
}

// slow tells that a worker's attempt takes long; several whether others waited behind it, who were thought as quick as it.
func (p *Pool) slow(several bool) {
	p.mu.Lock()
	p.stuck++
	if several {
		p.mean = max(p.mean, quick)
	}
	p.unlock()
}

// free tells that an attempt of which slow told has ended.
func (p *Pool) free() {
	p.mu.Lock()
	p.stuck--
	p.mu.Unlock()
}

// giveBack takes what a worker has not begun, in its order: to the head of the queue, or, of a chain that has had its turn,
// to its end.
func (p *Pool) giveBack(chain run, others []run) {
	p.mu.Lock()
	n := 0
	for i := len(others) - 1; i >= 0; i-- {
		p.q.pushFront(others[i])
		n += others[i].n
	}
	if chain.n > 0 {
		p.q.pushBack(chain)
		n += chain.n
	}
	p.running.Add(-int64(n))
	p.unlock()
}
