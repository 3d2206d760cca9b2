package retrytopics

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// MinTier is the shortest delay a tier may have; below it the round trip through a topic would be most of the delay.
const MinTier = 100 * time.Millisecond

// Plan is the set of a group's retry tiers and the arithmetic over them. A tier is named by its index, from the shortest
// (0) to the longest. A Plan is immutable and safe for concurrent use. The zero value is no plan: make one with NewPlan.
type Plan struct {
	tiers []time.Duration // ascending, unique, never empty
}

// NewPlan makes a plan of tiers, in any order; equal ones count once. All faults come joined.
func NewPlan(tiers []time.Duration) (Plan, error) {
	var errs []error
	if len(tiers) == 0 {
		errs = append(errs, errors.New("Tiers: there is none; name at least one delay, such as 10s"))
	}
	for _, d := range tiers {
		switch {
		case d < MinTier:
			errs = append(errs, fmt.Errorf("Tiers: %v is shorter than %v", d, MinTier))
		case d%time.Millisecond != 0:
			errs = append(errs, fmt.Errorf("Tiers: %v is not a whole number of milliseconds", d))
		}
	}
	if len(errs) > 0 {
		return Plan{}, errors.Join(errs...)
	}
	return Plan{tiers: slices.Compact(slices.Sorted(slices.Values(tiers)))}, nil
}

// Tiers returns the delays of the tiers, ascending. The slice is the caller's.
func (p Plan) Tiers() []time.Duration { return slices.Clone(p.tiers) }

// Backoff is the delay before the next attempt of a job that has burnt that many (the first failure: 1; less counts as
// 1). b is a policy's backoff as WithDefaults left it: Initial*Factor^(burnt-1), at most Max; with a zero Initial the
// tiers are walked, one an attempt, staying on the last, and Max and Factor say nothing. Jitter cuts off the share u of
// b.Jitter, where u in [0,1) is the caller's random number: it never lengthens. The result is in whole milliseconds, at
// least one.
func (p Plan) Backoff(b job.Backoff, burnt int, u float64) time.Duration {
	burnt = max(burnt, 1)
	d := p.base(b, burnt)
	if b.Jitter > 0 && u > 0 {
		d -= time.Duration(float64(d) * min(b.Jitter, 1) * min(u, 1))
	}
	return max(d.Truncate(time.Millisecond), time.Millisecond)
}

// base is the delay before jitter.
func (p Plan) base(b job.Backoff, burnt int) time.Duration {
	if b.Initial <= 0 {
		if len(p.tiers) == 0 {
			return 0
		}
		return p.tiers[min(burnt, len(p.tiers))-1]
	}
	limit := max(b.Max, b.Initial)
	// Compared as floats first: the product leaves the range of a Duration long before it leaves that of a float64.
	if grown := float64(b.Initial) * math.Pow(max(b.Factor, 1), float64(burnt-1)); grown < float64(limit) {
		return time.Duration(grown)
	}
	return limit
}

// Route is the first hop of a delay d: the tier to go to and the delay to give to the copy, which is never longer than
// the tier's nor than d. What is then left of d, d-delay, is routed again when the copy comes due, so that a chain of
// hops sums up to d exactly.
//
// A d up to the shortest tier goes there with its own delay. So does one that is at least half of some tier: records a
// little shorter than their tier keep it nearly sorted and save hops. Any other goes through the longest tier it fills.
// A d of zero or less is a hop due at once.
func (p Plan) Route(d time.Duration) (tier int, delay time.Duration) {
	d = max(d, 0)
	for i, t := range p.tiers {
		if d <= t {
			if i == 0 || d >= t-d {
				return i, d
			}
			return i - 1, p.tiers[i-1]
		}
	}
	if len(p.tiers) == 0 {
		return 0, 0
	}
	last := len(p.tiers) - 1
	return last, p.tiers[last]
}

// Larger is the tier for the next look at a job that cannot run yet: the next longer one than tier, the longest again
// after itself. The main topic is tier -1.
func (p Plan) Larger(tier int) int {
	return max(min(tier+1, len(p.tiers)-1), 0)
}
