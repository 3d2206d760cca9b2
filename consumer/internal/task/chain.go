package task

import (
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// A chain is the head of a lane and what waits behind it, handed to a pool together: a worker runs them one after the
// other, and hands the rest back as soon as one was cancelled and so has not had its turn. One that failed has: it hops, and
// what waits behind it waits for nothing, save where the kind is strict. So the order of a lane costs no way through the shard for each of its jobs, nor for
// each that fails, which is what a hot key would be bound by.
//
// What is in a chain stays in its lane, linked by next. The links between its members do not change before they are back,
// so that the pool may follow them; the last one's may, and the pool does not look at it.

// follow lets the pool run what waits behind e, which is offered, as far as it is plain: nothing but the end of the one
// before stands between it and its start, whenever that comes. The questions of decide are asked here, ahead of time; the
// answers to those that are left out there (is it known, is it too far) cannot turn against a job while it is with a pool.
func (m *Machine) follow(e *Entry) {
	if m.cfg.Chain <= 1 || e.next == nil || e.Kind.batches() || e.suspicion != NoSuspect {
		return
	}
	if e.Kind.strict() && !m.strict.free(e) {
		return
	}
	m.links.begin(e)
	most := min(m.cfg.Chain, memberSlots/2)
	for n := e.next; n != nil && e.chain < most-1 && n.Kind == e.Kind && m.mayFollow(n); n = n.next {
		n.behind = true
		m.handOver(n)
		e.chain++
	}
}

func (m *Machine) mayFollow(e *Entry) bool {
	return e.state == inLane && !e.inherited && !e.early && (m.strict == nil || !m.tooEarly(e)) && e.unread == "" && (e.simple || m.isSimple(e)) &&
		!m.tooFar(e) && !m.isLeaving(e) && m.plain(e) && m.links.add(e)
}

// plain reports whether the receipts leave no doubt that e is to run: nothing is known of a fresh job, and a copy is what
// is awaited of its job.
func (m *Machine) plain(e *Entry) bool {
	r := m.view(e.env.Identity)
	if m.standing(e, &r) != itsOwn || r.State != dedupe.StateNone && (e.src.tier < 0 || m.strayCopy(e, &r) || r.State == dedupe.Started || r.Stale(e.env.Generation, e.env.Hop)) {
		return false
	}
	e.env.Restore(r.Result)
	return true
}

// links tells who is in the chain under way.
type links struct {
	seen []uint64 // open addressing: 48 bits of an identity over the number of the last chain that had it
	turn uint16
}

const memberSlots = 1 << 12 // at least twice Config.Chain

// begin forgets the chain before.
func (s *links) begin(e *Entry) {
	if s.seen == nil {
		s.seen = make([]uint64, memberSlots)
	}
	if s.turn++; s.turn == 0 { // once around
		clear(s.seen)
		s.turn = 1
	}
	s.add(e)
}

// add reports whether no other entry of the chain has the identity: of two the second must not run when the first is done.
func (s *links) add(e *Entry) bool {
	h := identityLane(e.env.Identity)
	mark := h<<16 | uint64(s.turn)
	for i := h >> 52; ; i = (i + 1) % memberSlots {
		switch at := &s.seen[i]; {
		case uint16(*at) != s.turn:
			*at = mark
			return true
		case *at == mark:
			return false
		}
	}
}

// Chain is how many entries may be run after e, each once the one before it was done. Next leads to the first of them and
// on. Both are the pool's to ask, and only until it hands e back.
func (e *Entry) Chain() int { return e.chain }

// Next is the entry behind e in its chain. It must not be asked of a chain's last.
func (e *Entry) Next() *Entry { return e.next }

// Return marks an entry that the pool hands back as it was given: it has not begun. Its place in its lane is unchanged.
func (e *Entry) Return() {
	e.returned, e.Outcome = true, job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled}
}

// Cancel sets the outcome of an entry that was offered and will not run: its task was let go, or looks at it again.
func (e *Entry) Cancel() {
	e.Outcome, e.Began = NotBegun, 0
}

// NotBegun is the outcome of an attempt that was let go before it began.
var NotBegun = job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled, Text: "the instance let the job go before it started"}

// takeBack puts an entry that has not begun where it was before it was offered.
func (m *Machine) takeBack(e *Entry) {
	m.stats.Attempts--
	switch {
	case e.behind: // the one before is not settled
		e.behind, e.state = false, inLane
	case m.phase == draining:
		e.state = held
	default:
		e.state = held
		m.heads = append(m.heads, e)
	}
}
