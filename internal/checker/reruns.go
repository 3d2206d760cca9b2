package checker

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// reruns is I6 from outside: once a handler has returned, its process knows what is settled, and everybody else does
// after the receipt is durable. A call of a record that was settled by then is a rerun; faults.go says which are excused.
func (c *check) reruns() {
	for _, j := range c.jobs {
		for i, again := range j.calls {
			c.rerun(j, j.calls[:i], again)
		}
	}
}

// rerun judges one call against all earlier ones of its job: each that settled its record must be excused.
func (c *check) rerun(j *job, before []*call, again *call) {
	stat := -1
	var guilty *call // the last that settled it, and of which the owner must have known
	for _, x := range before {
		c.once(j, x, again)
		if x.ret == nil || x.end > again.start || !c.settles(x, again) || j.forgottenBetween(x.startT, again.startT) {
			continue
		}
		s := c.excusesRerun(x, again)
		if s < 0 && x.ret.Result == ledger.Done && !c.recorded(x) {
			if s = c.anyFault(x); s < 0 && again.Fence > x.Fence { // the task changed hands for no fault: a join, say
				continue
			}
		}
		if s < 0 {
			guilty = x
			j.double = j.double || x.ret.Result == ledger.Done && again.result() == ledger.Done
		}
		stat = s
	}
	switch {
	case guilty != nil:
		c.broken(RuleI6, j, fmt.Sprintf("called again %s after it had returned %s, and no fault excuses it",
			again.Time.Sub(guilty.ret.Time), guilty.ret.Result), guilty, again)
	case stat >= 0:
		c.res.Stats.Reruns++
		c.res.Stats.Faults[stat].Reruns++
	}
}

// forgottenBetween reports whether an operator had the job forgotten in that time: what was settled before counts no more.
func (j *job) forgottenBetween(from, to int64) bool {
	return slices.ContainsFunc(j.forgotten, func(e *ledger.Event) bool { at := e.Time.UnixNano(); return from <= at && at <= to })
}

// settles reports whether the end of x makes the record of again stale.
func (c *check) settles(x, again *call) bool {
	r := x.ret.Result
	switch {
	case r == ledger.Cancelled:
		return false
	case r == ledger.Done:
		return c.recorded(x) || x.Record == again.Record
	case x.Generation != again.Generation:
		return x.Generation > again.Generation
	case r == ledger.Dead || r == ledger.Discard:
		return true
	}
	return x.Hop >= again.Hop
}

// recorded reports whether a success leaves a receipt: under at_least_once that of a record of the job topic does not, and
// settles nothing but this record.
func (c *check) recorded(x *call) bool {
	return c.kind(x.Kind).Guarantee != AtLeastOnce || c.topics[x.Record.Topic].tier >= 0
}

// anyFault is a fault after x began, -1 if there is none: under at_least_once what stands above the frontier is run again
// whenever a task changes hands.
func (c *check) anyFault(x *call) int {
	for i := range c.res.Stats.Faults {
		if f := &c.res.Stats.Faults[i]; f.Time.UnixNano() >= x.startT {
			return i
		}
	}
	return -1
}

// once: an at_most_once job is not run again at the same hop unless the first run is known to have failed.
func (c *check) once(j *job, x, again *call) {
	if c.kind(again.Kind).Guarantee != AtMostOnce || x.Generation != again.Generation || x.Hop != again.Hop || x.failed() {
		return
	}
	c.broken(RuleAtMostOnce, j, "called again after a run that may have succeeded", x, again)
}
