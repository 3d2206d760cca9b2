package task

// A job whose success is not recorded runs again after a crash, if the frontier had not passed it. So it runs at most
// Limits.Reruns records past the durable frontier (MaxAhead in section 1 of the design), and heads that are further wait. A
// segment is sent before its tick when a quarter of that distance is used up, so that a busy task does not wait for ticks.

// ahead is what waits for the frontier of the job topic.
type ahead struct {
	possible bool // a kind exists whose successes are not recorded
	heads    []*Entry
	stuck    bool  // they wait for an unfinished job, not for a segment
	tick     int64 // the durable frontier at the last tick
}

func (l Limits) withDefaults() Limits {
	if l.Reruns == 0 {
		l.Reruns = DefaultLimits.Reruns
	}
	return l
}

// tooFar reports whether e must wait. The first unsettled record need not for long: where it stands is the next frontier.
func (m *Machine) tooFar(e *Entry) bool {
	return !e.recorded() && e.env.Offset-m.main.base() >= int64(m.cfg.Limits.Reruns)
}

// base is where the next owner would begin.
func (s *source) base() int64 { return max(s.durable, s.from) }

// flushEarly sends a segment when it moves the frontier of the job topic by a quarter of what unrecorded jobs may run ahead.
func (m *Machine) flushEarly() {
	if m.far.possible && m.segment == nil && m.main.frontier(m.seq)-m.main.base() >= int64(m.cfg.Limits.Reruns+3)/4 {
		m.flush()
	}
}

// nearer looks again at the heads that waited and need not any more.
func (m *Machine) nearer() {
	f := &m.far
	if len(f.heads) == 0 || !m.open() {
		return
	}
	waiting := f.heads[:0]
	for _, e := range f.heads {
		if m.tooFar(e) && len(m.aside.lanes) == 0 {
			waiting = append(waiting, e)
		} else {
			m.heads = append(m.heads, e)
		}
	}
	clear(f.heads[len(waiting):])
	f.heads = waiting
	f.stuck = f.stuck && len(waiting) > 0 && m.main.base() == f.tick
	m.lookAtHeads()
}

// stalled is asked at each tick: heads wait, the frontier has not moved since the last one, and no segment would move it.
func (m *Machine) stalled() {
	f, at := &m.far, m.main.base()
	f.stuck = len(f.heads) > 0 && at == f.tick && m.segment == nil && m.main.frontier(m.seq) == at
	f.tick = at
}
