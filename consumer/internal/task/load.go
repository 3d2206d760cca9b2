package task

// Load is what a task holds and what lies before it, for metrics. Lag is every record of the job topic and its tiers that
// is not settled, in three parts.
type Load struct {
	Topic     string
	Partition int32
	Phase     string
	Held      int64 // records in memory
	HeldBytes int64
	Receipts  int
	Restore   int64 // records of the log still to be read before the task can run
	Ready     int64 // lag: runs, is queued, or could be as soon as a worker is free
	Waiting   int64 // lag: not due
	Blocked   int64 // lag: behind another job of its key, or in a partition that is paused for another reason than its budget
	Paused    []Paused
}

// Paused is why one partition of a task is paused.
type Paused struct {
	Topic   string
	Reasons []Reason
}

// Reasons lists them all, in the order of their constants.
func Reasons() []Reason { return enumerate(reasons) }

// Phases lists the names of the phases of a task that is not gone.
func Phases() []string { return phaseText[:gone] }

// Load describes the machine as it is now. end is the offset after the last record of the task's partition of a topic, as
// far as it is known: 0 when it is not.
func (m *Machine) Load(end func(topic string) int64) Load {
	l := Load{Topic: m.cfg.Topic, Partition: m.cfg.Partition, Phase: phaseText[m.phase], Held: m.stats.Held, HeldBytes: m.stats.HeldBytes,
		Receipts: m.cfg.Store.Len()}
	if m.phase == restoring {
		l.Restore = max(0, m.epoch+1-m.cfg.Store.Position().Next)
	}
	for _, s := range m.sources {
		l.Waiting += int64(s.wait.len())
	}
	l.Ready = int64(m.offered + m.writing)
	l.Blocked = l.Held + m.stats.Aside - l.Waiting - l.Ready
	for _, s := range m.sources {
		l.unread(s, end(s.topic))
		if reasons := s.pauses.list(); len(reasons) > 0 {
			p := Paused{Topic: s.topic}
			for _, r := range reasons {
				p.Reasons = append(p.Reasons, r.Reason)
			}
			l.Paused = append(l.Paused, p)
		}
	}
	return l
}

// unread adds what lies in a partition and was not read. Records of a tier stand in the order in which they were appended,
// so behind one that is not due there is rarely one that is.
func (l *Load) unread(s *source, end int64) {
	n := end - s.next
	switch {
	case !s.ready || n <= 0:
	case s.pauses.bits&^(1<<Backpressure|1<<NotDue) != 0:
		l.Blocked += n
	case s.tier >= 0 && s.wait.len() > 0:
		l.Waiting += n
	default:
		l.Ready += n
	}
}
