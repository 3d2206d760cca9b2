package task

import (
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Keep is progress that an attempt wants durable before it goes on: a step's result, or a checkpoint.
type Keep struct {
	Receipt dedupe.Receipt
	Mark    bool // it says that an attempt begins: void unless the task is still this owner's
	// Answer is called once, by the shard; nil: nobody waits.
	Answer func(Kept)

	kept Kept
}

// Kept is how a Keep ended.
type Kept uint8

// The ends.
const (
	// NotHeld means that the task is not held any more: what was kept may still become durable, since it is true whoever
	// owns the task.
	NotHeld Kept = iota
	Durable
	// LookAgain, for a mark, means that others wrote of the job meanwhile: its attempt must not begin, and goes back to the
	// machine, cancelled, to be decided on anew.
	LookAgain
)

// Done gives the answer.
func (k *Keep) Done() {
	if k.Answer != nil {
		k.Answer(k.kept)
	}
}

// Progress is the receipt of what an attempt has kept so far, all of it. Any goroutine may ask that may read the message.
func Progress(msg *job.Message, state []byte) dedupe.Receipt {
	r := receiptOf(msg, dedupe.Step, msg.Hop, msg.Attempt-1, job.CodeNone)
	r.Result = state
	return r
}

// StartMark says that an attempt begins.
func StartMark(msg *job.Message) dedupe.Receipt {
	return receiptOf(msg, dedupe.Started, msg.Hop, msg.Attempt-1, job.CodeNone)
}

// marks are the started marks among what is kept.
func marks(keeps []*Keep) (out []dedupe.Receipt) {
	for _, k := range keeps {
		if k.Mark {
			out = append(out, k.Receipt)
		}
	}
	return out
}

// Keep has progress written with the next segment, which it does not let wait for the tick: a handler waits. Those that come
// while a segment is on the way go together in the next.
func (m *Machine) Keep(k *Keep, now int64) {
	m.now = now
	if m.phase == gone {
		m.Out.Kept = append(m.Out.Kept, k)
		return
	}
	if !k.Mark {
		m.record(k.Receipt)
	}
	m.keeps = append(m.keeps, k)
	m.flushKept()
	m.balance()
}

func (m *Machine) flushKept() {
	if len(m.keeps) > 0 {
		m.flush()
	}
}

// kept answers what a segment has made durable.
func (m *Machine) kept(seg *Segment) {
	for _, k := range seg.keeps {
		k.kept = Durable
	}
	m.Out.Kept = append(m.Out.Kept, seg.keeps...)
	seg.keeps = nil
}

// letKeepsGo answers what waits when the task is let go.
func (m *Machine) letKeepsGo() {
	if m.segment != nil {
		m.Out.Kept = append(m.Out.Kept, m.segment.keeps...)
		m.segment.keeps = nil
	}
	m.Out.Kept = append(m.Out.Kept, m.keeps...)
	m.keeps = nil
}

// stamp marks what the receipts of a segment carry of their jobs' progress as this owner's: it stands above what a
// predecessor still makes durable.
func (m *Machine) stamp(receipts []dedupe.Receipt) {
	for i := range receipts {
		if r := &receipts[i]; len(r.Result) > 0 && r.State != dedupe.Done {
			r.Result = job.StampProgress(r.Result, m.epoch)
		}
	}
}

// keepAgain has what a segment kept written again, under the epoch to come: what the owner between has kept of a job must
// not stand above what this one was told to be durable.
func (m *Machine) keepAgain(seg *Segment) {
	for _, k := range seg.keeps {
		if !k.Mark {
			m.record(k.Receipt)
		}
	}
	m.keeps = append(seg.keeps, m.keeps...)
	seg.keeps = nil
}

// lookAgain takes out of keeps the marks whose runs must not begin, by what others wrote to the log meanwhile: the job has
// ended or gone on (a success of the owner before that came late, say); or, where another owned the task in between, the run
// was begun there, as far as anybody can tell.
func (m *Machine) lookAgain(keeps []*Keep, owned bool) []*Keep {
	return slices.DeleteFunc(keeps, func(k *Keep) bool {
		if !k.Mark || k.Answer == nil {
			return false
		}
		r := m.view(k.Receipt.Identity)
		stale := r.StaleAt(k.Receipt.Origin, k.Receipt.Gen, k.Receipt.Hop)
		begun := owned && r.State == dedupe.Started && r.Gen == k.Receipt.Gen && r.Hop == k.Receipt.Hop
		if !stale && !begun {
			return false
		}
		if begun {
			if m.before.begun == nil {
				m.before.begun = map[job.Identity]bool{}
			}
			m.before.begun[k.Receipt.Identity] = true
		}
		k.kept = LookAgain
		m.Out.Kept = append(m.Out.Kept, k)
		return true
	})
}
