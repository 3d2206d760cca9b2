// Package refold is the fold of a receipt log by other code than the engine's: a check on stores, not one of them.
//
// It shares no rule with package dedupe, neither the order of receipts nor what is in force: it keeps every fact of a job and
// looks at all of them for an answer. dedupetest holds stores to it after every entry of random logs, and `waybill receipt
// verify` those of a cluster (I13). It takes some 250 bytes a job. Nothing that runs jobs may import it.
package refold

import (
	"bytes"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Fold is what a log says. One goroutine at a time may use it.
type Fold struct {
	facts    map[job.Identity][]fact
	next     int64
	newest   int64 // offset of the newest ownership record, -1 for none
	owner    dedupe.Owner
	release  dedupe.Release
	of       dedupe.Place // what that epoch's owner said the log is of
	claimed  int64        // epoch of the newest frontiers in force, -1 for none
	frontier map[dedupe.TopicID]int64
}

type fact struct {
	receipt dedupe.Receipt
	time    time.Time
}

// New returns the fold of nothing.
func New() *Fold {
	return &Fold{facts: map[job.Identity][]fact{}, newest: -1, claimed: -1}
}

// Apply folds the next entry; those at or before one that was folded are ignored. It keeps nothing of e.
func (f *Fold) Apply(e *dedupe.Entry) {
	if e.Offset < f.next {
		return
	}
	f.next = e.Offset + 1
	if e.Owner != nil {
		f.newest, f.owner, f.release = e.Offset, *e.Owner, dedupe.Held
		return
	}
	s := e.Segment
	for _, id := range s.Forget {
		f.Forget(id)
	}
	f.add(s.Receipts, e.Time)
	if !f.InForce(s) {
		return
	}
	f.add(s.Marks, e.Time)
	f.release = max(f.release, s.Release)
	if len(s.Frontiers) == 0 {
		return
	}
	if s.Epoch != f.claimed {
		f.of = f.owner.Of
		f.claimed, f.frontier = s.Epoch, map[dedupe.TopicID]int64{}
	}
	for _, x := range s.Frontiers {
		if at, ok := f.frontier[x.Topic]; !ok || at < x.Offset {
			f.frontier[x.Topic] = x.Offset
		}
	}
}

func (f *Fold) add(list []dedupe.Receipt, at time.Time) {
	for _, r := range list {
		if r.State > dedupe.StateNone && r.State <= dedupe.Done {
			r.Result = bytes.Clone(r.Result)
			f.facts[r.Identity] = append(f.facts[r.Identity], fact{r, at})
		}
	}
}

// InForce reports whether a segment that comes next is the newest owner's: else its marks and frontiers are void.
func (f *Fold) InForce(s *dedupe.Segment) bool { return f.newest >= 0 && s.Epoch == f.newest }

// Forget drops what is known of a job.
func (f *Fold) Forget(id job.Identity) { delete(f.facts, id) }

// Len is the number of jobs of which something is known.
func (f *Fold) Len() int { return len(f.facts) }

// Jobs are those, in no order.
func (f *Fold) Jobs() iter.Seq[job.Identity] { return maps.Keys(f.facts) }

// height is what a receipt is compared by, most important first.
func height(r dedupe.Receipt) []int64 {
	var enqueued, done, final, progress int64
	if r.Repeats {
		enqueued = r.Origin + 1
	}
	switch r.State {
	case dedupe.StateNone:
		return []int64{-1}
	case dedupe.Done:
		done, final = 1, 2
	case dedupe.Dead:
		final = 2
	case dedupe.Discarded, dedupe.Expired:
		final = 1
	case dedupe.Started:
		if progress = 3; r.Code == job.CodeSuspect {
			progress = 4
		}
	case dedupe.Step:
		progress = 2
	case dedupe.Retrying:
		progress = 1
	}
	return []int64{enqueued, done, int64(r.Gen), final, int64(r.Hop), progress}
}

// Compare orders receipts of one job by what is the more advanced.
func Compare(a, b dedupe.Receipt) int { return slices.Compare(height(a), height(b)) }

// Get is what is known of a job.
func (f *Fold) Get(id job.Identity) (best dedupe.Receipt, ok bool) {
	facts := f.facts[id]
	for _, x := range facts {
		if !ok || Compare(x.receipt, best) > 0 {
			best, ok = x.receipt, true
		}
	}
	if best.State != dedupe.Done { // what was kept accumulates, whichever receipt wins
		best.Result = nil
		for _, x := range facts {
			if x.receipt.Repeats != best.Repeats || best.Repeats && x.receipt.Origin != best.Origin { // of another enqueue
				continue
			}
			if r := x.receipt.Result; best.Result == nil || slices.Compare(orderOf(r), orderOf(best.Result)) > 0 {
				best.Result = r
			}
		}
	}
	if ok {
		best.At = dedupe.Stamp(f.Last(id))
	}
	return best, ok
}

// orderOf is what progress is compared by: its epoch, then its number. What is none stands below all.
func orderOf(b []byte) []int64 {
	o, ok := job.OrderOfProgress(b)
	if !ok {
		return nil
	}
	return []int64{o.Epoch, int64(o.Number)}
}

// Last is the append time of the job's last receipt, zero when nothing is known.
func (f *Fold) Last(id job.Identity) (t time.Time) {
	for _, x := range f.facts[id] {
		if t.IsZero() || x.time.After(t) {
			t = x.time
		}
	}
	return t
}

// Position is how far the log is folded, who owns and what is in force. The map is the caller's own.
func (f *Fold) Position() dedupe.Position {
	p := dedupe.Position{Next: f.next, Epoch: f.newest, Owner: f.owner, Release: f.release, FrontierEpoch: f.claimed, Of: f.of, Frontiers: map[dedupe.TopicID]int64{}}
	maps.Copy(p.Frontiers, f.frontier)
	return p
}
