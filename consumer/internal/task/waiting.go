package task

import "github.com/waybill-dev/waybill/retrytopics"

// waiting is what a tier holds that is not due, in the order of due times and, where those are equal, of arrival.
//
// What comes due before a horizon, a fetch wait ahead, stands apart: a fetch that starts now brings its records when those
// are due and on their way out, so they do not count as waiting. That is how a tier that was paused because it held as
// many waiting jobs as it may is resumed ahead of time, and not when its jobs are already late.
type waiting struct {
	near, far retrytopics.DelayQueue[*Entry] // none in near is due after one in far
	bytes     int                            // of far
}

// push adds an entry; approach was called with the same horizon or a later one.
func (w *waiting) push(due, horizon int64, e *Entry) {
	if due <= horizon {
		w.near.Push(due, e)
		return
	}
	w.far.Push(due, e)
	w.bytes += e.size
}

// approach moves the horizon.
func (w *waiting) approach(horizon int64) {
	for {
		due, e, ok := w.far.Peek()
		if !ok || due > horizon {
			return
		}
		w.far.Pop()
		w.bytes -= e.size
		w.near.Push(due, e)
	}
}

// pop takes out the entry that is due first, nil when none is due by now; approach was called with now or later.
func (w *waiting) pop(now int64) *Entry {
	due, e, ok := w.near.Peek()
	if !ok || due > now {
		return nil
	}
	w.near.Pop()
	return e
}

// next is when the first entry is due.
func (w *waiting) next() (due int64, ok bool) {
	if due, _, ok = w.near.Peek(); !ok {
		due, _, ok = w.far.Peek()
	}
	return due, ok
}

func (w *waiting) len() int { return w.near.Len() + w.far.Len() }
