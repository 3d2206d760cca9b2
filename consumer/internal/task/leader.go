package task

import "fmt"

// A log may lose its end: a leader dies, and one takes over that did not have all of it. What is produced then gets offsets
// that others had, and whoever read those would pass over as many new records without a word (I16). Leader epochs tell: each
// record bears that of the leader which took it, and a broker says where its log of an epoch ends. For a partition that is read
// the client asks whenever the leader changes; Diverged is what it found out. For one that begins the group's commit names the
// epoch up to which it was read, and the answer stands in Start.

// unknownEpoch stands for a leader epoch that nobody told.
const unknownEpoch = -1

// leaders are the leader epochs of the records read of a partition and not below its frontier; they only rise. Mostly it is one.
type leaders []leadership

// leadership says that records from an offset on were taken by the leader of an epoch, up to the next leadership.
type leadership struct {
	from  int64
	epoch int32
}

// see notes the epoch of a record.
func (l *leaders) see(offset int64, epoch int32) {
	if n := len(*l); epoch >= 0 && (n == 0 || epoch > (*l)[n-1].epoch) {
		*l = append(*l, leadership{offset, epoch})
	}
}

// before is the epoch of the record before an offset.
func (l leaders) before(offset int64) int32 {
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].from < offset {
			return l[i].epoch
		}
	}
	return unknownEpoch
}

// below forgets what is not needed for offsets from at on.
func (l *leaders) below(at int64) {
	for len(*l) > 1 && (*l)[1].from < at {
		*l = (*l)[1:]
	}
}

// cut is from where on the log is another than the one that was committed: it ended there, and may have grown again. -1: it is not
// known to. Nothing can be said, and nothing be passed over, where retention has removed all of it.
func (st *Start) cut() int64 {
	if st.Ours && st.LeaderEpoch >= 0 && st.EpochEnd >= 0 && st.EpochEnd < st.Committed && st.LogStart < st.Committed {
		return st.EpochEnd
	}
	return -1
}

// startAt is where the client begins to fetch for a partition that begins at an offset.
func (s *source) startAt(at int64, st *Start) Offset {
	if !st.Ours || st.LeaderEpoch < 0 || st.Committed != at {
		return Offset{s.topic, at, unknownEpoch}
	}
	s.leaders.see(at-1, st.LeaderEpoch)
	return Offset{s.topic, at, st.LeaderEpoch}
}

// Diverged tells that the log of a partition is another from an offset on, below the place it was read to: it lost its end there, and may
// have grown again since. The partition stops, unless retention has removed all that could tell.
func (m *Machine) Diverged(topic string, at, now int64) {
	m.now = now
	s := m.byTopic[topic]
	if s == nil || !s.ready || s.pauses.has(Truncated) || at >= s.next {
		return
	}
	s.cut = at + 1
	m.goneAstray(s)
}

// cutOff stops a partition whose log was read up to an offset and lost its end below it.
func (m *Machine) cutOff(s *source, read, at int64) {
	m.truncated(s, fmt.Sprintf("%s/%d was read up to %d, but lost its end from %d on (a leader without it took over) and went on: what stands there now is other records, and some of them were never read. The partition stays paused (truncated); stop the group and set its offset by hand, to %d for all of them: jobs that have a receipt are not run again",
		s.topic, m.cfg.Partition, read, at, at))
}
