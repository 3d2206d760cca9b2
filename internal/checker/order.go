package checker

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// lane is what must run one at a time: a key of a task, a whole task, or one job.
type lane struct {
	place
	key  string
	kind laneKind
	job  *job
}

type laneKind uint8

const (
	byKey laneKind = iota
	byPartition
	byJob
)

func (l *lane) String() string {
	switch l.kind {
	case byKey:
		return fmt.Sprintf("key %q", l.key)
	case byPartition:
		return fmt.Sprintf("partition %d", l.partition)
	}
	return "one job"
}

// order is I5. Kinds are compared only with kinds of the same order; records of one identity never run at once, whatever
// the order.
func (c *check) order() {
	lanes, line := make(map[lane][]*call), c.lines()
	var inTurn []lane // of first appearance: results are the same each time
	for _, x := range c.calls {
		l := lane{place: x.place}
		switch x.Order {
		case ledger.ByKey, ledger.ByKeyStrict:
			l.key = x.job.key
		case ledger.ByPartition:
			l.kind = byPartition
		case ledger.Unordered:
			l.kind, l.job = byJob, x.job
		}
		if lanes[l] == nil {
			inTurn = append(inTurn, l)
		}
		lanes[l] = append(lanes[l], x)
	}
	for _, l := range inTurn {
		c.overlaps(&l, lanes[l])
		if l.kind != byJob {
			c.starts(&l, lanes[l])
		}
		if l.kind == byKey {
			c.strict(&l, lanes[l], line[l])
		}
	}
}

// overlaps: calls of a lane, in order of start, must not begin while another runs.
func (c *check) overlaps(l *lane, calls []*call) {
	var running []*call
	for _, x := range calls {
		running = slices.DeleteFunc(running, func(r *call) bool { return r.end < x.start })
		for _, r := range running {
			if !c.excusesOverlap(r, x) {
				c.broken(RuleI5, x.job, fmt.Sprintf("started while %s still ran (%s)", r.job.id, l), r, x)
				break
			}
		}
		running = append(running, x)
	}
}

// starts: first calls from the job topic stand in log order. A job that hopped before its first call has left the line.
func (c *check) starts(l *lane, calls []*call) {
	var last *call
	for _, x := range calls {
		if c.topics[x.Record.Topic].tier >= 0 || x.job.calls[0] != x {
			continue
		}
		if last != nil && x.Record.Offset < last.Record.Offset {
			if !c.faults.rewind[ledger.Pos{Topic: x.Record.Topic, Partition: x.Record.Partition}] && !c.hadLeft(x, last) && !(x.Fence != last.Fence && c.followed(x.job)) {
				c.broken(RuleI5, x.job, fmt.Sprintf("first started after %s, which stands behind it in the log (%s)", last.job.id, l), last, x)
			}
			continue
		}
		last = x
	}
}

// hadLeft reports whether x's record had hopped, uncalled, when last started; a fault can bring it back into a line that has
// gone on.
func (c *check) hadLeft(x, last *call) bool {
	return !c.faultless(x.start) && slices.ContainsFunc(x.job.copies, func(r *record) bool {
		return r.gen == 0 && r.time <= last.startT+int64(c.in.Timing.Clock)
	})
}
