package task

import (
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/dedupe"
)

// ownAgain writes another ownership record while memory keeps what it holds: the frontiers claimed under the new epoch
// replace those of the old one, whatever these were.
func (m *Machine) ownAgain() {
	m.rewound, m.dirty = false, true
	for _, s := range m.sources {
		if s.below {
			s.below, s.durable = false, -1 // to be committed once the new epoch says it
		}
	}
	m.phase, m.reown, m.Out.Own = owning, true, true
	m.turn++
}

// claims are the frontiers in force that were claimed under this machine's epoch. A segment cannot lower them: within an
// epoch the greater one wins. What an operator orders below them needs a new epoch, or a crash would forget the order.
func (m *Machine) claims() map[dedupe.TopicID]int64 {
	if pos := m.cfg.Store.Position(); pos.FrontierEpoch == m.epoch {
		return pos.Frontiers
	}
	return nil
}

// remade reports whether the log has a frontier of a topic that is none of the task's any more, which is all that is left
// of one that was deleted. Where the job topic then has no frontier of its own it is the one that was made anew; where a
// tier has none, an offset that the group committed may be one of the tier before it.
func (m *Machine) remade() bool {
	if of := m.cfg.Store.Position().Of.Topic; of != (dedupe.TopicID{}) && of != m.cfg.TopicID {
		return true
	}
	for id := range m.carried {
		if !slices.Contains(m.cfg.Known, id) {
			return len(m.cfg.Known) > 0
		}
	}
	return false
}

// recreated stops a partition whose topic is not the one that the log tells of (I16).
func (m *Machine) recreated(s *source) {
	text := fmt.Sprintf("%s/%d: the topic was deleted and made anew since the group read it, so no offset of the group means anything in it; the partition stays paused (recreated). Stop the group, set its offset in the new topic by hand (--to-earliest for all of it) and start it again%s",
		s.topic, m.cfg.Partition, m.cfg.Kinds.InNewTopic(m.cfg.Log))
	if s.tier >= 0 {
		text = fmt.Sprintf("%s/%d: the tier was deleted and made anew; the copies that stood in it are lost, and their jobs with them. The new one is taken up by itself", s.topic, m.cfg.Partition)
	}
	if !s.pauses.has(Recreated) {
		m.note("%s", text)
	}
	m.pauseFor(s, Recreated, text)
	m.pause(s, Restoring, false)
}

// InNewTopic is what an operator must do besides where a job topic was made anew, empty for most: windows of kinds go by the
// offset at which a job entered its topic, and those of the old one mean nothing in the new. log is the topic of the receipts.
func (c Catalog) InNewTopic(log string) string {
	var windowed []string
	for _, k := range c {
		if k.Policy.Window != 0 && !slices.Contains(windowed, k.Name) {
			windowed = append(windowed, k.Name)
		}
	}
	if len(windowed) == 0 {
		return ""
	}
	slices.Sort(windowed)
	return fmt.Sprintf(". Before you start it delete the receipt log too (kafka-topics.sh --delete --topic %s, then waybill setup apply): kinds with a window of their own (%s) tell a new job from an old one by its offset, and would take some of the new topic's for old ones and not run them",
		log, strings.Join(windowed, ", "))
}

// another reports whether the cluster speaks of another topic of that name, and stops the partition if so.
func (m *Machine) another(s *source, st *Start) bool {
	if st.ID == (dedupe.TopicID{}) || st.ID == s.id {
		return false
	}
	m.recreated(s)
	s.astray = false
	return true
}

func (m *Machine) truncated(s *source, text string) {
	m.pauseFor(s, Truncated, text)
	m.note("%s", text)
}

// logBack ends an ownership whose log is not the one that was read: it was deleted and made anew, or lost its tail. What
// the store remembers is not in it, so the task must be owned from scratch; what is settled and not durable goes to the new
// log when this machine is abandoned.
func (m *Machine) logBack(at int64) {
	text := fmt.Sprintf("the receipt log of %s/%d goes on at %d although it was read up to %d: it was deleted and made anew, or lost its end. The receipts before are lost: jobs that are sent again may run again. The task is owned anew",
		m.cfg.Topic, m.cfg.Partition, at, m.cfg.Store.Position().Next)
	m.note("%s", text)
	if m.phase == draining {
		m.Abandon(m.now)
		m.Out.Drained = true
		return
	}
	m.HoldFor(Stopped, text, m.now)
	m.Out.Anew = true
}
