package checker

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// Order through retries, judged by the records and the calls alone: a job of a strict kind first starts when every strict job
// of its key that stands before it in the job topic has ended, called or not; and so has every other of the key that failed
// and was sent to a tier. What hops, waits and follows in between is the engine's affair.

// lines are the jobs that a strict one of their key may have to wait for, in the order in which they stand in the job topic.
func (c *check) lines() map[lane][]*job {
	strict := make(map[lane]bool)
	for _, j := range c.jobs {
		if c.strictly(j) {
			strict[laneOfKey(j)] = true
		}
	}
	line := make(map[lane][]*job, len(strict))
	for _, j := range c.jobs {
		if l := laneOfKey(j); strict[l] && !j.null && j.first() != nil && !j.first().given {
			line[l] = append(line[l], j)
		}
	}
	for _, l := range line {
		slices.SortFunc(l, func(a, b *job) int { return cmp.Compare(a.first().pos.Offset, b.first().pos.Offset) })
	}
	return line
}

func laneOfKey(j *job) lane { return lane{place: j.place, key: j.key} }

// strictly reports whether the job is of a strict kind: it is configured as one, or was called as one.
func (c *check) strictly(j *job) bool {
	return c.kind(j.kind).Strict || len(j.calls) > 0 && j.calls[0].Order == ledger.ByKeyStrict
}

// strict judges the first starts of one key. A redriven job has no place in the order, unless it holds its key, and then it had its
// turn before; a rerun of what was called at that hop already is judged by I6.
func (c *check) strict(l *lane, calls []*call, line []*job) {
	var open []*job // of line[:next], those that had not ended when last looked at
	next := 0
	for _, x := range calls {
		first := x.job.first()
		if x.Order != ledger.ByKeyStrict || x.Generation > 0 || first == nil || first.given || repeats(x) {
			continue
		}
		for ; next < len(line) && line[next].first().pos.Offset < first.pos.Offset; next++ {
			open = append(open, line[next])
		}
		open = slices.DeleteFunc(open, func(j *job) bool { return c.endedBefore(j, x) })
		for _, j := range open {
			if j.first().pos.Offset < first.pos.Offset && j != x.job && c.holdsUp(j, x) {
				c.broken(RuleI5, x.job, fmt.Sprintf("first started while %s, which stands before it, had not ended (%s, strict)", j.id, l), j.first(), x, lastCall(j, x))
				break
			}
		}
	}
}

// lastCall is the last call of a job before another, as evidence.
func lastCall(j *job, x *call) *ledger.Event {
	for _, o := range slices.Backward(j.calls) {
		if o.start < x.start {
			return o.Event
		}
	}
	return nil
}

// repeats reports whether an earlier call of the job was at the same hop or a later one.
func repeats(x *call) bool {
	for _, o := range x.job.calls {
		if o == x {
			return false
		}
		if o.Generation == x.Generation && o.Hop >= x.Hop {
			return true
		}
	}
	return false
}

// holdsUp reports whether a job that has not ended must have ended before a later one of its key starts. Others than strict
// ones let their key go on until they fail; a fault may hide from the owner that they did.
func (c *check) holdsUp(j *job, x *call) bool {
	if c.strictly(j) {
		return true
	}
	return slices.ContainsFunc(j.calls, func(o *call) bool {
		r := o.result()
		return o.Order == ledger.ByKey && o.Generation == 0 && o.end < x.start && (r == ledger.Retry || r == ledger.Snooze || r == ledger.Panic) && !c.troubled(o) &&
			slices.ContainsFunc(j.copies, func(k *record) bool { return k.gen == 0 && k.hop > o.Hop && k.time <= x.startT })
	})
}

// endedBefore reports whether nothing waited for the job any more when a call started: by the result of a call, a letter, its
// expiry, or an operator's order. A fault may undo what was not durable, and then the job runs again behind its successor.
func (c *check) endedBefore(j *job, x *call) bool {
	holds := c.kind(j.kind).Holds
	for _, o := range j.calls {
		if r := o.result(); o.end < x.start && (r == ledger.Done || r == ledger.Discard || r == ledger.Dead && !holds) {
			return true
		}
	}
	by := x.startT + int64(c.in.Timing.Clock)
	if !holds && slices.ContainsFunc(j.letters, func(l *letter) bool { return !l.conflict && l.time <= by }) {
		return true
	}
	return c.expiry(j) <= by || slices.ContainsFunc(j.forgotten, func(e *ledger.Event) bool { return e.Time.UnixNano() <= by })
}

// expiry is when a job expires, never where it does not.
func (c *check) expiry(j *job) (at int64) {
	at = math.MaxInt64
	for _, rec := range slices.Concat(j.records, j.copies) {
		if !rec.expires.IsZero() {
			at = min(at, rec.expires.UnixNano())
		}
	}
	return at
}
