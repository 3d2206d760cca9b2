package checker

import (
	"fmt"
	"slices"
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
// this copy must follow. Where another copy was there before they returned, or a fault met one of them, nobody can tell
// from which x's copy came. Append times are whole milliseconds, so one is given away.
func (c *check) askedFor(x *call) (due int64, by *call) {
	if x.Hop == 0 || x.rec == nil {
		return 0, nil
	}
	for _, o := range x.job.calls {
		if o.end > x.start || o.Generation != x.Generation || o.Hop >= x.Hop {
			continue
		}
		if r := o.result(); r != ledger.Retry && r != ledger.Snooze && r != ledger.Panic {
			continue // led to no hop
		}
		if c.troubled(o) {
			return 0, nil
		}
		at := o.endT + int64(o.ret.Delay) - int64(time.Millisecond)
		if by == nil || o.Hop > by.Hop || o.Hop == by.Hop && at < due {
			due, by = at, o
		}
	}
	if by == nil || by.ret.Delay == 0 || c.overtaken(by, x) {
		return 0, nil
	}
	return due, by
}

// overtaken reports whether a copy beyond o's hop, up to x's, was there before o returned: another owner's.
func (c *check) overtaken(o, x *call) bool {
	return slices.ContainsFunc(x.job.copies, func(r *record) bool {
		return r.gen == x.Generation && r.hop > o.Hop && r.hop <= x.Hop && r.time+int64(time.Millisecond+c.in.Timing.Clock) < o.endT
	})
}
