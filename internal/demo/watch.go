package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/retrytopics"
)

// watchEvery is how often the story looks at ledgers and topics. Workers trim their tiers twice a minute: what would be
// gone between two looks would be missing in the account.
const watchEvery = 500 * time.Millisecond

// watch reads ledgers and topics while the story goes on. Its goroutine owns all but what mu guards.
type watch struct {
	stage   *stage
	reader  *topics.Reader
	planned int
	tell    func(*Progress)

	tails    map[string]*tail // by process
	done     map[string]bool  // job ids
	kinds    map[string]*KindProgress
	attempts map[string]int // by process

	mu        sync.Mutex
	processes []*process
	paths     map[string]string
	last      *Progress
	err       error
	changed   chan struct{} // closed and replaced with each look
}

func newWatch(s *stage, jobs []errand, tell func(*Progress)) (*watch, error) {
	r, err := topics.NewReader(s.opts, s.job().names()...)
	if err != nil {
		return nil, err
	}
	w := &watch{stage: s, reader: r, planned: len(jobs), tell: tell, tails: map[string]*tail{}, done: map[string]bool{},
		kinds: map[string]*KindProgress{}, attempts: map[string]int{}, paths: map[string]string{}, changed: make(chan struct{})}
	for _, k := range kinds {
		w.kinds[k] = &KindProgress{Kind: k, Order: orders[k].String()}
	}
	for _, e := range jobs {
		w.kinds[e.args.Kind()].Planned++
	}
	return w, nil
}

// follow adds a process's ledger. p is nil for the driver's own.
func (w *watch) follow(name, path string, p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths[name] = path
	if p != nil {
		w.processes = append(w.processes, p)
	}
}

// path is the ledger of a process that is followed.
func (w *watch) path(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paths[name]
}

// forgive is for how long looks may fail: a coordinator that moves, a leader that is elected.
const forgive = 20 * time.Second

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	every := time.NewTicker(watchEvery)
	defer every.Stop()
	good := time.Now()
	for {
		if err := w.casualty(); err != nil {
			w.publish(nil, err)
			return
		}
		p, err := w.look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			good = time.Now()
			w.publish(p, nil)
		case time.Since(good) > forgive:
			w.publish(nil, err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (w *watch) publish(p *Progress, err error) {
	w.mu.Lock()
	w.last, w.err = p, err
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	if p != nil {
		w.tell(p)
	}
}

// until waits for a look, begun after the call, of which ok is true. stuck is what the error says when that takes longer
// than limit.
func (w *watch) until(ctx context.Context, limit time.Duration, stuck string, ok func(*Progress) bool) (*Progress, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s within %v", stuck, limit))
	defer cancel()
	asked := time.Now()
	for {
		w.mu.Lock()
		p, err, changed := w.last, w.err, w.changed
		w.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if p != nil && p.seen.After(asked) && ok(p) {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if p == nil {
				return nil, context.Cause(ctx)
			}
			return p, fmt.Errorf("%w: %s", context.Cause(ctx), p.summary())
		}
	}
}

// look reads on. Committed offsets come before the ends of the logs: a copy is in its tier before its source is committed,
// so everything that is idle now was idle then.
func (w *watch) look(ctx context.Context) (*Progress, error) {
	p := &Progress{Planned: w.planned, seen: time.Now()}
	if err := w.readLedgers(); err != nil {
		return nil, err
	}
	committed, err := w.reader.Committed(ctx, w.stage.group)
	if err != nil {
		return nil, err
	}
	if err := w.reader.Read(ctx); err != nil {
		return nil, err
	}
	var in checker.Input
	w.reader.Fill(&in)
	left := func(topic string) (n int64) {
		for partition, end := range in.Ends[topic] {
			at := max(committed.At(topic, partition, 0), in.From.At(topic, partition, 0))
			if at < end {
				n += end - at
				p.late = append(p.late, fmt.Sprintf("%s/%d is committed to %d of %d", topic, partition, at, end))
			}
		}
		return n
	}
	job := w.stage.job()
	p.Unread, p.Letters = left(job.Topic), len(in.Topics[job.DeadLetters])
	for _, t := range job.Tiers {
		p.Tiers = append(p.Tiers, TierProgress{retrytopics.FormatTier(t.Delay), left(t.Topic)})
	}
	p.idle = p.Unread == 0 && p.Waiting() == 0
	p.Done = len(w.done)
	for _, k := range kinds {
		p.Produced += w.kinds[k].Produced
		p.Kinds = append(p.Kinds, *w.kinds[k])
	}
	p.Workers = w.workers()
	return p, nil
}

// casualty is the error of a worker that ended although nobody had asked it to.
func (w *watch) casualty() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		if p.gone() && !p.expected() {
			return p.died()
		}
	}
	return nil
}

func (w *watch) workers() (out []WorkerProgress) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.processes {
		row := WorkerProgress{Worker: p.name, PID: p.pid, Release: p.release, State: p.state(), Attempts: w.attempts[p.name]}
		if s := p.last.Load(); !p.gone() {
			row.Tasks, row.Running = s.Tasks, s.Running
		}
		out = append(out, row)
	}
	return out
}

func (w *watch) readLedgers() error {
	w.mu.Lock()
	for name, path := range w.paths {
		if w.tails[name] == nil {
			w.tails[name] = &tail{path: path}
		}
	}
	w.mu.Unlock()
	for name, t := range w.tails {
		events, err := t.next()
		if err != nil {
			return err
		}
		for i := range events {
			w.count(name, &events[i])
		}
	}
	return nil
}

func (w *watch) count(process string, e *ledger.Event) {
	k := w.kinds[e.Kind]
	if k == nil {
		return
	}
	switch {
	case e.Type == ledger.Produced:
		k.Produced++
	case e.Type == ledger.Called:
		w.attempts[process]++
	case e.Type != ledger.Returned:
	case e.Result != ledger.Done:
		k.Failures++
	case !w.done[e.ID]:
		w.done[e.ID] = true
		k.Done++
	}
}
