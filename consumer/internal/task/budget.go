package task

import "time"

// Limits bound what one task holds. All are hard floors of memory, not hints: a batch that was on its way when one was
// reached is still taken.
type Limits struct {
	Records int // unfinished records of the job topic
	Tier    int // unfinished records of each tier, waiting ones included
	Bytes   int // of all of them, with overhead
	Ahead   int // records above an unfinished one
	Reruns  int // how far past the durable frontier a job runs whose success is not recorded; 0 means 10,000

	// Grace is how long the job topic may pass Records, up to twice, or what tiers have left it of Bytes, up to half of all,
	// before it is paused: whoever fetches waits meanwhile.
	Grace time.Duration

	// Patience is how long the job topic may be at its limit, or paused for it, and a lane at the same entry all the while or those
	// it held behind that, before the lane is cut if it holds more than its share (aside.go): what a task has through in less must
	// not be read twice.
	Patience time.Duration
}

// DefaultLimits suit one task of a few dozen: 256 MiB are some 16 of them full.
var DefaultLimits = Limits{Records: 10_000, Tier: 12_000, Bytes: 16 << 20, Ahead: 200_000, Reruns: 10_000}

// Intake is how many records of one partition may be unfinished in memory: Grace lets Records be passed up to twice.
func (l Limits) Intake() int64 { return int64(max(2*l.Records, l.Tier)) }

// budget is how many bytes each partition may hold. A quarter of the task's bytes is the job topic's and a quarter is dealt
// out evenly among the tiers, and no other partition can take that: slow fresh jobs do not keep retries from being read, nor
// do retries hold up the fresh ones. The other half is for whichever partition needs it, since mostly one does; but not for
// jobs of a tier that are not due: they lie as well in the tier.
type budget struct {
	main, tier int // floors
	common     int // what is left of the shared half
}

func (m *Machine) budget() budget {
	all := m.cfg.Limits.Bytes
	b := budget{main: all / 4, common: all / 2}
	if tiers := len(m.sources) - 1; tiers > 0 {
		b.tier = all / 4 / tiers
	} else {
		b.common += all / 4
	}
	for _, s := range m.sources {
		b.common -= max(0, s.bytes-b.floor(s))
	}
	return b
}

func (b budget) floor(s *source) int {
	if s.tier < 0 {
		return b.main
	}
	return b.tier
}

// of is the budget of s: its floor, what it has of the shared half, and what nobody has.
func (b budget) of(s *source) int {
	return b.floor(s) + max(0, b.common+max(0, s.bytes-b.floor(s)))
}

// balance sets and lifts the reasons that follow from how much is held, with hysteresis: a partition paused for its budget
// flows again when half of it is free, since each pause throws away what the client had fetched.
func (m *Machine) balance() {
	l, b := &m.cfg.Limits, m.budget()
	for _, s := range m.sources {
		if !s.ready {
			continue
		}
		records, bytes := l.Records, b.of(s)
		if s.tier >= 0 {
			records = l.Tier
			s.wait.approach(m.horizon())
			m.hysteresis(s, NotDue, s.wait.far.Len(), share(records), s.wait.bytes, share(b.tier))
		}
		m.backpressure(s, records, bytes)
		n, most := s.win.len(), l.Ahead
		if s == m.main && len(m.aside.lanes) > 0 {
			most *= asideAhead
		} else if s == m.main && m.far.stuck {
			n = max(n, most)
		}
		m.hysteresis(s, Ahead, n, most, s.win.bytes(), max(l.Bytes/2, slotBytes*l.Ahead+1))
	}
	m.balanceWrites()
	m.balanceKeys()
	m.readAside()
}

// share is how much of a tier's limit may wait for later than the horizon. The rest is for what is about to be due: a
// fetch wait's worth of it is read while the waiting ones still take their part.
func share(limit int) int { return max(1, limit-limit/4) }

// hysteresis pauses s at either limit and lets it flow when it is at most at half of both.
func (m *Machine) hysteresis(s *source, r Reason, records, mostRecords, bytes, mostBytes int) {
	switch {
	case records >= mostRecords || bytes >= mostBytes:
		m.pause(s, r, true)
	case records <= mostRecords/2 && bytes <= mostBytes/2:
		m.pause(s, r, false)
	}
}

// backpressure is hysteresis for what a partition holds. A pause costs a fetch that is thrown away, and another fetch wait
// until the client asks for the partition again, so a task that is quick to finish what it holds is not paused for it:
// Crowded keeps the fetching back that long. A fetch of a tier can be larger than all that tiers may share, and leave the job
// topic its floor, which is less than one fetch of its own and what is still held of the one before: no reason to pause either.
func (m *Machine) backpressure(s *source, records, bytes int) {
	if s == m.main {
		full := (s.held >= records || s.bytes >= bytes) && s.held < 2*records && s.bytes < max(bytes, m.cfg.Limits.Bytes/2)
		switch {
		case !full:
			s.full = 0
		case s.full == 0:
			s.full = m.now
		}
		m.crowded = s.pauses.bits == 0 && (s.held > records/2 || s.bytes > bytes/2)
		if full && m.now-s.full < int64(m.cfg.Limits.Grace) {
			return
		}
		m.makeRoom(records, bytes)
		bytes = max(bytes/4, bytes-max(0, s.win.bytes()-slotBytes*m.cfg.Limits.Ahead))
	}
	m.hysteresis(s, Backpressure, s.held, records, s.bytes, bytes)
}

// makeRoom cuts lanes once the job topic has been short of room for as long as Limits.Patience: of those, whose heads were held
// all the while.
func (m *Machine) makeRoom(records, bytes int) {
	s := m.main
	if s.held < records && s.bytes < bytes && !s.pauses.has(Backpressure) {
		s.short = 0
		return
	}
	if s.short == 0 {
		s.short, s.shortAt = m.now, s.next
	}
	if m.now-s.short >= int64(m.cfg.Limits.Patience) {
		m.cutLanes(records, bytes, s.shortAt)
		s.short, s.shortAt = m.now, s.next
	}
}

// Crowded reports whether the task holds more than half of what it may of its job topic, which flows. What it finishes
// soon makes room; else the topic will be paused.
func (m *Machine) Crowded() bool { return m.crowded }

// Held is how many unfinished records of the job topic the task holds.
func (m *Machine) Held() int { return m.main.held }

// horizon is up to when what waits is about to be due.
func (m *Machine) horizon() int64 { return m.now + int64(m.cfg.ReadAhead) }

// balanceWrites pauses everything while a write is refused: nothing above it can be committed, so reading on only
// lengthens what a crash would rerun.
func (m *Machine) balanceWrites() {
	stuck := m.refused > 0 || m.segment != nil && m.segment.tries > 0
	if !stuck {
		m.refusal = ""
	}
	for _, s := range m.sources {
		m.pause(s, UnackedWrites, stuck)
		s.pauses.explain(UnackedWrites, m.refusal)
	}
}
