package task

import "math"

// A hot key must cost the others nothing. When the job topic's part of the budget has been full for a while (Limits.Patience), a
// lane that holds more than its share of it, an eighth, and has held some of that all the while, is cut to that share: what is
// cut, and what comes for that lane later, is set aside. Nothing of it stays in memory but its place in the window, so the
// partition flows on; it lies in the log, which is read
// again from there on when the lane has room. Nothing is written for it, and the order of the lane is kept.
//
// A record set aside is not settled, so the frontier stays below it; a new owner reads on from there and finds of all
// others that they are done.

// hotShare is the part of the records and bytes of the job topic that one lane may hold when they are short: one of so many.
const hotShare = 8

// asideAhead is how many times Limits.Ahead a task reads past an unfinished record while some are set aside, which pass for
// unfinished however short their handlers are; if their window takes no more than half of the task's memory.
const asideAhead = 8

// asideSlot is the mark, in a window, of a record that is set aside: above every place in the order of settling.
const asideSlot = math.MaxUint64

// Of a lane of which records are set aside a few may be in memory even when the task is full of other things, which must not keep
// it waiting for good. So only so many lanes may have some set aside: what they may have in memory must stay little.
const (
	few       = 16
	mostAside = 64
)

// aside is what is set aside of the job topic.
type aside struct {
	never   bool // a kind is registered for which it matters what was read when; see enqueue.go
	lanes   map[uint64]*backlog
	reading bool // Out.Reread was given and is not answered
}

// backlog is what is set aside of one lane: all its records from one offset up to, not including, another that are not in
// memory, nor settled.
type backlog struct {
	from, to int64
	held     int  // entries in the lane
	bytes    int  // of those
	open     bool // takes of the records being read again
}

// mayLieAside: what stands for a batch cannot be read again, and what may have been running must not be forgotten.
func (e *Entry) mayLieAside() bool { return e.src.tier < 0 && e.unread == "" && !e.inherited }

// isAside reports whether an entry that is admitted belongs behind what is set aside of its lane.
func (m *Machine) isAside(e *Entry) bool {
	return len(m.aside.lanes) > 0 && e.mayLieAside() && m.aside.lanes[e.lane] != nil
}

// setAside leaves the record of e in the log; e is in no lane.
func (m *Machine) setAside(e *Entry) {
	b := m.aside.lanes[e.lane]
	at := e.env.Offset
	b.from, b.to = min(b.from, at), max(b.to, at+1)
	e.src.win.settle(e.index, asideSlot)
	m.stats.Aside++
}

// inMemory counts an entry that is held.
func (m *Machine) inMemory(e *Entry) {
	e.src.held++
	e.src.bytes += e.size
	m.stats.Held++
	m.stats.HeldBytes += int64(e.size)
}

// outOfMemory counts one that is held no longer.
func (m *Machine) outOfMemory(e *Entry) {
	e.src.held--
	e.src.bytes -= e.size
	m.stats.Held--
	m.stats.HeldBytes -= int64(e.size)
}

// joins counts an entry that comes to its lane, parts one that leaves it, where some of the lane are set aside.
func (m *Machine) joins(e *Entry) {
	if b := m.aside.lanes[e.lane]; b != nil {
		b.held++
		b.bytes += e.size
	}
}

func (m *Machine) parts(e *Entry) {
	if b := m.aside.lanes[e.lane]; b != nil {
		b.held--
		b.bytes -= e.size
	}
}

// cutLanes cuts every lane to its share that holds more, has others to make room for, and still holds a record of the job topic
// from below an offset.
func (m *Machine) cutLanes(records, bytes int, below int64) {
	if m.aside.never {
		return
	}
	for lane, tail := range m.lanes {
		if tail.prev != nil {
			m.cut(lane, tail, max(1, records/hotShare), bytes/hotShare, below)
		}
	}
}

func (m *Machine) cut(lane uint64, tail *Entry, records, bytes int, below int64) {
	if m.main.doubts > 0 && m.main.next < m.main.doubtful && m.before.lanes[lane] < m.mostDoubts() {
		return // what may have been running can still come, and must not be passed over
	}
	n, size, in := 0, 0, stretch{from: math.MaxInt64}
	for e := tail; e != nil; e = e.prev {
		n++
		size += e.size
		in.add(e)
	}
	b := m.aside.lanes[lane]
	if n <= records && size <= bytes || in.from >= below || b == nil && (len(m.aside.lanes) == mostAside || !in.crowdsOut()) {
		return
	}
	for e := tail; m.mayBeCut(e) && (n > records || size > bytes); {
		prev := e.prev
		if e.mayLieAside() {
			if b == nil {
				b = m.newBacklog(e)
			}
			n--
			size -= e.size
			m.unlink(e)
			m.outOfMemory(e)
			m.setAside(e)
			*e = Entry{} // others of its slab live on, and must not keep what it holds
		}
		e = prev
	}
	if b != nil {
		b.held, b.bytes = n, size
	}
}

func (m *Machine) newBacklog(e *Entry) *backlog {
	if m.aside.lanes == nil {
		m.aside.lanes = map[uint64]*backlog{}
	}
	b := &backlog{from: e.env.Offset, to: e.env.Offset}
	m.aside.lanes[e.lane] = b
	return b
}

// mayBeCut reports whether a lane may be cut before e. Not before its head, nor what is with a pool, nor what others of a strict key
// are to wait for.
func (m *Machine) mayBeCut(e *Entry) bool {
	return e.prev != nil && e.state == inLane && !e.behind && (m.strict == nil || !m.strict.knows(e))
}

// stretch is what a lane has of the job topic: n records from one offset to another.
type stretch struct{ from, to, n int64 }

func (s *stretch) add(e *Entry) {
	if e.src.tier < 0 {
		s.from, s.to = min(s.from, e.env.Offset), max(s.to, e.env.Offset)
		s.n++
	}
}

// crowdsOut reports whether other records stand among those, one in sixteen at least. Where a lane is all there is, as under
// ByPartition, reading on would find nothing but more of it.
func (s *stretch) crowdsOut() bool {
	span := s.to - s.from + 1
	return s.n > 0 && s.n <= span-span/16-1
}

// unlink takes an entry out of its lane that is neither its head nor next to be run.
func (m *Machine) unlink(e *Entry) {
	e.prev.next = e.next
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		m.lanes[e.lane] = e.prev
	}
	e.prev, e.next = nil, nil
}

// room reports whether a lane may take a record that was set aside.
func (m *Machine) room(b *backlog) bool {
	records, bytes := m.cfg.Limits.Records, m.budget().of(m.main)
	most, mostBytes := records/hotShare, bytes/hotShare
	if m.main.held >= records+records/2 || m.main.bytes >= bytes {
		most, mostBytes = min(most, few), mostBytes/few
	}
	return b.held == 0 || b.held < most && b.bytes < mostBytes
}

// low reports whether a lane has used up half of its share.
func (m *Machine) low(b *backlog) bool {
	return b.held <= m.cfg.Limits.Records/hotShare/2 && (b.held == 0 || b.bytes <= m.budget().of(m.main)/hotShare/2)
}

// readAside asks for what is set aside when the lanes of some of it have used up half of their share.
func (m *Machine) readAside() {
	a := &m.aside
	if len(a.lanes) == 0 || a.reading || m.phase != running || m.elsewhere() {
		return
	}
	from := int64(math.MaxInt64)
	for _, b := range a.lanes {
		if b.from < from && m.low(b) && m.room(b) {
			from = b.from
		}
	}
	if from < math.MaxInt64 {
		a.reading = true
		m.Out.Reread = &Offset{Topic: m.main.topic, At: from, Epoch: -1}
	}
}

// elsewhere reports whether the job topic is, or may be, another log than the one in which records were set aside.
func (m *Machine) elsewhere() bool {
	return m.main.astray || m.main.pauses.has(Recreated) || m.main.pauses.has(Truncated)
}

// IsAside reports whether the record at an offset of the job topic is set aside.
func (m *Machine) IsAside(offset int64) bool {
	w := &m.main.win
	i := w.find(offset)
	return i < w.size() && w.at(i) == slot{offset, asideSlot}
}

// Reread answers Out.Reread: records are all there are of the job topic, for whoever may read them, from an offset up to, not
// including, next, which is higher. Of those that are not set aside only the offset is looked at.
func (m *Machine) Reread(from int64, records []Record, next, now int64) {
	m.now = now
	m.aside.reading = false
	if m.phase == gone || m.phase == draining || m.elsewhere() {
		return
	}
	for _, b := range m.aside.lanes { // of one that begins below, the first would be skipped
		b.open = b.from >= from
	}
	next = min(next, m.main.next)
	w := &m.main.win
	i := w.find(from)
	for k := range records {
		r := &records[k]
		if r.Offset < from {
			continue
		}
		if r.Offset >= next {
			break
		}
		for i = m.vanish(i, r.Offset); i < w.size() && w.at(i).offset == r.Offset; i++ {
			if w.at(i).seq == asideSlot {
				m.readmit(r, w.base+uint64(i))
			}
		}
	}
	m.vanish(i, next)
	m.passed(next)
	m.lookAtHeads()
	m.balance()
}

// readmit takes back a record that was set aside, if its lane has room for it; else the lane goes on there the next time.
func (m *Machine) readmit(r *Record, index uint64) {
	e := new(Entry)
	m.decode(e, m.main, r)
	if b := m.aside.lanes[e.lane]; b != nil {
		if !b.open || r.Offset < b.from {
			return
		}
		if !m.room(b) {
			b.open, b.from = false, r.Offset
			return
		}
	}
	e.index = index
	m.main.win.settle(index, 0)
	m.stats.Aside--
	m.stats.Again++
	m.inMemory(e)
	e.ready = max(nanos(r.Time), nanos(e.env.At))
	if m.strict != nil {
		m.overtaken(e)
	}
	m.arrive(e)
}

// readTo is up to where a lane's records of the job topic have been taken in.
func (m *Machine) readTo(lane uint64) int64 {
	if b := m.aside.lanes[lane]; b != nil {
		return b.from
	}
	return m.main.next
}

// passed moves the backlogs on that have nothing more below next, and ends those that have nothing more at all.
func (m *Machine) passed(next int64) {
	for lane, b := range m.aside.lanes {
		if b.open {
			b.from = max(b.from, next)
		}
		if b.from >= b.to {
			delete(m.aside.lanes, lane)
		}
	}
}

// Vanished answers Out.Reread when the log begins only at start: what was set aside below is lost to retention.
func (m *Machine) Vanished(start, now int64) {
	m.now = now
	m.aside.reading = false
	if m.phase == gone || m.phase == draining || m.elsewhere() {
		return
	}
	m.vanish(m.main.win.head, start)
	for _, b := range m.aside.lanes {
		b.open = true
	}
	m.passed(start)
	m.balance()
}

// vanish counts what was set aside and is in the log no longer: the slots from the i-th on that are below an offset. It returns
// the index of the first slot that is not.
func (m *Machine) vanish(i int, below int64) int {
	n, s := int64(0), m.main
	for ; i < s.win.size(); i++ {
		at := s.win.at(i)
		if at.offset >= below {
			break
		}
		if at.seq == asideSlot {
			m.seq++
			s.win.set(i, m.seq)
			n++
		}
	}
	if n > 0 {
		s.lost += n
		m.stats.Lost += n
		m.stats.Vanished += n
		m.stats.Aside -= n
		m.cfg.Tally.lost(n)
		m.cfg.Tally.released(n)
		m.note("%s/%d: %d jobs of keys that have more waiting than they may hold in memory were removed by retention before their turn", s.topic, m.cfg.Partition, n)
	}
	return i
}
