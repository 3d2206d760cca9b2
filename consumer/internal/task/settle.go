package task

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// Outcomes takes back entries that were offered, each with its Outcome set.
func (m *Machine) Outcomes(entries []*Entry, now int64) {
	m.now = now
	for _, e := range entries {
		if e.state != offered {
			continue
		}
		m.offered--
		if e.returned && m.phase != gone {
			m.takeBack(e)
			continue
		}
		if !e.returned {
			m.cfg.Tally.attempt(e)
		}
		m.outcome(e)
	}
	if m.phase == gone {
		m.late()
		return
	}
	m.lookAtHeads()
	m.flushEarly()
	m.balance()
	m.drained()
}

func (m *Machine) outcome(e *Entry) {
	o := &e.Outcome
	if m.phase == gone { // only what is true whoever owns the task
		if e.state = held; e.suspicion == Alone {
			m.Out.Cleared = append(m.Out.Cleared, e)
		}
		if !e.returned && o.Verdict == job.VerdictDone && e.recorded() && e.env.Emitted == nil {
			m.pending.add(m.receipt(e, dedupe.Done, 0, e.env.Attempt, job.CodeNone))
		}
		return
	}
	switch o.Verdict {
	case job.VerdictDone:
		m.succeed(e)
	case job.VerdictRetry:
		m.retry(e)
	case job.VerdictSnooze:
		m.postpone(e, o.Delay, time.Time{}, job.CodeSnoozed)
	case job.VerdictDead:
		d := dlq.Explicit
		if o.Code == job.CodeDecode || o.Code == job.CodeContentType || o.Code == job.CodeUnknownVersion {
			d = dlq.Undecodable
		}
		m.file(e, d, o.Code, o.Text)
	case job.VerdictDiscard:
		m.end(e, dedupe.Discarded, o.Code, o.Text)
	default: // cancelled: not settled, no attempt burnt
		m.stats.Cancelled++
		m.stats.Attempts--
		if e.state = held; e.behind { // the one before was cancelled too
			e.behind, e.state = false, inLane
		} else if m.phase != draining {
			m.parked = append(m.parked, e)
		}
	}
}

// succeed settles a job that is done: at once, or when what it emitted is acked.
func (m *Machine) succeed(e *Entry) {
	recorded, emitted := e.recorded(), e.env.Emitted != nil
	if !recorded && !emitted {
		m.settle(e, EndDone)
		return
	}
	done := m.receipt(e, dedupe.Done, 0, e.env.Attempt, job.CodeNone)
	if emitted {
		m.send(&Write{Entry: e, Dest: ToJobs, receipt: done, silent: !recorded, end: EndDone})
		return
	}
	m.record(done)
	m.reach(e, &done)
	m.settle(e, EndDone)
}

// retry sends a failed job to a tier, or to the dead letters when its plan is used up.
func (m *Machine) retry(e *Entry) {
	env, p, o := &e.env, &e.Kind.Policy, &e.Outcome
	first := env.FirstFailure
	if first.IsZero() || env.LastCode == job.CodeUnknownKind || env.LastCode == job.CodeUnknownVersion {
		first = m.time()
	}
	switch {
	case env.Attempt >= p.MaxAttempts:
		m.file(e, dlq.Exhausted, o.Code, o.Text)
		return
	case m.time().Sub(first) > p.MaxAge:
		m.file(e, dlq.TooOld, o.Code, o.Text)
		return
	}
	d := o.Delay
	if d == 0 {
		d = m.cfg.Plan.Backoff(p.Backoff, env.Attempt, jitter(env.Identity, env.Attempt))
	}
	m.stats.Retried++
	m.hopAfter(e, d, job.Stamp{Attempts: env.Attempt, First: first, Code: o.Code, Text: o.Text}, o.Code)
}

// jitter is a number in [0,1) that depends on the job and the attempt only, so that a replay of a history repeats it.
func jitter(id job.Identity, attempt int) float64 {
	h := (identityLane(id) ^ uint64(attempt)*0x9E3779B97F4A7C15) * 0xBF58476D1CE4E5B9
	h ^= h >> 31
	return float64(h>>11) / (1 << 53)
}

// hop sends a copy to a tier; the source is settled with a retrying receipt once it is acked.
func (m *Machine) hop(e *Entry, tier int, stamp job.Stamp, code job.Code) {
	env := &e.env
	if env.Hop >= m.mostHops(e.Kind) {
		m.fileBurnt(e, dlq.TooOld, code, fmt.Sprintf("the job hopped %d times: %s", env.Hop, stamp.Text), stamp.Attempts)
		return
	}
	stamp.Hop, stamp.Gen, stamp.Origin = env.Hop+1, env.Generation, env.Origin
	if env.Unsure { // whoever runs the copy must ask, too
		stamp.Code = job.CodeUnreconciled
	}
	r := m.receipt(e, dedupe.Retrying, stamp.Hop, stamp.Attempts, code)
	m.send(&Write{Entry: e, Dest: ToTier, Topic: m.cfg.Tiers[tier].Topic, Stamp: stamp, receipt: r, tier: tier, end: endOfHop(code)})
}

// file sends the job to the dead letters; it is settled with a dead receipt once that is acked. A conflict has no receipt:
// the job it conflicts with is another.
func (m *Machine) file(e *Entry, d dlq.Disposition, code job.Code, text string) {
	burnt := e.env.Attempt - 1
	if d == dlq.Explicit || d == dlq.Exhausted || d == dlq.TooOld || d == dlq.Undecodable || d == dlq.OutcomeUnknown || d == dlq.Poison {
		burnt = e.env.Attempt
	}
	m.fileBurnt(e, d, code, text, burnt)
}

func (m *Machine) fileBurnt(e *Entry, d dlq.Disposition, code job.Code, text string, burnt int) {
	env := &e.env
	first := env.FirstFailure
	if first.IsZero() {
		first = m.time()
	}
	if env.Unsure {
		code = job.CodeUnreconciled
	}
	w := &Write{Entry: e, Dest: ToDeadLetters, Disposition: d, Code: code, Text: text, Attempts: burnt, First: first, Last: m.time(),
		receipt: m.receipt(e, dedupe.Dead, 0, burnt, code), end: EndDead}
	if d == dlq.Conflict {
		w.silent, w.end = true, EndConflict
	}
	m.send(w)
}

// end settles a job for good without a letter: an audit entry is acked first.
func (m *Machine) end(e *Entry, s dedupe.State, code job.Code, text string) {
	w := &Write{Entry: e, Dest: ToAudit, Action: "discard", Code: code, Text: text, Attempts: e.env.Attempt,
		receipt: m.receipt(e, s, 0, e.env.Attempt, code), end: EndDiscarded}
	if s == dedupe.Expired {
		w.Action, w.Attempts, w.end = "expire", e.env.Attempt-1, EndExpired
	}
	m.send(w)
}

// send has a record written that must be acked before its entry is settled. What waits behind the entry need not wait for
// that: the entry has had its turn, and the way to a broker and back for each failure is what a hot key would be bound by.
// Only records of the same job do (decide), since what they are follows from the receipt that the ack allows.
func (m *Machine) send(w *Write) {
	e := w.Entry
	e.state, e.write = writing, w
	m.writing++
	if !e.left {
		e.left = true
		m.leaving.add(e)
		m.leave(e)
	}
	if m.strict != nil {
		m.sent(w)
	}
	m.Out.Writes = append(m.Out.Writes, w)
}

// WriteResult says how a Write ended.
type WriteResult uint8

// The results.
const (
	Acked    WriteResult = iota
	TooLarge             // refused for its size by the client or the broker
	Invalid              // ToJobs: no record at all
	Refused              // anything else: it is tried again until it is acked or the task is lost
)

// Answer is how a Write ended.
type Answer struct {
	Write  *Write
	Result WriteResult
}

// Written answers Writes. It does not keep the slice.
func (m *Machine) Written(answers []Answer, now int64) {
	m.now = now
	for _, a := range answers {
		m.written(a.Write, a.Result)
	}
	if m.phase == gone {
		return
	}
	m.lookAtHeads()
	m.balance()
	m.drained()
}

func (m *Machine) written(w *Write, res WriteResult) {
	e := w.Entry
	if e.write != w {
		return
	}
	if m.phase == gone {
		m.writtenLate(w, res)
		return
	}
	switch {
	case res == Acked:
		m.forget(w)
		m.cfg.Tally.written(w)
		if !w.silent {
			m.record(w.receipt)
			m.reach(e, &w.receipt)
		}
		m.settle(e, w.end)
	case res == TooLarge && w.Dest == ToTier:
		m.forget(w)
		text := "the copy is too large for " + w.Topic + ": raise its max.message.bytes; last failure: " + w.Stamp.Text
		m.fileBurnt(e, dlq.TooLarge, job.CodeTooLarge, text, w.Stamp.Attempts)
	case res == TooLarge && w.Dest == ToJobs: // nor would it be taken if the attempt were repeated
		m.forget(w)
		m.fileBurnt(e, dlq.TooLarge, job.CodeTooLarge, w.Problem, e.env.Attempt)
	case res == Invalid:
		m.forget(w)
		m.fileBurnt(e, dlq.Explicit, job.CodeDead, w.Problem, e.env.Attempt)
	case res == TooLarge && w.Dest == ToDeadLetters && !w.Truncated:
		w.Truncated = true
		m.Out.Writes = append(m.Out.Writes, w)
	default:
		if w.tries++; w.tries == 1 {
			m.refused++
		}
		w.retryAt = m.now + m.backoff(w.tries)
		m.refusal = w.Problem
		m.again = append(m.again, w)
	}
}

// writtenLate is written for a task that was let go meanwhile: that the copy or letter stands in its topic is true whoever
// owns the task, and who knows it does not run the job again.
func (m *Machine) writtenLate(w *Write, res WriteResult) {
	if res != Acked {
		return
	}
	w.Entry.write = nil
	if !w.silent {
		m.pending.add(w.receipt)
		m.late()
	}
}

func (m *Machine) backoff(tries int) int64 {
	return int64(min(m.cfg.RetryWrite<<min(tries-1, 10), 30*m.cfg.RetryWrite))
}

func (m *Machine) forget(w *Write) {
	w.Entry.write = nil
	m.writing--
	if w.tries > 0 {
		m.refused--
	}
}

func (m *Machine) receipt(e *Entry, s dedupe.State, hop uint32, burnt int, code job.Code) dedupe.Receipt {
	r := receiptOf(&e.env.Message, s, hop, burnt, code)
	switch s {
	case dedupe.Done:
		r.Result = e.env.Result
	case dedupe.Retrying, dedupe.Dead: // a redrive goes on where the job ended
		r.Result = e.env.Progress()
		if (s == dedupe.Dead || r.Gen > 0) && m.holdsKey(e) {
			r.Code = job.CodeHolding
		}
	}
	return r
}

func receiptOf(msg *job.Message, s dedupe.State, hop uint32, burnt int, code job.Code) dedupe.Receipt {
	r := dedupe.Receipt{Identity: msg.Identity, Gen: msg.Generation, Hop: hop, State: s, Attempt: uint32(max(burnt, 0)),
		Origin: msg.Origin.Offset, Digest: msg.Digest, Code: code, Repeats: msg.Repeats}
	if msg.Key != nil {
		r.KeyHash = job.KeyHash(msg.Key)
	}
	return r
}

// record puts a receipt where it is seen at once and where the next segment takes it.
func (m *Machine) record(r dedupe.Receipt) {
	r.At = m.stamp32()                    // as near as it is known before the log has it
	m.pending.reserve(min(m.usual, 4096)) // a segment is often as long as the one before
	m.pending.add(r)
}

// settle ends an entry. Its slot takes its place in the order of settling, by which a frontier knows that the receipt it
// rests on was in the segment.
func (m *Machine) settle(e *Entry, end End) {
	e.state = settled
	m.seq++
	m.spans.settled(e)
	e.src.win.settle(e.index, m.seq)
	m.outOfMemory(e)
	m.stats.settled(end)
	if e.inherited {
		m.doubtful--
	}
	if e.suspicion == Alone {
		m.trials = append(m.trials, trial{e, m.seq})
	}
	m.cfg.Tally.settled(e, end)
	if m.strict != nil {
		m.ended(e)
	}
	if !e.left {
		m.leave(e)
		return
	}
	m.leaving.remove(e)
	m.heads = append(m.heads, m.second...)
	clear(m.second)
	m.second = m.second[:0]
}

// retryWrites asks again for what was refused and is to be tried now.
func (m *Machine) retryWrites() {
	waiting := m.again[:0]
	for _, w := range m.again {
		if w.Entry.write != w { // acked after all
			continue
		}
		if w.retryAt <= m.now {
			w.retryAt = 0
			m.Out.Writes = append(m.Out.Writes, w)
		} else {
			waiting = append(waiting, w)
		}
	}
	clear(m.again[len(waiting):])
	m.again = waiting
}
