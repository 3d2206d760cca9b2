package pool

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Gate is asked before each attempt: the context to run it under, or ok false when it must not start any more because its
// task was revoked or the lease on the group has ended. It must be quick and safe for concurrent use.
type Gate func(e *task.Entry) (ctx context.Context, ok bool)

// Deliver hands back entries whose Outcome is set. It must not block; the slice is the pool's again when it returns.
type Deliver func(done []*task.Entry)

const (
	maxTake    = 64                     // entries a worker takes at once
	quick      = 50 * time.Microsecond  // attempts shorter than this are taken several at a time
	deliverDue = 500 * time.Microsecond // finished entries wait no longer than this for others
)

// Pool runs entries on a fixed number of workers. Its methods are safe for concurrent use.
type Pool struct {
	gate    Gate
	deliver Deliver
	workers int

	mu      sync.Mutex
	q       queues
	idle    int
	closed  bool
	wake    chan struct{}
	running int
	mean    time.Duration // of one attempt, moving
	wg      sync.WaitGroup
}

// New starts a pool of that many workers.
func New(workers int, gate Gate, deliver Deliver) *Pool {
	p := &Pool{gate: gate, deliver: deliver, workers: workers, wake: make(chan struct{}, workers),
		q: queues{batches: map[*task.Kind]*ring{}}}
	p.wg.Add(workers)
	for range workers {
		go p.work()
	}
	return p
}

// Submit queues entries. It never blocks.
func (p *Pool) Submit(entries []*task.Entry) {
	p.mu.Lock()
	for _, e := range entries {
		p.q.push(e)
	}
	wake := min(p.idle, len(entries))
	p.idle -= wake
	p.mu.Unlock()
	for range wake {
		p.wake <- struct{}{}
	}
}

// Load is how many attempts run and how many wait.
func (p *Pool) Load() (running, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, p.q.n
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

func (p *Pool) work() {
	defer p.wg.Done()
	w := worker{p: p}
	for w.take() {
		w.run()
	}
}

// worker is what one goroutine of a pool owns.
type worker struct {
	p     *Pool
	batch []*task.Entry
	msgs  []*job.Message
	outs  []job.Outcome
	spent time.Duration // on the last batch
}

// take fills w.batch, waiting for work; false ends the worker.
func (w *worker) take() bool {
	p := w.p
	p.mu.Lock()
	p.running -= len(w.batch)
	if n := len(w.batch); n > 0 {
		p.mean += (w.spent/time.Duration(n) - p.mean) / 8
	}
	clear(w.batch)
	w.batch = w.batch[:0]
	for p.q.n == 0 {
		if p.closed {
			p.mu.Unlock()
			return false
		}
		p.idle++
		p.mu.Unlock()
		<-p.wake
		p.mu.Lock()
	}
	limit := 1
	if p.mean < quick {
		limit = max(1, min(maxTake, p.q.n/p.workers+1))
	}
	w.batch = p.q.take(w.batch, limit)
	p.running += len(w.batch)
	p.mu.Unlock()
	return true
}

func (w *worker) run() {
	start := time.Now()
	if w.batch[0].Kind.Processor.BatchSize() > 0 {
		w.runBatch()
	} else {
		w.runSingles(start)
	}
	w.spent = time.Since(start)
}

// runSingles runs the batch one after the other in one call of processor.Serve, which is what makes an attempt cheap, and
// hands outcomes back early when attempts take long.
func (w *worker) runSingles(last time.Time) {
	from, at := 0, 0
	finish := func(o job.Outcome) {
		w.batch[at].Outcome = o
		at++
		if at == len(w.batch) {
			return
		}
		if now := time.Now(); now.Sub(last) > deliverDue {
			w.p.deliver(w.batch[from:at])
			from, last = at, now
		}
	}
	next := func() (processor.Attempt, bool) {
		for at < len(w.batch) {
			e := w.batch[at]
			if ctx, ok := w.p.gate(e); ok {
				return processor.Attempt{Context: ctx, Processor: e.Kind.Processor, Message: e.Message()}, true
			}
			finish(cancelled)
		}
		return processor.Attempt{}, false
	}
	processor.Serve(next, finish)
	w.p.deliver(w.batch[from:])
}

var cancelled = job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled, Text: "the instance let the job go before it started"}

// runBatch runs the entries whose gate is open in one call. They share one context: the first one's, joined with the end
// of every other task among them.
func (w *worker) runBatch() {
	var ctxs []context.Context
	w.msgs, w.outs = w.msgs[:0], w.outs[:0]
	for _, e := range w.batch {
		if ctx, ok := w.p.gate(e); ok {
			ctxs = append(ctxs, ctx)
			w.msgs = append(w.msgs, e.Message())
			w.outs = append(w.outs, job.Outcome{})
			e.Outcome = job.Outcome{}
		} else {
			e.Outcome = cancelled
		}
	}
	if len(w.msgs) > 0 {
		ctx, stop := join(ctxs)
		w.batch[0].Kind.Processor.RunBatch(ctx, w.msgs, w.outs)
		stop()
	}
	i := 0
	for _, e := range w.batch {
		if i < len(w.msgs) && e.Message() == w.msgs[i] {
			e.Outcome = w.outs[i]
			i++
		}
	}
	clear(w.msgs)
	w.p.deliver(w.batch)
}

// join is a context that ends with the first of several.
func join(ctxs []context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctxs[0])
	var stops []func() bool
	seen := map[context.Context]bool{ctxs[0]: true}
	for _, c := range ctxs[1:] {
		if !seen[c] {
			seen[c] = true
			stops = append(stops, context.AfterFunc(c, cancel))
		}
	}
	return ctx, func() {
		for _, s := range stops {
			s()
		}
		cancel()
	}
}
