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
	deliverDue = 500 * time.Microsecond // finished entries wait no longer than this for others that are as quick
	rescueDue  = 5 * time.Millisecond   // nor longer than this, nor do waiting ones, for one that is not
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
	p.wakeFor(len(entries))
}

// wakeFor lets as many idle workers look for work as there is new work, and unlocks the pool.
func (p *Pool) wakeFor(n int) {
	wake := min(p.idle, n)
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
	p.wakeFor(p.workers)
	p.wg.Wait()
}

func (p *Pool) work() {
	defer p.wg.Done()
	w := worker{p: p}
	w.rescuer = time.AfterFunc(time.Hour, w.rescue)
	w.rescuer.Stop()
	for w.take() {
		w.run()
	}
}

// worker is what one goroutine of a pool owns. What is under mu its rescuer reaches too, while shared is set.
type worker struct {
	p       *Pool
	msgs    []*job.Message
	outs    []job.Outcome
	spent   time.Duration // on the last batch
	took    int           // entries of it
	rescuer *time.Timer   // runs while several single jobs are with the worker

	mu     sync.Mutex
	shared bool
	batch  []*task.Entry
	from   int // batch[from:at] are finished and not delivered
	at     int // batch[at] runs, or is next
}

// take fills w.batch, waiting for work; false ends the worker.
func (w *worker) take() bool {
	p := w.p
	p.mu.Lock()
	p.running -= len(w.batch)
	if w.took > 0 {
		p.mean += (w.spent/time.Duration(w.took) - p.mean) / 8
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
		w.took = len(w.batch)
		w.runBatch()
	} else {
		w.runSingles(start)
	}
	w.spent = time.Since(start)
}

// runSingles runs the batch one after the other in one call of processor.Serve, which is what makes an attempt cheap, and
// hands outcomes back early when attempts take long.
func (w *worker) runSingles(last time.Time) {
	w.mu.Lock()
	w.from, w.at = 0, 0
	if w.shared = len(w.batch) > 1; w.shared {
		w.rescuer.Reset(rescueDue)
		defer w.rescuer.Stop()
	}
	w.mu.Unlock()
	finish := func(o job.Outcome) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.batch[w.at].Outcome = o
		w.at++
		if w.at == len(w.batch) {
			return
		}
		if now := time.Now(); now.Sub(last) > deliverDue {
			last = now
			w.flush()
		}
	}
	next := func() (processor.Attempt, bool) {
		for {
			w.mu.Lock()
			if w.at == len(w.batch) {
				w.mu.Unlock()
				return processor.Attempt{}, false
			}
			e := w.batch[w.at]
			w.mu.Unlock()
			if ctx, ok := w.p.gate(e); ok {
				return processor.Attempt{Context: ctx, Processor: e.Kind.Processor, Message: e.Message()}, true
			}
			finish(cancelled)
		}
	}
	processor.Serve(next, finish)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shared = false
	w.took = len(w.batch)
	w.flush()
}

// flush delivers what is finished. The caller holds w.mu.
func (w *worker) flush() {
	if w.from < w.at {
		w.p.deliver(w.batch[w.from:w.at])
		w.from = w.at
	}
}

// rescue is called when a worker has had several jobs for a while: one of them is not as quick as those before, and the
// others must not wait for it. What is finished is delivered, what has not begun goes back to the head of the queue.
func (w *worker) rescue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.shared || w.at == len(w.batch) {
		return
	}
	w.flush()
	w.p.giveBack(w.batch[w.at+1:], len(w.batch)-1)
	w.batch[0] = w.batch[w.at]
	clear(w.batch[1:])
	w.batch, w.from, w.at = w.batch[:1], 0, 0
}

// giveBack takes entries that a worker has not begun, in their order. With those that it has finished, less entries are no
// longer the worker's.
func (p *Pool) giveBack(entries []*task.Entry, less int) {
	p.mu.Lock()
	p.running -= less
	for i := len(entries) - 1; i >= 0; i-- {
		p.q.pushFront(entries[i])
	}
	p.wakeFor(len(entries))
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
