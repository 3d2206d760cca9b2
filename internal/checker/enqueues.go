package checker

import (
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// Kinds whose jobs may be enqueued again: each enqueue is a job of its own here. One that is never run must be a duplicate of
// another, which had not ended, or whose window went on, when it was enqueued; one that runs must not be.

// repeatable reports whether jobs of a kind may be enqueued again while they are remembered.
func (c *check) repeatable(kind string) bool {
	k := c.kind(kind)
	return k.UntilDone || k.Window > 0
}

// others are the other enqueues of a job's name, in log order.
func (c *check) others(j *job) (out []*job) {
	name := j.identity
	name.enqueue = 0
	for _, o := range c.names[name] {
		if o != j {
			out = append(out, o)
		}
	}
	return out
}

// followed reports whether an enqueue came while its job was known. Whether it is a duplicate each owner decides anew until the log says
// so: one lets it pass, and the next runs it, since its job has ended by then.
func (c *check) followed(j *job) bool {
	return c.repeatable(j.kind) && slices.ContainsFunc(c.others(j), func(o *job) bool { return o.enqueue < j.enqueue && o.begun() })
}

// likely is the enqueue that a call is of whose record retention took: the last that was called at the hop before, or else the
// last there was.
func (c *check) likely(x *call) (j *job) {
	name := identity{place: x.place, kind: c.firstName(x.Kind), key: x.Key, id: x.ID}
	if c.names[name] == nil && x.Key == "" {
		name.null = true
	}
	called := func(o *job) bool {
		return slices.ContainsFunc(o.calls, func(y *call) bool {
			return y.Generation == x.Generation && y.Hop == x.Hop-1 && y.result() != ledger.Done
		})
	}
	for _, o := range c.names[name] {
		if first := o.first(); first.time <= x.startT && (j == nil || !called(j) || called(o)) {
			j = o
		}
	}
	return j
}

// begun reports whether anything but its record tells of a job.
func (j *job) begun() bool {
	return len(j.calls)+len(j.copies) > 0 || slices.ContainsFunc(j.letters, func(l *letter) bool { return !l.conflict })
}

// byAnother is the end of an enqueue that another enqueue of its name gave it, empty for none.
func (c *check) byAnother(j *job) Class {
	rec := j.first()
	if j.enqueue == 0 || rec == nil || !rec.consumed {
		return ""
	}
	if slices.ContainsFunc(j.letters, func(l *letter) bool { return l.conflict }) {
		return Conflict
	}
	for _, o := range c.others(j) {
		switch {
		case j.begun():
			// A redrive that came after the next enqueue had begun is of no avail.
			if o.enqueue > j.enqueue && o.begun() && len(j.letters) > 0 && c.live(j) == nil {
				return Dead
			}
		case o.begun() && rec.time <= c.remembers(o):
			return Duplicate
		}
	}
	return ""
}

// remembers is until when an enqueue of the same name may be a duplicate of this one. What an owner did that a fault met may have
// been known late.
func (c *check) remembers(j *job) int64 {
	last, slack := int64(0), c.in.Timing.RerunWindow
	for _, x := range j.calls {
		if x.endT == forever {
			return forever
		}
		if last = max(last, x.endT); c.troubled(x) {
			slack = c.in.Timing.RerunWindow + c.in.Timing.Lease
		}
	}
	for _, rec := range j.copies {
		last = max(last, rec.time+int64(rec.delay))
	}
	for _, l := range j.letters {
		last = max(last, l.time)
	}
	if at := c.expiry(j); at <= c.now {
		last = max(last, at)
	}
	return last + int64(slack+c.in.Timing.Clock+c.kind(j.kind).Window)
}

// enqueues judges the first start of each enqueue: those before it have ended, and their window with them. Receipts and
// timestamps are known to the second and to the millisecond.
func (c *check) enqueues() {
	for _, j := range c.jobs {
		if j.enqueue == 0 || len(j.calls) == 0 || j.calls[0].Generation > 0 || j.first() == nil {
			continue // or it was filed unrun, and an operator had it run
		}
		x := j.calls[0]
		for _, o := range c.others(j) {
			if o.enqueue > j.enqueue || !o.begun() && o.final != Lost {
				continue
			}
			window := c.kind(j.kind).Window
			if !c.endedBefore(o, x) {
				c.broken(RuleAgain, j, "started while an earlier enqueue of it had not ended", o.first(), x)
			} else if by := c.endOf(o, x) + int64(window) - j.first().time - int64(time.Second+c.in.Timing.Clock); window > 0 && by > 0 {
				c.broken(RuleAgain, j, fmt.Sprintf("enqueued again %v within the window", time.Duration(by)), o.first(), x)
			}
		}
	}
}

// endOf is when a job had last ended before a call, as far as its owner must have made that known; 0 if nobody need know.
func (c *check) endOf(j *job, x *call) (at int64) {
	for _, o := range j.calls {
		if r := o.result(); o.end < x.start && !c.troubled(o) && (r == ledger.Done || r == ledger.Discard || r == ledger.Dead) {
			at = max(at, o.endT)
		}
	}
	return at
}
