package job

import (
	"errors"
	"fmt"
	"time"
)

// Order says which jobs of a task wait for each other.
type Order uint8

// The orders. A job whose key is nil is ordered with nothing, whatever the kind says.
const (
	ByKey       Order = iota // jobs of one key start in log order, one at a time; a retried job lets successors pass
	ByPartition              // jobs of one partition start in log order, one at a time
	Unordered                // no order; still never two records of one identity at once
	// ByKeyStrict is ByKey through retries: a job starts when every job of its key that entered the job topic before it has
	// ended, is it done, discarded, expired or, unless Policy.OnDead says otherwise, filed as a dead letter. So one that fails holds up its
	// key until its retries have come to an end, and only its key: what stands behind it follows it through the retry tiers, at
	// one record written a job and retry. Jobs of other kinds that have the key and wait for a retry, or for their time (Options.At),
	// hold it up as well. A redriven job has no place in the order, unless the key was held for it.
	ByKeyStrict
)

// String is the order's name as used in settings and events: by_key, by_partition, unordered, by_key_strict.
func (o Order) String() string {
	switch o {
	case ByKey:
		return "by_key"
	case ByPartition:
		return "by_partition"
	case Unordered:
		return "unordered"
	case ByKeyStrict:
		return "by_key_strict"
	}
	return fmt.Sprintf("order_%d", uint8(o))
}

// OnDead says what becomes of the jobs behind a dead one under ByKeyStrict.
type OnDead uint8

// The ways.
const (
	Unblock OnDead = iota // they go on as soon as its letter is filed
	// Block holds the key until a redrive of the letter is done, discarded or expired, or the job's receipt is forgotten (waybill
	// receipt forget). The receipt is kept however long that takes.
	Block
)

// String is the name as used in settings and events: unblock, block.
func (d OnDead) String() string {
	switch d {
	case Unblock:
		return "unblock"
	case Block:
		return "block"
	}
	return fmt.Sprintf("on_dead_%d", uint8(d))
}

// DefaultMaxFollowers is Policy.MaxFollowers where none is given.
const DefaultMaxFollowers = 10_000

// Guarantee says what a kind is promised about running again.
type Guarantee uint8

// The guarantees.
const (
	// EffectivelyOnce: every finished job has a durable receipt, and a job with a final one is not run again. It costs some
	// 50 bytes of log a job.
	EffectivelyOnce Guarantee = iota
	// AtLeastOnce records hops, dead letters and the success of a retried job, but not a first success: after a crash or a
	// hand-over that was not clean up to 10,000 records past the frontier run again, a replay runs all that succeeded at the
	// first attempt, and a second enqueue of such a job is a job of its own.
	AtLeastOnce
	// AtMostOnce: a mark is durable before the handler is called, and a job found marked whose attempt nobody knows the end of
	// is filed (outcome_unknown), not run. What the handler returns is known: its errors are retried as ever. It costs the
	// way to a broker and back before each attempt.
	AtMostOnce
	// Reconciled is for effects that cannot be repeated: marked as under AtMostOnce, but of a job whose attempt nobody knows
	// the end of the kind's Reconcile is asked whether its effect happened.
	Reconciled
)

// Marked reports whether attempts under the guarantee begin with a durable mark.
func (g Guarantee) Marked() bool { return g == AtMostOnce || g == Reconciled }

// String is the guarantee's name as used in settings and events: effectively_once, at_least_once, at_most_once, reconciled.
func (g Guarantee) String() string {
	switch g {
	case EffectivelyOnce:
		return "effectively_once"
	case AtLeastOnce:
		return "at_least_once"
	case AtMostOnce:
		return "at_most_once"
	case Reconciled:
		return "reconciled"
	}
	return fmt.Sprintf("guarantee_%d", uint8(g))
}

// Policy is how one kind is run. The zero value of every field means its default.
type Policy struct {
	// Contract fields: fixed while an instance runs.

	// Guarantee defaults to EffectivelyOnce.
	Guarantee Guarantee
	// Order defaults to ByKey.
	Order Order
	// OnDead defaults to Unblock. Only ByKeyStrict knows it.
	OnDead OnDead
	// Class names the pool of workers that runs the kind. Defaults to "default".
	Class string

	// Window is how long after its last receipt another enqueue of a job that has ended, the same (kind, key, id), is a
	// duplicate of it; later it is a job of its own. At least twice MaxAge, at most the instance's (consumer.Config.Window).
	// Two enqueues are told apart by the timestamps of their records. UntilDone: only until the job has ended. Whatever it is, a job that has not ended
	// is known, and what was read once is known when it is read again, for as long as the instance's window. Defaults to that, and is
	// refused beside Order ByKeyStrict.
	Window time.Duration

	// Tuning fields.

	// Timeout bounds one attempt; the context given to the handler ends then. Defaults to 30 s; NoTimeout for none.
	Timeout time.Duration
	// MaxAttempts counts attempts, the first included; when they are used up the job is filed. Defaults to 10.
	MaxAttempts int
	// MaxAge is how long after its first failure a job may still be retried; older ones are filed at their next failure.
	// Defaults to 24 h.
	MaxAge time.Duration
	// Backoff is the delay before each retry.
	Backoff Backoff
	// MaxFollowers is how many jobs may stand behind one unfinished job of their key before the partition is paused
	// (key_blocked), until half of them are gone. Defaults to 10,000. Only ByKeyStrict knows it.
	MaxFollowers int
}

// Backoff is an exponential plan: the n-th retry waits Initial*Factor^(n-1), at most Max, shortened by up to Jitter of
// itself. The zero value walks the group's retry tiers, one tier an attempt, and stays on the last.
type Backoff struct {
	Initial time.Duration // 0: walk the tiers
	Max     time.Duration // defaults to 30 min
	Factor  float64       // defaults to 2
	Jitter  float64       // share of the delay that may be cut off, 0 to 1. Defaults to 0.1; NoJitter for none
}

// UntilDone as Policy.Window has a job be the only one of its name while it is unfinished: another enqueue that is read before
// it has ended is a duplicate, one that is read later is a job of its own. When the job ends in another way than done, what
// of its name then still waits to be looked at runs in its place.
const UntilDone time.Duration = -1

// NoTimeout as Policy.Timeout lets an attempt run as long as it likes: its context ends only when the instance lets the job go. A
// handler that hangs then holds its worker and its key for ever.
const NoTimeout time.Duration = -1

// NoJitter as Backoff.Jitter asks for exact delays.
const NoJitter = -1

// DefaultClass is the pool of kinds that name none.
const DefaultClass = "default"

// WithDefaults returns p with every zero field at its default. Applying it again changes nothing; NoJitter stays as it is.
func (p Policy) WithDefaults() Policy {
	if p.Class == "" {
		p.Class = DefaultClass
	}
	if p.Timeout == 0 {
		p.Timeout = 30 * time.Second
	}
	if p.MaxAttempts == 0 {
		p.MaxAttempts = 10
	}
	if p.MaxAge == 0 {
		p.MaxAge = 24 * time.Hour
	}
	if p.Backoff.Max == 0 {
		p.Backoff.Max = max(30*time.Minute, p.Backoff.Initial)
	}
	if p.Backoff.Factor == 0 {
		p.Backoff.Factor = 2
	}
	if p.Backoff.Jitter == 0 {
		p.Backoff.Jitter = 0.1
	}
	if p.MaxFollowers == 0 && p.Order == ByKeyStrict {
		p.MaxFollowers = DefaultMaxFollowers
	}
	return p
}

// Validate returns every fault of p, joined, each naming its field. It expects p before or after WithDefaults.
func (p Policy) Validate() error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	add(p.Guarantee > Reconciled, "Policy.Guarantee: %d is no guarantee; use job.EffectivelyOnce, job.AtLeastOnce, job.AtMostOnce or job.Reconciled", p.Guarantee)
	add(p.Order > ByKeyStrict, "Policy.Order: %d is no order; use job.ByKey, job.ByKeyStrict, job.ByPartition or job.Unordered", p.Order)
	add(p.OnDead > Block, "Policy.OnDead: %d is none of job.Unblock and job.Block", p.OnDead)
	add(p.OnDead == Block && p.Order != ByKeyStrict, "Policy.OnDead: job.Block needs Policy.Order job.ByKeyStrict; under any other order no job waits for a dead one")
	add(p.MaxFollowers < 0, "Policy.MaxFollowers: %d is negative; 0 means %d", p.MaxFollowers, DefaultMaxFollowers)
	add(p.MaxFollowers > 0 && p.Order != ByKeyStrict, "Policy.MaxFollowers: it needs Policy.Order job.ByKeyStrict; under any other order no job follows")
	add(p.Window != 0 && p.Order == ByKeyStrict, "Policy.Window: it cannot be set beside Policy.Order job.ByKeyStrict: a job has one place in the order of its key, and each further enqueue would have another; leave Policy.Window 0, or use Policy.Order job.ByKey")
	if age := p.WithDefaults().MaxAge; p.Window != UntilDone {
		add(p.Window < 0, "Policy.Window: %v is negative; use job.UntilDone for none beyond the end of a job", p.Window)
		add(p.Window > 0 && age >= 0 && p.Window/2 < age, "Policy.Window: %v is less than twice MaxAge (%v); lower that too, or use job.UntilDone", p.Window, age)
	}
	add(p.Timeout < 0 && p.Timeout != NoTimeout, "Policy.Timeout: %v is negative; use job.NoTimeout for none", p.Timeout)
	add(p.MaxAttempts < 0, "Policy.MaxAttempts: %d is negative; 1 means no retry", p.MaxAttempts)
	add(p.MaxAge < 0, "Policy.MaxAge: %v is negative", p.MaxAge)
	b := p.Backoff // the comparisons below are so turned that they refuse NaN
	add(b.Initial < 0 || b.Max < 0, "Policy.Backoff: Initial %v and Max %v must not be negative", b.Initial, b.Max)
	add(b.Max > 0 && b.Max < b.Initial, "Policy.Backoff: Max %v is below Initial %v", b.Max, b.Initial)
	add(b.Factor != 0 && !(b.Factor >= 1), "Policy.Backoff.Factor: %v is below 1", b.Factor)
	add(b.Jitter != NoJitter && !(b.Jitter >= 0 && b.Jitter <= 1), "Policy.Backoff.Jitter: %v is not between 0 and 1", b.Jitter)
	return errors.Join(errs...)
}
