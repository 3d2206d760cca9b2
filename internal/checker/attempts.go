package checker

import (
	"fmt"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// attempts: each attempt is a call that was made, none is burnt by anything else, and no more are made than allowed.
func (c *check) attempts() {
	poison := make(map[*job]bool)
	for _, e := range c.events {
		if rec := c.byPos[e.Record]; e.Type == ledger.Produced && e.Intent == ledger.IntentPoison && rec != nil {
			poison[rec.job] = true
		}
	}
	for _, j := range c.jobs {
		if poison[j] {
			c.crashes(j)
		}
		for i, x := range j.calls {
			limit := c.kind(x.Kind).MaxAttempts
			if limit > 0 && x.Attempt > limit {
				c.broken(RuleAttempts, j, fmt.Sprintf("attempt %d of at most %d", x.Attempt, limit), x)
			}
			c.counted(j, j.calls[:i], x)
		}
	}
}

// counted holds the number of an attempt against the calls before it in its generation: at most one more than there were,
// and from the hop before it the same (a snooze, a cancellation, a failure that was another's fault) or one more.
func (c *check) counted(j *job, before []*call, x *call) {
	calls, hop := 0, -1
	for _, o := range before {
		if o.Generation == x.Generation {
			calls++
			if o.Hop < x.Hop {
				hop = max(hop, o.Hop)
			}
		}
	}
	if x.Attempt > calls+1 {
		c.broken(RuleAttempts, j, fmt.Sprintf("attempt %d, but only %d calls of this generation before it", x.Attempt, calls), x)
		return
	}
	var other *call
	for _, o := range before {
		if o.Generation != x.Generation || o.Hop != hop || o.result() == ledger.Done {
			continue
		}
		if r := o.result(); x.Attempt == o.Attempt || r != ledger.Snooze && r != ledger.Cancelled && x.Attempt == o.Attempt+1 {
			return
		}
		other = o
	}
	if other != nil {
		c.broken(RuleAttempts, j, fmt.Sprintf("attempt %d does not follow from the calls at hop %d", x.Attempt, hop), other, x)
	}
}

// crashes: a poison job takes a bounded number of processes down, then it is filed.
func (c *check) crashes(j *job) {
	n := 0
	for _, x := range j.calls {
		if x.died && x.proc.killed {
			n++
		}
	}
	if n > c.in.MaxCrashes {
		c.broken(RulePoison, j, fmt.Sprintf("took %d processes down, %d are allowed", n, c.in.MaxCrashes))
	}
}
