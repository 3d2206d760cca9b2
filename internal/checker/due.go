package checker

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// due is I7: not before the producer's `at`, not before the copy's append time plus its delay, and not before the delay
// the handler itself asked for.
func (c *check) due() {
	clock := int64(c.in.Timing.Clock)
	early := func(x *call, due int64, what string, details ...any) {
		if by := due - x.startT - clock; by > 0 {
			c.broken(RuleI7, x.job, fmt.Sprintf("called %v before %s", time.Duration(by), what), append(details, x)...)
		}
	}
	for _, x := range c.calls {
		if first := x.job.first(); first != nil && !first.at.IsZero() && !first.given {
			early(x, first.at.UnixNano(), "the `at` of its producer", first)
		}
		if rec := x.rec; rec != nil && rec.tier >= 0 {
			early(x, rec.time+int64(rec.delay), "its copy was due", rec)
			if !rec.at.IsZero() {
				early(x, rec.at.UnixNano(), "the `at` of its copy", rec)
			}
		}
		if asked, by := c.askedFor(x); by != nil {
			early(x, asked, "its handler had asked for", by)
		}
	}
}

// askedFor is the earliest time allowed by those handlers that asked for a delay at the hop before x's, and whose request
// this copy must follow: one appended before they returned is another owner's and knows nothing of it. Where a fault met
// one of them, nobody can tell from which the copy came. Append times are whole milliseconds, so one is given away.
func (c *check) askedFor(x *call) (due int64, by *call) {
	if x.Hop == 0 || x.rec == nil {
		return 0, nil
	}
	grain := int64(time.Millisecond)
	for _, o := range x.job.calls {
		if o.end > x.start || o.Generation != x.Generation || o.Hop >= x.Hop || x.rec.time+grain+int64(c.in.Timing.Clock) < o.endT {
			continue
		}
		if r := o.result(); r != ledger.Retry && r != ledger.Snooze && r != ledger.Panic {
			continue // led to no hop
		}
		if c.troubled(o) {
			return 0, nil
		}
		at := o.endT + int64(o.ret.Delay) - grain
		if by == nil || o.Hop > by.Hop || o.Hop == by.Hop && at < due {
			due, by = at, o
		}
	}
	if by != nil && by.ret.Delay == 0 {
		return 0, nil
	}
	return due, by
}
