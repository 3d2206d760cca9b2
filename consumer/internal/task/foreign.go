package task

import (
	"fmt"

	"github.com/waybill-dev/waybill/dedupe"
)

// A receipt log may be another cluster's: mirrored, or restored from a copy of its data. Its receipts are true of their
// jobs all the same, but its frontiers are offsets of other partitions, even where ids of topics came along. So no partition
// of the task starts before an operator says where the job topic begins; then the tiers begin where their logs do, and the receipts
// tell which of the copies there are to run.

// foreign reports whether the frontiers in force are another cluster's and no operator has said where to begin in this one.
func (m *Machine) foreign(starts []Start) bool {
	of := m.cfg.Store.Position().Of.Cluster
	if of == "" || m.cfg.Cluster == "" || of == m.cfg.Cluster || m.main.ready {
		return false
	}
	for i := range starts {
		if st := &starts[i]; st.Topic == m.main.topic && st.Committed >= 0 && !st.Ours {
			clear(m.carried)
			for _, s := range m.sources {
				m.pause(s, Foreign, false)
			}
			return false
		}
	}
	return true
}

// abroad stops a partition.
func (m *Machine) abroad(s *source) {
	text := fmt.Sprintf("%s/%d: the receipt log is of cluster %s, and this is cluster %s: it was mirrored or restored, so its receipts hold, but its offsets mean nothing here; the task stays paused (foreign). Stop the group, set its offset of %s by hand (--to-earliest for all of it) and start it again",
		m.cfg.Topic, m.cfg.Partition, m.cfg.Store.Position().Of.Cluster, m.cfg.Cluster, m.cfg.Topic)
	if s == m.main && !s.pauses.has(Foreign) {
		m.note("%s", text)
	}
	m.pauseFor(s, Foreign, text)
	m.pause(s, Restoring, false)
}

// claimable are the frontiers of partitions not read here that a segment must repeat. Those of another cluster are not
// claimed: they would be taken for this one's.
func (m *Machine) claimable() map[dedupe.TopicID]int64 {
	if m.away {
		return nil
	}
	return m.carried
}
