package task

import (
	"bytes"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
)

// Tick is the heartbeat of a machine: it releases what is due, tries refused writes again and, if durable is set, sends
// the next segment. Calls between ticks, at NextDue, leave durable unset.
func (m *Machine) Tick(durable bool, now int64) {
	m.now = now
	if m.phase == gone {
		return
	}
	m.retryWrites()
	if durable && m.rewound && m.segment == nil && !m.gapped && m.phase == running {
		m.ownAgain()
	}
	if m.phase == running {
		m.release()
		if m.open() {
			m.unpark()
		}
		m.lookAtHeads()
		m.nearer()
	}
	if durable {
		m.askAgain()
		m.stalled()
	}
	if s := m.segment; s != nil && s.retryAt != 0 && s.retryAt <= m.now {
		s.retryAt = 0
		m.Out.Segment = s
	}
	if durable {
		m.flush()
	}
	m.balance()
	m.drained()
}

// flush sends a segment if none is on the way and there is something to say.
func (m *Machine) flush() {
	if m.segment != nil || m.gapped || m.phase != running && m.phase != draining {
		return
	}
	if m.rewound && m.phase == running { // nothing is claimed before the task is owned again
		return
	}
	seg := &Segment{Epoch: m.epoch, limit: m.seq}
	moved := m.dirty
	for _, s := range m.sources {
		if !s.ready {
			continue
		}
		at := s.frontier(seg.limit)
		moved = moved || at != s.durable
		seg.sources = append(seg.sources, sourceFrontier{s, at})
		seg.Frontiers = append(seg.Frontiers, dedupe.Frontier{Topic: s.id, Offset: at})
	}
	seg.Release = m.lastWord()
	if !moved && len(m.pending.list)+len(m.keeps) == 0 && seg.Release == dedupe.Held {
		return
	}
	own := len(seg.Frontiers)
	for id, at := range m.claimable() { // a newer epoch's frontiers replace an older's: none may be left out
		seg.Frontiers = append(seg.Frontiers, dedupe.Frontier{Topic: id, Offset: at})
	}
	slices.SortFunc(seg.Frontiers[own:], func(a, b dedupe.Frontier) int { return bytes.Compare(a.Topic[:], b.Topic[:]) })
	seg.Bare = !moved && len(m.pending.list)+len(m.keeps) == 0
	m.dirty = false
	seg.Receipts, m.usual = m.pending.list, len(m.pending.list)
	seg.keeps, m.keeps = m.keeps, nil
	seg.Marks = m.spans.send(marks(seg.keeps))
	m.stamp(seg.Receipts)
	m.pending, m.inFlight = m.inFlight, m.pending
	m.segment = seg
	m.Out.Segment = seg
}

// SegmentAcked answers a segment: entries are its log records with their offsets, in order; first -1 means that the broker
// acked without telling where. A segment that does not follow the last known offset reveals another writer: what it wrote
// is read before anything is applied, run or committed. A refused segment is sent again as it is.
func (m *Machine) SegmentAcked(seg *Segment, entries []*dedupe.Entry, err error, now int64) error {
	m.now = now
	if m.segment != seg {
		return nil
	}
	if err != nil {
		seg.tries++
		seg.retryAt = m.now + m.backoff(seg.tries)
		m.refusal = "the receipts cannot be written: " + err.Error()
		m.balance()
		return nil
	}
	seg.tries = 0
	next := m.cfg.Store.Position().Next
	if at := entries[0].Offset; at >= 0 && at < next {
		m.logBack(at)
		return nil
	}
	for _, e := range entries {
		if e.Offset != next {
			m.gapped = true
			m.turn++
			to := int64(-1)
			if last := entries[len(entries)-1].Offset; last >= 0 {
				to = last + 1
			}
			m.Out.Read = &Span{m.cfg.Store.Position().Next, to}
			return nil
		}
		next++
	}
	for _, e := range entries {
		if err := m.cfg.Store.Apply(e); err != nil {
			return err
		}
	}
	m.durable()
	return nil
}

// gapRead ends the look into a gap: our own segment, if there is one, is folded with whatever stood before it.
func (m *Machine) gapRead() {
	if m.phase != running && m.phase != draining {
		return
	}
	if m.cfg.Store.Position().Epoch == m.epoch {
		m.keeps = m.lookAgain(m.keeps, false)
		if m.segment != nil {
			m.segment.keeps = m.lookAgain(m.segment.keeps, false)
			m.durable()
		} else {
			m.drained()
		}
		m.reorder()
		m.unpark()
		m.lookAtHeads()
		return
	}
	// A later owner: our receipts in that segment count, its frontiers are void. Own again, then claim them anew.
	m.note("%s/%d: another instance took the task over at epoch %d while this one (epoch %d) still held it: owning again",
		m.cfg.Topic, m.cfg.Partition, m.cfg.Store.Position().Epoch, m.epoch)
	seg := m.segment
	m.segment = nil
	m.inFlight.reset()
	m.spans.durable(false)
	m.dirty = true
	if m.phase == draining { // not ours to claim any more
		m.Abandon(m.now)
		m.Out.Drained = true
		return
	}
	if seg != nil {
		m.keepAgain(seg)
	}
	m.ownAgain()
}

// durable ends a segment: its receipts are in the store, its frontiers in force.
func (m *Machine) durable() {
	seg := m.segment
	m.segment = nil
	m.kept(seg)
	m.spans.durable(true)
	m.claimed = m.now
	m.inFlight.reset()
	m.released = m.released || seg.Release != dedupe.Held
	m.tried(seg.limit)
	for _, f := range seg.sources {
		if f.offset == f.src.durable {
			continue
		}
		f.src.durable = f.offset
		f.src.leaders.below(f.offset)
		if f.src.ours() {
			m.Out.Commit = append(m.Out.Commit, Offset{f.src.topic, f.offset, f.src.leaders.before(f.offset)})
		}
	}
	m.nearer()
	if m.phase == draining {
		m.flush()
	} else {
		m.flushEarly()
		m.flushKept()
	}
	m.balance()
	m.drained()
}
