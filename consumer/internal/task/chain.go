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
	m.links.begin(e)
	most := min(m.cfg.Chain, m.links.most, memberSlots/2)
	for n := e.next; n != nil && n.Kind == e.Kind && m.mayFollow(n); n = n.next {
		if e.chain == most-1 {
			m.links.cut(m.cfg.Chain)
			break
		}
		n.behind = true
		m.handOver(n)
		e.chain++
	}
}

func (m *Machine) mayFollow(e *Entry) bool {
	env := &e.env
	return e.state == inLane && e.src.tier < 0 && e.unread == "" && env.Fault == "" && env.Expires.IsZero() && env.At.IsZero() &&
		env.Version <= e.Kind.Version && !m.tooFar(e) && !m.isLeaving(e) && m.view(env.Identity).State == dedupe.StateNone && m.links.add(e)
}

// links is the memory of chains: how long they may be at the moment, and who is in the one under way.
//
// What comes back from a chain that broke was handed over for nothing, so their length follows what happens to them: half
// as long after one that broke, an eighth longer after one that was cut off for its length.
type links struct {
	most int

	seen []uint64 // open addressing: 48 bits of an identity over the number of the last chain that had it
	turn uint16
}

const (
	leastChain  = 8
	firstChain  = 64
	memberSlots = 1 << 12 // at least twice Config.Chain
)

// broke tells that an entry with others chained to it was not done.
func (s *links) broke() { s.most = max(leastChain, s.most/2) }

// cut tells that a chain was as long as they may be.
func (s *links) cut(most int) { s.most = min(most, s.most+s.most/8) }

// begin forgets the chain before.
func (s *links) begin(e *Entry) {
	if s.seen == nil {
		s.seen, s.most = make([]uint64, memberSlots), firstChain
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
