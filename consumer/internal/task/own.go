package task

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
)

// Assign begins an ownership: everything stays paused until it is proven.
func (m *Machine) Assign(now int64) {
	m.now = now
	if m.phase != fresh {
		return
	}
	m.phase = owning
	for _, s := range m.sources {
		s.pauses.set(Restoring, true, m.now)
	}
	m.Out.Own = true
}

// Owned is the ack of the ownership record; its offset is the epoch.
func (m *Machine) Owned(offset int64, now int64) {
	m.now = now
	if m.phase != owning {
		return
	}
	if offset < 0 { // acked, but not told where: without its offset there is no epoch
		m.Out.Own = true
		return
	}
	if offset < m.cfg.Store.Position().Next {
		m.logBack(offset)
		return
	}
	m.before.mine = m.epoch
	m.epoch, m.restored = offset, m.cfg.Store.Position().Next
	m.phase = restoring
	m.Out.Read = &Span{m.restored, offset + 1}
}

// Entries folds what was read of the log, in order: for the restore, or for a gap before a segment.
func (m *Machine) Entries(entries []*dedupe.Entry) error {
	for _, e := range entries {
		m.inherit(e)
		if err := m.cfg.Store.Apply(e); err != nil {
			return err
		}
		m.dirty = m.dirty || e.Segment != nil && len(e.Segment.Forget) > 0 // the next segment says that it was heard
	}
	return nil
}

// LogEnd tells how far the log goes. What stands behind what was folded, while no segment of this machine is on its way, is
// another writer's, and read like a gap. Without it an idle task would hear of an order to forget a job only with its next
// segment: when it had skipped the very record that the order was for.
func (m *Machine) LogEnd(end, now int64) {
	m.now = now
	next := m.cfg.Store.Position().Next
	if m.phase != running || m.segment != nil || m.gapped || end <= next {
		return
	}
	m.gapped = true
	m.turn++
	m.Out.Read = &Span{next, end}
}

// ReadDone ends a read: everything up to the asked offset was given to Entries.
func (m *Machine) ReadDone(now int64) {
	m.now = now
	switch {
	case m.phase == restoring:
		m.phase = proving
		m.prove()
	case m.gapped:
		m.gapped = false
		m.gapRead()
	}
}

// Start is what the cluster knows of one partition: the group's committed offset and the ends of the log.
type Start struct {
	Topic     string
	ID        dedupe.TopicID // zero: not known
	Committed int64          // -1: none
	Ours      bool           // the commit carries our metadata; one without it is an operator's order
	LogStart  int64
	LogEnd    int64

	LeaderEpoch int32 // of the record before Committed, as the commit says; -1: it does not
	EpochEnd    int64 // where the log of that epoch, and those before it, ends; -1: not known
}

// Proved ends the proof of membership. Not a member: the task is let go. Else each partition without a place starts at
// the logged frontier; an operator's order wins over it; where the log has none, at the committed offset; where nothing is
// known, at the group's declared start for the job topic and at the log start for tiers (design section 6.8).
func (m *Machine) Proved(member bool, starts []Start, now int64) {
	m.now = now
	m.proofs = max(0, m.proofs-1)
	if !member {
		if m.phase == proving || m.phase == running {
			m.Abandon(now)
			m.Out.Drained = true
		}
		return
	}
	if m.phase != proving && m.phase != running {
		return
	}
	if m.phase == proving && m.proofs > 0 { // asked before the ownership record: proves nothing about this epoch
		return
	}
	pos := m.cfg.Store.Position()
	if m.phase == proving && pos.Epoch != m.epoch { // somebody owned the task while we read
		m.phase, m.Out.Own = owning, true
		return
	}
	m.carry(pos.Frontiers)
	m.away = m.foreign(starts)
	for i := range starts {
		switch s := m.byTopic[starts[i].Topic]; {
		case s == nil:
		case m.away && !s.ready:
			m.abroad(s)
		case m.another(s, &starts[i]):
		case !s.ready:
			m.startAt(s, &starts[i])
		case s.astray:
			m.findAgain(s, &starts[i])
		}
	}
	if m.phase == proving {
		m.dirty = true // a new epoch claims everything anew
		m.keeps = m.lookAgain(m.keeps, true)
		m.reorder()
	}
	m.phase, m.reown = running, false
	m.unpark()
	m.lookAtHeads()
	m.nearer()
	m.balance()
}

// prove asks for a proof of membership.
func (m *Machine) prove() {
	if !m.Out.Prove {
		m.Out.Prove = true
		m.proofs++
	}
}

// askAgain asks for the places that the last proof did not have: the cluster may not know a partition for a moment.
func (m *Machine) askAgain() {
	if m.phase != running || m.proofs > 0 || m.now < m.askAt {
		return
	}
	for _, s := range m.sources {
		if s.astray || !s.ready && !s.pauses.has(Truncated) && !s.pauses.has(Recreated) && !s.pauses.has(Foreign) {
			m.asked++
			m.askAt = m.now + m.backoff(m.asked)
			m.prove()
			return
		}
	}
	m.asked, m.askAt = 0, 0
}

// carry takes over the frontiers in force of partitions that are not read here. Those of partitions that are read stay
// out: what memory knows of them is newer, or lower by an operator's order, and within an epoch the greater one wins.
func (m *Machine) carry(inForce map[dedupe.TopicID]int64) {
	for id, off := range inForce {
		m.carried[id] = off
	}
	for _, s := range m.sources {
		if s.ready {
			delete(m.carried, s.id)
		}
	}
}

func (m *Machine) startAt(s *source, st *Start) {
	if s.pauses.has(Truncated) || s.pauses.has(Recreated) { // only an operator ends that: a log that grew past the start meanwhile holds other records
		return
	}
	logged, known := m.carried[s.id]
	at := logged
	switch {
	case st.Committed >= 0 && !st.Ours:
		at = st.Committed
		m.Out.Rewound = append(m.Out.Rewound, Offset{s.topic, at, unknownEpoch})
		if known {
			m.note("%s/%d: an operator set the group's offset to %d (the log says %d): obeyed; receipts still hold", s.topic, m.cfg.Partition, at, logged)
		} else {
			m.note("%s/%d: begins at the group's offset %d, which was set by an operator or another application; the log knows no place", s.topic, m.cfg.Partition, at)
		}
	case known:
		if st.Ours && st.Committed > at {
			m.note("%s/%d: the receipt log says %d and the group had committed %d: the log lost its end. Begins at %d; jobs done from there on may run again", s.topic, m.cfg.Partition, at, st.Committed, at)
		}
	case m.remade() && s.tier < 0:
		m.recreated(s)
		return
	case st.Committed >= 0 && !m.remade():
		at = st.Committed
		if s.tier < 0 && m.cfg.Store.Position().FrontierEpoch < 0 {
			m.note("%s/%d: the receipt log knows nothing of what the group did: it was deleted, or emptied by retention. Begins at the group's offset %d; jobs done before may run again if they are sent again", s.topic, m.cfg.Partition, at)
		}
	case s.tier < 0 && m.cfg.StartAtEnd:
		at = st.LogEnd
	default:
		at = st.LogStart
	}
	if at > st.LogEnd {
		m.truncated(s, fmt.Sprintf("%s/%d: the start %d lies beyond the end of the log %d; the partition stays paused (truncated). If the topic was truncated or recreated on purpose, stop the group and set its offset by hand",
			s.topic, m.cfg.Partition, at, st.LogEnd))
		m.pause(s, Restoring, false)
		return
	}
	if cut := st.cut(); cut >= 0 && cut < at {
		m.cutOff(s, st.Committed, cut)
		m.pause(s, Restoring, false)
		return
	}
	if at < st.LogStart {
		if from := max(at, logged); from < st.LogStart { // what an operator orders again below the frontier was settled once
			m.lose(s, from, st.LogStart)
		}
		at = st.LogStart
	}
	if claimed, ok := m.claims()[s.id]; ok && at < claimed {
		m.rewound, s.below = true, true
	}
	m.doubt(s, max(at, logged), st.LogEnd)
	delete(m.carried, s.id)
	s.ready, s.next, s.from, m.dirty = true, at, at, true
	m.Out.Start = append(m.Out.Start, s.startAt(at, st))
	m.pause(s, Restoring, false)
}

// OutOfRange tells that the broker refused to fetch at the place the partition was read to: retention passed it, or the
// log was truncated. The partition waits until Proved says which.
func (m *Machine) OutOfRange(topic string, now int64) {
	m.now = now
	if s := m.byTopic[topic]; s != nil && s.ready {
		m.goneAstray(s)
	}
}

// goneAstray has a partition wait until its place is looked up again.
func (m *Machine) goneAstray(s *source) {
	if s.astray {
		return
	}
	s.astray = true
	m.pause(s, Restoring, true)
	if m.phase == running {
		m.prove()
	}
}

// findAgain goes on where the log now begins, counting what retention took, or stops where it ends before our place.
func (m *Machine) findAgain(s *source, st *Start) {
	cut := max(s.cut-1, st.cut())
	s.astray, s.cut = false, 0
	epoch := s.leaders.before(s.next)
	switch {
	case s.next > st.LogEnd:
		epoch = unknownEpoch
		m.truncated(s, fmt.Sprintf("%s/%d was read up to %d, but ends at %d: truncated. The partition stays paused; stop the group and set its offset by hand", s.topic, m.cfg.Partition, s.next, st.LogEnd))
	case s.next <= st.LogStart:
		epoch = unknownEpoch
		if s.next < st.LogStart {
			m.lose(s, s.next, st.LogStart)
			s.next = st.LogStart
		}
	case cut >= 0:
		epoch = unknownEpoch
		m.cutOff(s, s.next, cut)
	}
	m.Out.Start = append(m.Out.Start, Offset{s.topic, s.next, epoch})
	m.pause(s, Restoring, false)
}

// lose counts records that retention took before they were read.
func (m *Machine) lose(s *source, from, to int64) {
	s.lost += to - from
	m.stats.Lost += to - from
	m.cfg.Tally.lost(to - from)
	m.note("%s/%d: retention removed %d records before they were read (from %d to %d)", s.topic, m.cfg.Partition, to-from, from, to)
}

func (m *Machine) note(format string, a ...any) {
	m.Out.Notes = append(m.Out.Notes, fmt.Sprintf(format, a...))
}

// pause sets a reason of one source and asks for the pause or resume that follows.
func (m *Machine) pause(s *source, r Reason, on bool) {
	if !s.pauses.set(r, on, m.now) || m.phase == gone {
		return
	}
	// Several inputs may come before the effects are carried out: only the last word on a topic may stand there.
	if on {
		m.Out.Pause, m.Out.Resume = append(without(m.Out.Pause, s.topic), s.topic), without(m.Out.Resume, s.topic)
	} else {
		m.Out.Resume, m.Out.Pause = append(without(m.Out.Resume, s.topic), s.topic), without(m.Out.Pause, s.topic)
	}
}

func without(topics []string, topic string) []string {
	return slices.DeleteFunc(topics, func(t string) bool { return t == topic })
}
