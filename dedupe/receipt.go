package dedupe

import (
	"fmt"

	"github.com/waybill-dev/waybill/job"
)

// State is what a receipt says of its job.
type State uint8

// The states. Their numbers are wire format. The last four are final: the job needs no further attempt in its generation.
const (
	StateNone State = iota // nothing is known; the zero Receipt
	Retrying               // a copy with the expected hop was acked in a retry tier
	Step                   // a step of the job is durable
	Started                // a started mark: the hop it carries may be running, or may have run
	Expired                // not started before its Expires
	Discarded              // the handler said job.Discard
	Dead                   // filed as a dead letter
	Done                   // succeeded
	states
)

var stateText = [states]string{"none", "retrying", "step", "started", "expired", "discarded", "dead", "done"}

// String is the state's name as shown to operators, such as "retrying".
func (s State) String() string {
	if s < states {
		return stateText[s]
	}
	return fmt.Sprintf("state_%d", uint8(s))
}

// Final reports whether the job has ended in the receipt's generation.
func (s State) Final() bool { return s >= Expired && s < states }

// Unfinished reports whether later jobs of the key may have to wait for this one: it is not final, or it is dead and holds
// its key (job.CodeHolding).
func (r *Receipt) Unfinished() bool {
	return says(r.State) && (!r.State.Final() || r.State == Dead && r.Code == job.CodeHolding)
}

// Blocks reports whether strict jobs of the key behind this one wait for it. One that is still to be read from the job topic is waited
// for in its lane, and a redrive has no place in the order, unless its key was held for it.
func (r *Receipt) Blocks() bool {
	return r.KeyHash != 0 && r.Unfinished() && (r.Gen == 0 && r.Hop > 0 || r.Code == job.CodeHolding)
}

// MaxResult bounds the result of a job that is done, in bytes.
const MaxResult = job.MaxResult

// MaxProgress bounds what a job that is not done has kept of its steps, in bytes.
const MaxProgress = job.MaxProgress

// maxResult bounds Receipt.Result.
func maxResult(s State) int {
	if s == Done {
		return MaxResult
	}
	return MaxProgress
}

// Receipt is the durable outcome of one job, or of its latest step. The zero Receipt says that nothing is known.
type Receipt struct {
	Identity job.Identity
	Gen      uint32 // generation: how often the job was redriven
	Hop      uint32 // next expected hop; of a started mark: the hop that runs
	State    State
	Attempt  uint32   // attempts burnt so far
	Origin   int64    // offset at which the job entered the job topic
	KeyHash  uint64   // job.KeyHash of the record key
	Digest   uint64   // job.DigestOf the payload
	Code     job.Code // why the job failed, job.CodeNone when it did not

	// Repeats says that the job may be enqueued again once it has ended (job.Policy.Window): of the receipts of several
	// enqueues those with the greater Origin count.
	Repeats bool

	// At is when the last receipt of the job was appended, in seconds of Unix time, as near as 32 bits come. Stores give it; it is not
	// written to the log.
	At uint32

	// Result is what a job that is done has set as such, at most MaxResult bytes; else what its attempts have kept of their
	// steps (job.Message.Progress), at most MaxProgress bytes. Nil when there is none.
	Result []byte
}

// rank places a receipt in the order of Join: compare hi, then lo. Receipts that know nothing have rank zero, all others more.
//
//	in             origin + 1 of a job that may be enqueued again, else 0
//	hi  bit 32     done
//	    bits 0-31  generation
//	lo  bits 35-36 final: 2 dead (or done), 1 discarded or expired, 0 not final
//	    bits 3-34  hop
//	    bits 0-2   4 started by an owner that found it started, 3 started, 2 step, 1 retrying; 0 when final
//
// Generation stands below done: a zombie's retrying receipt of generation 1 must not hide a late done of generation 0 on
// which a copy may have been skipped already. Started stands above retrying of the same hop, or the mark of an attempt
// would be hidden by the receipt that announced it; and the mark of an attempt that may be the second to take its process down
// above that of the first.
type rank struct{ in, hi, lo uint64 }

func (r *Receipt) rank() rank {
	k := rank{hi: uint64(r.Gen), lo: uint64(r.Hop) << 3}
	if r.Repeats {
		k.in = uint64(max(r.Origin, 0)) + 1
	}
	switch r.State {
	case Retrying:
		k.lo |= 1
	case Step:
		k.lo |= 2
	case Started:
		if k.lo |= 3; r.Code == job.CodeSuspect {
			k.lo++
		}
	case Expired, Discarded:
		k.lo |= 1 << 35
	case Dead:
		k.lo |= 2 << 35
	case Done:
		k.hi |= 1 << 32
		k.lo |= 2 << 35
	default:
		return rank{}
	}
	return k
}

func (k rank) above(o rank) bool {
	if k.in != o.in {
		return k.in > o.in
	}
	return k.hi > o.hi || k.hi == o.hi && k.lo > o.lo
}

// Join merges two receipts of one identity: the maximum of (origin, of those that repeat, which stand above those that do
// not; done; generation; final, dead above discarded and expired; next hop; started above step above retrying, and above
// started the mark of one that was found started). Of equal ones it returns a, which must be the earlier in the log.
// It is associative and idempotent, commutative for receipts that differ in that order, and never revives: what a makes
// stale, Join(a, b) makes stale too (I17). Design, section 7, "Merging".
//
// What a job has kept of its steps accumulates, whichever receipt wins, until the job is done: of two states the later one
// stays (job.ProgressOrder), of equal ones a's.
func Join(a, b Receipt) Receipt {
	w := a
	if b.rank().above(a.rank()) {
		w = b
	}
	w.At = max(a.At, b.At)
	if w.State != Done && a.enqueue() == b.enqueue() {
		if w.Result = a.Result; further(b.Result, a.Result) {
			w.Result = b.Result
		}
	}
	return w
}

// enqueue tells receipts of different enqueues of one job apart, where there may be several.
func (r *Receipt) enqueue() int64 {
	if r.Repeats {
		return r.Origin
	}
	return -1
}

// further reports whether b is progress beyond a.
func further(b, a []byte) bool {
	if len(b) == 0 || len(a) == 0 {
		return len(b) > 0
	}
	was, known := job.OrderOfProgress(a)
	now, ok := job.OrderOfProgress(b)
	return ok && (!known || now.After(was))
}

// Stale reports whether a record of the job with that generation and hop is to be settled without running, given r: the
// job is done, or has a newer generation, or in this generation is final or expects a higher hop. Records of the job topic
// have generation and hop 0. The zero Receipt makes nothing stale. Of a job that may be enqueued again ask StaleAt.
func (r Receipt) Stale(gen, hop uint32) bool {
	switch {
	case r.State == StateNone || r.State >= states:
		return false
	case r.State == Done, gen < r.Gen:
		return true
	case gen > r.Gen:
		return false
	}
	return r.State.Final() || r.Hop > hop
}

// StaleAt is Stale for a record of the enqueue at offset origin of the job topic: of a job that may be enqueued again, what
// is left of an earlier enqueue is stale.
func (r Receipt) StaleAt(origin int64, gen, hop uint32) bool {
	if r.Repeats && r.State != StateNone && r.State < states && origin != r.Origin {
		return origin < r.Origin
	}
	return r.Stale(gen, hop)
}
