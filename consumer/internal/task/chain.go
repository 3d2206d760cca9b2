package task

import (
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// A chain is the head of a lane and what waits behind it, handed to a pool together: a worker runs them one after the
// other, each once the one before it was done, and hands the rest back as soon as one was not. So the order of a lane
// costs no way through the shard for each of its jobs, which is what a hot key would be bound by.
//
// What is in a chain stays in its lane, linked by next. The links between its members do not change before they are back,
// so that the pool may follow them; the last one's may, and the pool does not look at it.

// follow lets the pool run what waits behind e, which is offered, as far as it is plain: nothing but the end of the one
// before stands between it and its start, whenever that comes. The questions of decide are asked here, ahead of time; the
// answers to those that are left out there (is it known, is it too far) cannot turn against a job while it is with a pool.
func (m *Machine) follow(e *Entry) {
	if m.cfg.Chain <= 1 || e.next == nil || e.src.tier >= 0 || e.Kind.batches() {
		return
	}
	m.members.begin(e)
	for n := e.next; n != nil && e.chain < m.cfg.Chain-1 && n.Kind == e.Kind && m.mayFollow(n); n = n.next {
		n.behind = true
		m.handOver(n)
		e.chain++
	}
}

func (m *Machine) mayFollow(e *Entry) bool {
	env := &e.env
	return e.state == inLane && e.src.tier < 0 && e.unread == "" && env.Fault == "" && env.Expires.IsZero() && env.At.IsZero() &&
		env.Version <= e.Kind.Version && !m.tooFar(e) && m.view(env.Identity).State == dedupe.StateNone && m.members.add(e)
}

// members remembers the identities in the chain under way, roughly: of two jobs with one identity the second must not run
// when the first is done. What looks like one that is in there ends the chain, which costs nothing else.
type members struct {
	seen  []uint16 // by hash of identity: the last chain that had it; nil before the first
	chain uint16
}

const memberSlots = 1 << 13

func (s *members) begin(e *Entry) {
	if s.seen == nil {
		s.seen = make([]uint16, memberSlots)
	}
	if s.chain++; s.chain == 0 { // once around: forget
		clear(s.seen)
		s.chain = 1
	}
	s.add(e)
}

func (s *members) add(e *Entry) bool {
	id := &e.env.Identity
	at := &s.seen[(int(id[14])<<8|int(id[15]))%memberSlots]
	if *at == s.chain {
		return false
	}
	*at = s.chain
	return true
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
