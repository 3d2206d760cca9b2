package task

import (
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// view is everything known of a job: the store joined with what is settled and not yet durable.
func (m *Machine) view(id job.Identity) dedupe.Receipt {
	var r dedupe.Receipt
	if m.cfg.Store.Len() > 0 {
		r, _ = m.cfg.Store.Get(id)
	}
	if f := m.inFlight.get(&id); f != nil {
		r = dedupe.Join(r, *f)
	}
	if f := m.pending.get(&id); f != nil {
		r = dedupe.Join(r, *f)
	}
	return m.spans.view(&id, r)
}

// decide says what becomes of the head of a lane. The order of the questions is the design's: what the record is, what is
// known of the job, then the gates.
func (m *Machine) decide(e *Entry) {
	if !m.open() {
		e.state = held
		if m.phase != draining && m.phase != gone {
			m.parked = append(m.parked, e)
		}
		return
	}
	if m.isLeaving(e) {
		e.state = held
		m.second = append(m.second, e)
		return
	}
	if m.known(e) {
		return
	}
	env := &e.env
	switch {
	case e.unread != "":
		m.unopened(e)
	case env.Fault != "":
		m.file(e, dlq.Malformed, job.CodeMalformed, env.Fault)
	case !env.Expires.IsZero() && nanos(env.Expires) <= m.now:
		m.end(e, dedupe.Expired, job.CodeExpired, "expired "+job.FormatTime(env.Expires))
	case !env.At.IsZero() && nanos(env.At) > m.now:
		m.postpone(e, time.Duration(nanos(env.At)-m.now), env.At, job.CodeScheduled)
	case m.standsBehind(e):
	case e.Kind == nil:
		m.unknown(e, job.CodeUnknownKind, fmt.Sprintf("no handler is registered for kind %q", env.WireKind))
	case env.Version > e.Kind.Version:
		m.unknown(e, job.CodeUnknownVersion, fmt.Sprintf("payload version %d of kind %q is newer than the handler's %d", env.Version, env.WireKind, e.Kind.Version))
	case m.tooFar(e) && len(m.aside.lanes) > 0: // it may be long before the frontier moves
		e.noted = true
		m.offer(e)
	case m.tooFar(e):
		e.state = held
		m.far.heads = append(m.far.heads, e)
	default:
		m.offer(e)
	}
}

// isLeaving reports whether another record of the job waits for an ack: what e is will be known then.
func (m *Machine) isLeaving(e *Entry) bool {
	return m.leaving.has(&e.env.Identity)
}

// known settles what the receipts have an answer for: another payload under the same identity, a duplicate, a stale copy.
func (m *Machine) known(e *Entry) bool {
	r := m.view(e.env.Identity)
	stands := m.standing(e, &r)
	switch {
	case r.State == dedupe.StateNone || stands == begins:
		e.env.Restore(nil)
		return m.begun(e, dedupe.Receipt{})
	case stands != outdated && e.src.tier < 0 && r.Gen == 0 && r.Digest != e.env.Digest:
		m.file(e, dlq.Conflict, job.CodeConflict, fmt.Sprintf("job %s/%s was enqueued before with another payload", e.env.WireKind, e.env.ID))
		return true
	case stands == itsOwn && m.strayCopy(e, &r):
		m.file(e, dlq.Conflict, job.CodeConflict, fmt.Sprintf("a copy of job %s/%s, enqueued at offset %d, carries another payload than the job that is known by that name", e.env.WireKind, e.env.ID, e.env.Origin.Offset))
		return true
	case stands == itsOwn && !r.Stale(e.env.Generation, e.env.Hop):
		e.env.Restore(r.Result)
		return m.begun(e, r)
	case r.State == dedupe.Done || stands == second:
		m.settle(e, EndDuplicate)
	default:
		m.settle(e, EndStale)
	}
	return true
}

// strayCopy reports whether a copy that is not stale carries another payload than its job, which was never redriven with one.
// Under AtLeastOnce a first success leaves no receipt, so a job may be enqueued again with another payload; a copy of the
// first, sent by an owner that died before it could say so, must not run in the place of a copy of the second.
func (m *Machine) strayCopy(e *Entry, r *dedupe.Receipt) bool {
	return e.src.tier >= 0 && e.env.Generation == 0 && r.Gen == 0 && r.Digest != e.env.Digest && !r.Stale(e.env.Generation, e.env.Hop)
}

// begun sees to a job with an attempt that began and of which nobody knows the end, as its kind is promised. What an attempt
// of this owner came to is known, save where it was cancelled.
func (m *Machine) begun(e *Entry, r dedupe.Receipt) bool {
	if e.env.Unsure = false; e.Kind == nil {
		return false
	}
	started := r.State == dedupe.Started && r.Gen == e.env.Generation && r.Hop == e.env.Hop
	switch e.Kind.Policy.Guarantee {
	case job.AtMostOnce:
		if started {
			m.file(e, dlq.OutcomeUnknown, job.CodeOutcomeUnknown, fmt.Sprintf("attempt %d began, and nobody knows how it ended: its process died or lost the task. The kind is promised at most one run; redrive it if its effect did not happen", e.env.Attempt))
		}
		return started
	case job.Reconciled:
		filed := r.State == dedupe.Dead && r.Gen < e.env.Generation && (r.Code == job.CodeUnreconciled || r.Code == job.CodeHolding) // and redriven
		e.env.Unsure = started || filed || e.env.LastCode == job.CodeUnreconciled
	}
	return m.suspected(e, &r, started)
}

func (m *Machine) offer(e *Entry) {
	m.handOver(e)
	m.follow(e)
	m.Out.Run = append(m.Out.Run, e)
}

func (m *Machine) handOver(e *Entry) {
	e.state, e.returned, e.chain = offered, false, 0
	e.env.Fence, e.env.Emitted, e.env.Result, e.turn = m.epoch, nil, nil, m.turn
	m.offered++
	m.stats.Attempts++
}

// unknown lets a job hop that this instance cannot run, since a newer one may: to the next larger tier each time, attempt
// unchanged, and files it after KeepUnknown.
func (m *Machine) unknown(e *Entry, code job.Code, text string) {
	first := e.env.FirstFailure
	if !e.env.Unsure && e.env.LastCode != job.CodeUnknownKind && e.env.LastCode != job.CodeUnknownVersion || first.IsZero() {
		first = m.time()
	}
	if m.time().Sub(first) >= m.cfg.KeepUnknown {
		m.file(e, dlq.Unknown, code, text)
		return
	}
	tier := 0
	for tier < len(m.cfg.Tiers)-1 && m.cfg.Tiers[tier].Delay <= e.src.delay {
		tier++
	}
	m.hop(e, tier, job.Stamp{Attempts: e.env.Attempt - 1, Delay: m.cfg.Tiers[tier].Delay, First: first, Code: code, Text: text}, code)
}

// postpone hops a job that is not due and no failure: scheduled (at is its instant) or snoozed (at is zero). What is known
// of an earlier failure stays.
func (m *Machine) postpone(e *Entry, d time.Duration, at time.Time, code job.Code) {
	m.hopAfter(e, d, job.Stamp{Attempts: e.env.Attempt - 1, At: at, First: e.env.FirstFailure, Code: e.env.LastCode, Text: e.env.LastError}, code)
}

// hopAfter sends a copy on a delay d that may take several hops; the copy carries the instant before which it must not
// run, so that no sum of roundings makes it early. An instant once given stays until it has come: append times are cut to
// milliseconds, so the delay of the last hop alone could end before it.
func (m *Machine) hopAfter(e *Entry, d time.Duration, stamp job.Stamp, code job.Code) {
	tier, delay := m.cfg.Plan.Route(d)
	stamp.Delay = delay
	if delay < d && stamp.At.IsZero() {
		stamp.At = time.Unix(0, m.now).Add(d)
	}
	m.hop(e, tier, stamp, code)
}

func (m *Machine) time() time.Time { return time.Unix(0, m.now).UTC() }
