package dedupetest

import (
	"slices"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// naive is the fold as the design tells it, without any memory but the log: every answer reads all of it again. It shares
// no rule with package dedupe: neither the order of receipts nor what is in force.
type naive struct {
	log    []dedupe.Entry
	forgot map[job.Identity]int // entries of the log that no longer count for a job
}

type fact struct {
	receipt dedupe.Receipt
	time    time.Time
}

func (n *naive) apply(e dedupe.Entry) {
	if last := len(n.log) - 1; last >= 0 && e.Offset <= n.log[last].Offset {
		return
	}
	n.log = append(n.log, e)
}

// newest is the offset of the newest ownership record among the first entries, -1 for none.
func (n *naive) newest(entries int) int64 {
	for i := entries - 1; i >= 0; i-- {
		if n.log[i].Owner != nil {
			return n.log[i].Offset
		}
	}
	return -1
}

// inForce reports whether entry i is a segment of the owner that was the newest when it was appended.
func (n *naive) inForce(i int) bool {
	return n.log[i].Segment != nil && n.newest(i) >= 0 && n.newest(i) == n.log[i].Segment.Epoch
}

// facts are all receipts and marks in force of a job that were not forgotten, in the order of the log.
func (n *naive) facts(id job.Identity) (out []fact) {
	for i := n.forgot[id]; i < len(n.log); i++ {
		s := n.log[i].Segment
		if s == nil {
			continue
		}
		if slices.Contains(s.Forget, id) {
			out = nil
		}
		list := s.Receipts
		if n.inForce(i) {
			list = slices.Concat(s.Receipts, s.Marks)
		}
		for _, r := range list {
			if r.Identity == id && r.State != dedupe.StateNone {
				out = append(out, fact{r, n.log[i].Time})
			}
		}
	}
	return out
}

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

func (n *naive) get(id job.Identity) (best dedupe.Receipt, ok bool) {
	for _, f := range n.facts(id) {
		if !ok || slices.Compare(height(f.receipt), height(best)) > 0 {
			best, ok = f.receipt, true
		}
	}
	if best.State != dedupe.Done { // what was kept accumulates, whichever receipt wins
		best.Result = nil
		for _, f := range n.facts(id) {
			if f.receipt.Repeats != best.Repeats || best.Repeats && f.receipt.Origin != best.Origin { // of another enqueue
				continue
			}
			if r := f.receipt.Result; best.Result == nil || slices.Compare(orderOf(r), orderOf(best.Result)) > 0 {
				best.Result = r
			}
		}
	}
	if ok {
		best.At = dedupe.Stamp(n.last(id))
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

// last is the append time of the job's last receipt.
func (n *naive) last(id job.Identity) (t time.Time) {
	for _, f := range n.facts(id) {
		if t.IsZero() || f.time.After(t) {
			t = f.time
		}
	}
	return t
}

func (n *naive) forget(id job.Identity) {
	if n.forgot == nil {
		n.forgot = map[job.Identity]int{}
	}
	n.forgot[id] = len(n.log)
}

func (n *naive) position() dedupe.Position {
	p := dedupe.Position{Epoch: n.newest(len(n.log)), FrontierEpoch: -1, Frontiers: map[dedupe.TopicID]int64{}}
	for i := range n.log {
		e := &n.log[i]
		p.Next = e.Offset + 1
		if e.Owner != nil {
			p.Owner, p.Release = *e.Owner, dedupe.Held
		}
		if n.inForce(i) && e.Segment.Release > p.Release {
			p.Release = e.Segment.Release
		}
		if n.inForce(i) && len(e.Segment.Frontiers) > 0 {
			p.FrontierEpoch = e.Segment.Epoch
		}
	}
	for i := range n.log {
		if !n.inForce(i) || n.log[i].Segment.Epoch != p.FrontierEpoch {
			continue
		}
		for _, f := range n.log[i].Segment.Frontiers {
			if at, ok := p.Frontiers[f.Topic]; !ok || at < f.Offset {
				p.Frontiers[f.Topic] = f.Offset
			}
		}
	}
	return p
}
