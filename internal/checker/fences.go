package checker

import (
	"fmt"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// highest keeps the call with the highest fence of a task, and the highest of any other process, so that a process is
// compared with others only: within itself an epoch may be renewed under jobs it holds.
type highest struct{ top, other *call }

func (h *highest) of(x *call) *call {
	if h.top != nil && h.top.proc != x.proc {
		return h.top
	}
	return h.other
}

func (h *highest) take(x *call) {
	switch {
	case h.top == nil || x.Fence > h.top.Fence:
		if h.top != nil && h.top.proc != x.proc {
			h.other = h.top
		}
		h.top = x
	case x.proc != h.top.proc && (h.other == nil || x.Fence > h.other.Fence):
		h.other = x
	}
}

// fences is I9 and I12 from outside: the fencing token of a task never goes back from one process to another, two
// processes never share one, and who was cut off starts nothing once its own lease has ended.
func (c *check) fences() {
	tasks := make(map[place]*highest)
	for _, x := range c.calls {
		c.leased(x)
		if x.Fence == 0 {
			continue
		}
		h := tasks[x.place]
		if h == nil {
			h = &highest{}
			tasks[x.place] = h
		}
		if o := h.of(x); o != nil {
			c.fenced(o, x)
		}
		h.take(x)
	}
}

func (c *check) fenced(o, x *call) {
	switch {
	case x.Fence == o.Fence:
		c.broken(RuleI9, x.job, fmt.Sprintf("fence %d was given out by two processes", x.Fence), o, x)
	case x.Fence > o.Fence || x.startT-o.startT <= int64(c.in.Timing.Clock):
	case c.faults.during(x.proc, x.startT, x.startT, func(o *outage) bool { return !o.graceful() }) != nil:
		// a zombie that does not know yet
	default:
		c.broken(RuleI9, x.job, fmt.Sprintf("started with fence %d after another process had started with %d", x.Fence, o.Fence), o, x)
	}
}

func (c *check) leased(x *call) {
	session := int64(c.in.Timing.Session)
	if session == 0 {
		return
	}
	for _, o := range x.proc.outages {
		if o.fault == ledger.Cut && x.startT > o.from+session && x.startT < o.healed {
			c.broken(RuleI12, x.job, "started by a process that was cut off longer than its lease lasts", x)
		}
	}
}
