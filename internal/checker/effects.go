package checker

import (
	"fmt"
	"strconv"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// readEffects finds the job of each effect: that whose handler was given its idempotency key.
func (c *check) readEffects() {
	owner, calls := make(map[string]*job), make(map[string][]*call)
	for _, x := range c.calls {
		key := x.IdempotencyKey
		if key != "" && owner[key] == nil {
			owner[key] = x.job
		}
		if x.job.enqueue > 0 { // enqueues of one name have one key
			calls[key] = append(calls[key], x)
		}
	}
	for rank, e := range c.events {
		if e.Type != ledger.Effect {
			continue
		}
		c.res.Stats.Effects++
		if j := owner[e.IdempotencyKey]; j != nil {
			for _, x := range calls[e.IdempotencyKey] {
				if x.Process == e.Process && x.start < rank && rank <= x.end {
					j = x.job
				}
			}
			j.effects = append(j.effects, e)
		} else {
			c.broken(RuleEffect, nil, "an effect whose idempotency key no handler was given: "+strconv.Quote(e.IdempotencyKey), e)
		}
	}
	for _, x := range c.calls {
		if o := owner[x.IdempotencyKey]; o != nil && !o.sameName(x.job) {
			c.broken(RuleEffect, x.job, fmt.Sprintf("idempotency key %q is also that of %s", x.IdempotencyKey, o), x)
		}
	}
}

// sameName reports whether two jobs have kind, key and id in common: a record in another partition is another job, and the
// downstream is told the same name for both.
func (j *job) sameName(o *job) bool { return j.kind == o.kind && j.key == o.key && j.id == o.id }

// effects: the idempotency key of a job never changes within a generation, each effect has a call, and a downstream that
// dedupes by key has one effect for each.
func (c *check) effects() {
	for _, j := range c.jobs {
		keys := make(map[int]*call, 1)
		for _, x := range j.calls {
			if o := keys[x.Generation]; o == nil {
				keys[x.Generation] = x
			} else if o.IdempotencyKey != x.IdempotencyKey {
				c.broken(RuleEffect, j, fmt.Sprintf("the idempotency key changed from %q to %q", o.IdempotencyKey, x.IdempotencyKey), o, x)
			}
		}
		c.applied(j)
	}
}

func (c *check) applied(j *job) {
	if len(j.effects) > len(j.calls) {
		c.broken(RuleEffect, j, fmt.Sprintf("%d effects of %d calls", len(j.effects), len(j.calls)), j.effects[len(j.effects)-1])
	}
	if len(j.effects) < 2 {
		return
	}
	seen := make(map[string]*ledger.Event, 1)
	for _, e := range j.effects {
		o := seen[e.IdempotencyKey]
		if o == nil {
			seen[e.IdempotencyKey] = e
			continue
		}
		c.res.Stats.Repeated++
		switch {
		case c.in.DedupingDownstream:
			c.broken(RuleEffect, j, "a second effect of one idempotency key, though the downstream refuses those", o, e)
		case c.kind(j.kind).Guarantee == Reconciled: // no fault excuses it: who takes over asks first
			c.broken(RuleEffect, j, "a second effect of one idempotency key, though the kind is reconciled", o, e)
		}
	}
}
