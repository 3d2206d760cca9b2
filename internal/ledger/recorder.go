package ledger

import (
	"slices"
	"sync"
)

// Recorder is a ledger in memory, shared by the processes of one simulation. Its event order is the order in which Record
// was entered, across all processes, which is stronger than what times can say: under a virtual clock many are equal.
type Recorder struct {
	mu     sync.Mutex
	events []Event
	taps   map[string]*Tap
}

// NewRecorder makes an empty ledger.
func NewRecorder() *Recorder { return &Recorder{taps: make(map[string]*Tap)} }

// Tap is the Sink of one process of a Recorder. Safe for concurrent use.
type Tap struct {
	r     *Recorder
	stamp stamp // under r.mu
}

var _ Sink = (*Tap)(nil)

// For is the sink of one process: the same tap for the same name, so that sequences go on. A frozen tap stays frozen:
// a process started again after a kill needs another name.
func (r *Recorder) For(process string) *Tap {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.taps[process]
	if t == nil {
		t = &Tap{r: r, stamp: stamp{process: process}}
		r.taps[process] = t
	}
	return t
}

// Events is a copy of what was recorded so far.
func (r *Recorder) Events() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// Applied reports whether the downstream has applied an effect of that idempotency key, as a handler's Reconcile asks it.
func (r *Recorder) Applied(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.events, func(e Event) bool { return e.Type == Effect && e.IdempotencyKey == key })
}

// Record appends the event. After Freeze it does nothing.
func (t *Tap) Record(e Event) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	if t.stamp.take(&e) {
		t.r.events = append(t.r.events, e)
	}
}

// Freeze ends this process's say, as a kill does: nothing is recorded after it returns.
func (t *Tap) Freeze() {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.stamp.frozen = true
}
