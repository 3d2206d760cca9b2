package pool

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// worker is one goroutine of a pool and the one in which its attempts run; the two take turns. What is under mu its
// rescuer reaches too.
type worker struct {
	p     *Pool
	runs  []run // as taken
	msgs  []*job.Message
	outs  []job.Outcome
	base  time.Time     // when the batch was taken
	began int64         // base, in nanoseconds of Unix time
	since time.Duration // after base, the clock as last read
	alone bool          // jobs are not quick: what is behind one goes back when it is done
	took  int           // attempts of the batch that ended here
	head  *task.Entry   // batch[at]; nil when the batch is done. The rescuer leaves that one with the worker

	mu       sync.Mutex
	batch    []*task.Entry
	heads    []bool        // which of batch begin a run
	from     int           // batch[from:at] are finished and not delivered
	at       int           // batch[at] runs, or is next
	flushed  time.Duration // after base, when something was delivered last
	taken    time.Time     // base, for the rescuer
	rescuer  *time.Timer
	watching bool // the rescuer will look
	stuck    bool // the pool was told that the attempt under way takes long
	whole    bool // the batch is one attempt
	closed   bool
	rest     []run // to be given back
}

func (p *Pool) work() {
	defer p.wg.Done()
	w := &worker{p: p}
	w.rescuer = time.AfterFunc(time.Hour, w.rescue)
	w.rescuer.Stop()
	defer w.rescuer.Stop()
	for w.take() {
		if w.bundled() {
			w.runBatch()
			continue
		}
		processor.Serve(w.next, w.finish)
	}
}

// bundled reports whether what is next is a batch of a kind that takes batches.
func (w *worker) bundled() bool { return w.head.Kind.Processor.BatchSize() > 0 }

// take fills w.batch, waiting for work, unless something is in it; false ends the worker.
func (w *worker) take() bool {
	if w.closed {
		return false
	}
	if w.head != nil {
		return true
	}
	runs, mean, ok := w.p.get(w.runs[:0], w.since, w.took)
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.batch)
	w.batch, w.heads, w.from, w.at, w.flushed, w.took, w.since = w.batch[:0], w.heads[:0], 0, 0, 0, 0, 0
	w.closed = !ok
	if !ok {
		return false
	}
	for _, x := range runs {
		e := x.first
		for i := range x.n {
			if i > 0 {
				e = e.Next()
			}
			w.batch, w.heads = append(w.batch, e), append(w.heads, i == 0)
		}
	}
	clear(runs)
	w.runs = runs
	w.base = time.Now()
	w.began = w.base.UnixNano()
	w.head = w.batch[0]
	w.taken, w.alone, w.whole = w.base, mean >= quick, w.bundled()
	if !w.watching {
		w.watching = true
		w.rescuer.Reset(rescueDue)
	}
	return true
}

// next is the next single job to run. It takes more when the batch is done, so that attempts cost no goroutine, and ends
// when that is no matter of single jobs.
func (w *worker) next() (processor.Attempt, bool) {
	for {
		if w.head == nil && (!w.take() || w.bundled()) {
			return processor.Attempt{}, false
		}
		e := w.head
		now := w.base.Add(w.since)
		if ctx, ok := w.p.gate(e, now); ok {
			return processor.Attempt{Context: ctx, Processor: e.Kind.Processor, Message: e.Message(), Now: now}, true
		}
		w.end(task.NotBegun, false)
	}
}

// finish notes how the attempt under way ended.
func (w *worker) finish(o job.Outcome) { w.end(o, true) }

// end notes the outcome of the job at hand and, if its attempt began, when and how long it took. What is chained to it goes
// on unless it was cancelled: then it has not had its turn; of a strict kind unless it is not done. What waits with a worker that turns out to be slow goes back to
// the pool.
func (w *worker) end(o job.Outcome, began bool) {
	w.mu.Lock()
	since := time.Since(w.base)
	long := since-w.since > deliverDue || w.alone
	e := w.batch[w.at]
	if e.Outcome, e.Began = o, 0; began { // where the one before it ended
		e.Began, e.Took = w.began+int64(w.since), since-w.since
	}
	w.since = since
	w.at++
	w.took++
	w.unstick()
	if e.Breaks(&o) {
		for ; w.at < len(w.batch) && !w.heads[w.at]; w.at++ {
			w.batch[w.at].Return()
		}
	}
	if w.at == len(w.batch) || long || since-w.flushed > deliverDue {
		w.flush()
	}
	var chain run
	var others []run
	if long && w.at < len(w.batch) {
		chain, others = w.cut(w.at)
	}
	w.head = nil
	if w.at < len(w.batch) {
		w.head = w.batch[w.at]
	}
	w.mu.Unlock()
	if len(others) > 0 || chain.n > 0 {
		w.p.giveBack(chain, others)
	}
}

// flush delivers what is finished. The caller holds w.mu.
func (w *worker) flush() {
	if w.from < w.at {
		w.p.running.Add(int64(w.from - w.at))
		w.p.deliver(w.batch[w.from:w.at])
		w.from, w.flushed = w.at, time.Since(w.base)
	}
}

// cut takes what has not begun from index i on out of the batch: the rest of a chain, and whole runs. The caller holds w.mu.
func (w *worker) cut(i int) (chain run, others []run) {
	rest := w.rest[:0]
	for j := i; j < len(w.batch); j++ {
		if w.heads[j] {
			rest = append(rest, run{w.batch[j], 1})
		} else if len(rest) == 0 {
			if chain.n == 0 {
				chain.first = w.batch[j]
			}
			chain.n++
		} else {
			rest[len(rest)-1].n++
		}
	}
	clear(w.batch[i:])
	w.batch, w.heads, w.rest = w.batch[:i], w.heads[:i], rest
	return chain, rest
}

// unstick tells the pool, when it was told otherwise, that the attempt has ended. The caller holds w.mu.
func (w *worker) unstick() {
	if w.stuck {
		w.stuck = false
		w.p.free()
	}
}

// rescue looks when a worker has had its jobs for a while: one of them is not quick, and no other must wait for it. The pool
// wakes others in its place; what is finished is delivered, what has not begun goes back, save what is chained to the one
// that runs.
func (w *worker) rescue() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watching = false
	if w.at == len(w.batch) {
		return
	}
	had := time.Since(w.taken)
	if had < rescueDue { // another batch than that for which the timer was set
		w.watching = true
		w.rescuer.Reset(rescueDue - had)
		return
	}
	if !w.stuck {
		w.stuck = true
		w.p.slow(!w.alone && !w.whole)
	}
	if w.whole {
		return
	}
	w.flush()
	i := w.at + 1
	for i < len(w.batch) && !w.heads[i] {
		i++
	}
	_, others := w.cut(i)
	w.p.giveBack(run{}, others)
}

// runBatch runs the entries whose gate is open in one call. They share one context: the first one's, joined with the end
// of every other task among them.
func (w *worker) runBatch() {
	var ctxs []context.Context
	w.msgs, w.outs = w.msgs[:0], w.outs[:0]
	for _, e := range w.batch {
		if ctx, ok := w.p.gate(e, w.base); ok {
			ctxs = append(ctxs, ctx)
			w.msgs = append(w.msgs, e.Message())
			w.outs = append(w.outs, job.Outcome{})
			e.Outcome = job.Outcome{}
		} else {
			e.Cancel()
		}
	}
	if len(w.msgs) > 0 {
		ctx, stop := join(ctxs)
		w.batch[0].Kind.Processor.RunBatch(ctx, w.msgs, w.outs)
		stop()
	}
	since, i := time.Since(w.base), 0
	for _, e := range w.batch {
		if i < len(w.msgs) && e.Message() == w.msgs[i] {
			e.Outcome, e.Began, e.Took = w.outs[i], w.began, since
			i++
		}
	}
	clear(w.msgs)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.took, w.at, w.head = since, len(w.batch), len(w.batch), nil
	w.unstick()
	w.flush()
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
