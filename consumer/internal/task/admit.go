package task

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// slab is how many entries share an allocation: enough to make it cheap, few enough that one slow job does not keep the
// memory of many finished ones.
const slab = 32

// slabBytes bounds what the values of a slab's entries are together, so that this holds for large ones too.
const slabBytes = 64 << 10

// slabOf is how many entries of records, which are not empty, share an allocation.
func slabOf(records []Record) (n int) {
	bytes := 0
	for n < min(slab, len(records)) {
		if bytes += len(records[n].Value); n > 0 && bytes > slabBytes {
			break
		}
		n++
	}
	return n
}

// Records admits a fetched batch of one topic. A batch that begins below what was read is cut, not trusted: the client
// refetches after a pause.
func (m *Machine) Records(topic string, records []Record, now int64) {
	m.now = now
	s := m.byTopic[topic]
	if s == nil || !s.ready || s.astray || s.pauses.has(Truncated) || m.phase == gone || m.phase == draining {
		return
	}
	s.wait.approach(m.horizon())
	var block []Entry
	read := m.stats.Read
	for i := range records {
		r := &records[i]
		if r.Offset < s.next {
			continue
		}
		s.leaders.see(r.Offset, r.LeaderEpoch)
		if len(block) == 0 {
			block = make([]Entry, slabOf(records[i:]))
		}
		if m.admit(&block[0], s, r) {
			block = block[1:]
		} else {
			block[0] = Entry{}
		}
	}
	m.cfg.Tally.read(s, m.stats.Read-read)
	m.lookAtHeads()
	m.balance()
}

// decode makes an entry of a record. What can be said of it once and for all is said here, where its memory is at hand.
func (m *Machine) decode(e *Entry, s *source, r *Record) {
	e.m, e.src, e.size = m, s, sizeOf(r)
	raw := job.Raw{Topic: s.topic, TopicID: s.idText, Partition: m.cfg.Partition, Offset: r.Offset, Time: r.Time,
		Key: r.Key, Value: r.Value, Native: r.Native, Strings: &m.strings}
	trust := job.TrustJob
	if s.tier >= 0 {
		trust = job.TrustCopy
	}
	job.Decode(&e.env, &raw, r.Headers, trust, m.cfg.DefaultKind)
	e.Kind = m.cfg.Kinds[e.env.WireKind]
	if e.Kind != nil {
		e.env.Identify(e.Kind.Name, e.Kind.FirstName)
	} else {
		e.env.Identify(e.env.WireKind, e.env.WireKind)
	}
	e.lane = m.laneOf(e)
	e.simple = m.isSimple(e)
}

// isSimple reports whether nothing in the record itself can keep the job from running, now or later, when its turn has come.
func (m *Machine) isSimple(e *Entry) bool {
	env := &e.env
	return e.Kind != nil && !e.Kind.Policy.Guarantee.Marked() && env.Version <= e.Kind.Version && env.Fault == "" && env.Expires.IsZero() &&
		(env.At.IsZero() || e.src.tier >= 0 && nanos(env.At) <= m.now)
}

// admit takes a record in and reports whether e stands for it from now on; else it was set aside.
func (m *Machine) admit(e *Entry, s *source, r *Record) (kept bool) {
	m.decode(e, s, r)
	s.next = r.Offset + 1
	e.index = s.win.push(r.Offset)
	m.stats.read(e.size)
	e.ready = max(nanos(r.Time), nanos(e.env.At))
	if s.tier < 0 {
		m.seeRoute(r)
	}
	if s.tier >= 0 && e.env.Fault == "" && e.unread == "" {
		due := dueAt(&e.env, r.Time, s.delay)
		e.inherited = m.inherited(e, due)
		m.inMemory(e)
		if e.ready = due; due > m.now {
			e.state = waitingDue
			s.wait.push(due, m.horizon(), e)
			if m.strict != nil {
				m.seen(e)
			}
		} else {
			m.arrive(e)
		}
		return true
	}
	e.inherited = m.inherited(e, 0)
	if m.isAside(e) {
		m.setAside(e)
		return false
	}
	m.spans.hold(e)
	m.inMemory(e)
	m.arrive(e)
	return true
}

// arrive puts a due entry into its lane for the first time.
func (m *Machine) arrive(e *Entry) {
	if m.strict != nil {
		m.seen(e)
		m.enters(e)
	}
	m.enqueue(e)
}

// seeRoute counts a record whose key another partition's task orders and remembers: its producer partitions in another way,
// or the topic had another number of partitions then.
func (m *Machine) seeRoute(r *Record) {
	want := job.PartitionOf(r.Key, m.cfg.Partitions)
	if want < 0 || want == m.cfg.Partition {
		return
	}
	m.cfg.Tally.misrouted()
	if m.stats.Misrouted++; m.stats.Misrouted == 1 {
		m.note("%s/%d: the key of the record at offset %d belongs in partition %d (murmur2 of the key, modulo %d). Such records are worked on and counted (misrouted), but neither order nor dedupe holds between them and those of their partition: have their producer use the partitioner of Kafka's Java client",
			m.cfg.Topic, m.cfg.Partition, r.Offset, want, m.cfg.Partitions)
	}
}

// hopWorth is what a hop costs in time: a copy that comes due by less than that before its instant waits for it in memory.
const hopWorth = int64(time.Second)

// dueAt is when a copy may be looked at: append time plus its delay, which is never longer than the tier's. Append times
// are whole milliseconds of another clock, so the last hop of a job with an instant (At) may end a little before it.
func dueAt(env *job.Envelope, appended time.Time, tier time.Duration) int64 {
	due := nanos(appended.Add(min(env.Delay, tier)))
	if at := nanos(env.At); !env.At.IsZero() && at > due && at-due < hopWorth {
		due = at
	}
	return due
}

// nanos is t in nanoseconds of Unix time, as near as they can be for years that do not fit: Expires in the year 9999 is far
// away, not in the past.
func nanos(t time.Time) int64 {
	switch {
	case t.Before(firstNano):
		return math.MinInt64
	case t.After(lastNano):
		return math.MaxInt64
	}
	return t.UnixNano()
}

var firstNano, lastNano = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

// laneOf is what the entry waits behind: its key, its partition or only its own identity. The partition's lane is 0;
// a hash that comes out as 0 shares it, which costs parallelism and nothing else.
func (m *Machine) laneOf(e *Entry) uint64 {
	if e.Kind != nil && e.env.Fault == "" {
		switch e.Kind.Policy.Order {
		case job.ByPartition:
			return 0
		case job.ByKey, job.ByKeyStrict:
			if e.env.Key != nil {
				return job.KeyHash(e.env.Key)
			}
		}
	}
	return identityLane(e.env.Identity)
}

func identityLane(id job.Identity) uint64 {
	return binary.BigEndian.Uint64(id[:])
}

// enqueue puts a due entry at the end of its lane and looks at it if it is the head.
func (m *Machine) enqueue(e *Entry) {
	tail := m.lanes[e.lane]
	m.lanes[e.lane] = e
	if len(m.aside.lanes) > 0 {
		m.joins(e)
	}
	if tail != nil {
		e.state = inLane
		tail.next, e.prev = e, tail
		return
	}
	m.heads = append(m.heads, e)
}

// lookAtHeads decides on every new head. A list and not recursion: a lane may hold thousands of duplicates in a row.
func (m *Machine) lookAtHeads() {
	for i := 0; i < len(m.heads); i++ {
		m.decide(m.heads[i])
	}
	clear(m.heads)
	m.heads = m.heads[:0]
}

// leave takes the head out of its lane; the next one becomes head. One that was chained is with a pool already.
func (m *Machine) leave(e *Entry) {
	next := e.next
	e.next = nil
	if len(m.aside.lanes) > 0 {
		m.parts(e)
	}
	if next == nil {
		delete(m.lanes, e.lane)
		return
	}
	if next.prev = nil; next.behind {
		next.behind = false
		return
	}
	m.heads = append(m.heads, next)
}

// release moves what is due from the delay queues into the lanes.
func (m *Machine) release() {
	for _, s := range m.sources[1:] {
		s.wait.approach(m.horizon())
		for e := s.wait.pop(m.now); e != nil; e = s.wait.pop(m.now) {
			if m.strict != nil {
				m.enters(e)
			}
			m.enqueue(e)
		}
	}
}

// unpark looks again at the heads that waited for the machine to run.
func (m *Machine) unpark() {
	m.heads = append(m.heads, m.parked...)
	m.parked = nil
}
