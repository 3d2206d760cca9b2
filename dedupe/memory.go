package dedupe

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// defaultBucket is the width of expiry buckets where the caller names none.
const defaultBucket = time.Hour

// memory is the Store in memory. Receipts lie in fixed 64-byte records without pointers, grouped in buckets by the time of
// their last append, so that the collector has nothing to scan and a bucket is forgotten by dropping it; an index of
// 12-byte slots finds them. About 85 bytes a job, no allocation per receipt. It stops for at most one growth of 1/64 of
// the index at a time.
type memory struct {
	width   int64 // of a bucket, in nanoseconds
	pos     Position
	index   index
	buckets []*bucket // by sequence number, beginning with first; nil when forgotten
	first   uint32
	open    map[int64]uint32 // bucket number -> sequence number of the bucket that takes its new records
	jobs    int
	closed  bool
}

// NewMemory returns an empty Store in memory whose expiry buckets are that wide (0 or less: an hour). Buckets are aligned
// to the epoch of Unix time, so that stores of one width that hold the same receipts forget the same ones. The caller need
// not Close it; the collector does as well.
func NewMemory(bucket time.Duration) Store {
	if bucket <= 0 {
		bucket = defaultBucket
	}
	return &memory{width: int64(bucket), pos: empty(), index: newIndex(), first: 1, open: map[int64]uint32{}}
}

func (m *memory) Position() Position { return m.pos.clone() }
func (m *memory) Len() int           { return m.jobs }

func (m *memory) Close() error {
	*m = memory{width: m.width, pos: m.pos, first: 1, closed: true}
	return nil
}

func (m *memory) Get(id job.Identity) (Receipt, bool) {
	s := m.find(&id, m.index.hash(&id))
	if s == nil {
		return Receipt{}, false
	}
	return m.bucket(s.seq).receipt(s.at), true
}

func (m *memory) Unfinished(f func(Receipt)) {
	for _, b := range m.buckets {
		if b == nil {
			continue
		}
		for _, at := range slices.Sorted(maps.Keys(b.unfinished)) { // what is written of them follows from what was read alone
			f(b.receipt(at))
		}
	}
}

func (m *memory) Apply(e *Entry) error {
	if m.closed {
		return ErrClosed
	}
	if fold, err := m.pos.check(e); !fold {
		return err
	}
	marks := m.pos.advance(e)
	if e.Segment == nil {
		return nil
	}
	for i := range e.Segment.Forget {
		m.forget(&e.Segment.Forget[i])
	}
	number := m.number(e.Time)
	m.join(e.Segment.Receipts, number, Stamp(e.Time))
	if marks {
		m.join(e.Segment.Marks, number, Stamp(e.Time))
	}
	return nil
}

func (m *memory) Expire(before time.Time) { m.drop(m.number(before)) }

// drop forgets the buckets below that number.
func (m *memory) drop(limit int64) {
	maps.DeleteFunc(m.open, func(number int64, _ uint32) bool { return number < limit })
	for i, b := range m.buckets {
		if b != nil && b.number < limit {
			m.jobs -= b.live
			m.buckets[i] = nil
		}
	}
	for len(m.buckets) > 0 && m.buckets[0] == nil {
		m.buckets = m.buckets[1:]
		m.first++
	}
}

// number is the bucket number of a time: floor(nanoseconds / width). Times that do not fit are as near as they can be.
func (m *memory) number(t time.Time) int64 {
	const limit = math.MaxInt64 / int64(time.Second)
	var ns int64
	switch sec := t.Unix(); {
	case sec >= limit:
		ns = math.MaxInt64
	case sec < -limit:
		ns = math.MinInt64
	default:
		ns = t.UnixNano()
	}
	n := ns / m.width
	if ns%m.width < 0 {
		n--
	}
	return n
}

// bucket is nil when the bucket was forgotten.
func (m *memory) bucket(seq uint32) *bucket {
	if i := seq - m.first; i < uint32(len(m.buckets)) {
		return m.buckets[i]
	}
	return nil
}

// alive reports whether an index slot still leads somewhere.
func (m *memory) alive(seq uint32) bool { return m.bucket(seq) != nil }

// opened is the bucket that takes new records of that number.
func (m *memory) opened(number int64) (*bucket, uint32) {
	if seq, ok := m.open[number]; ok {
		if b := m.bucket(seq); !b.full() {
			return b, seq
		}
	}
	b := &bucket{number: number}
	m.buckets = append(m.buckets, b)
	seq := m.first + uint32(len(m.buckets)-1)
	m.open[number] = seq
	return b, seq
}

// find returns the index slot of a job, nil when there is none. The slot is valid until the index changes.
func (m *memory) find(id *job.Identity, h uint64) *slot {
	part, mark := m.index.part(h), markOf(h)
	if len(part.slots) == 0 {
		return nil
	}
	mask := len(part.slots) - 1
	for i := part.home(mark); ; i = (i + 1) & mask {
		s := &part.slots[i]
		if s.seq == 0 {
			return nil
		}
		if s.mark == mark {
			if b := m.bucket(s.seq); b != nil && b.at(s.at).id == *id {
				return s
			}
		}
	}
}

// forgotten is the sequence number of no bucket: it makes a slot dead.
const forgotten = math.MaxUint32

func (m *memory) forget(id *job.Identity) {
	if s := m.find(id, m.index.hash(id)); s != nil {
		m.bucket(s.seq).release(s.at)
		s.seq = forgotten
		m.jobs--
	}
}

func (m *memory) join(list []Receipt, number int64, stamp uint32) {
	if len(list) == 0 {
		return
	}
	to, seq := m.opened(number)
	for i := range list {
		r := &list[i]
		if !says(r.State) {
			continue
		}
		if to.full() {
			to, seq = m.opened(number)
		}
		h := m.index.hash(&r.Identity)
		s := m.find(&r.Identity, h)
		if s == nil {
			at := to.add()
			to.set(at, r, r.Result, stamp)
			m.index.insert(h, seq, at, m.alive)
			m.jobs++
			continue
		}
		m.update(s, r, to, seq, stamp)
	}
}

// update joins r with what s leads to. The bucket of a job is that of its last append, whichever receipt wins.
func (m *memory) update(s *slot, r *Receipt, to *bucket, seq, stamp uint32) {
	from := m.bucket(s.seq)
	old := from.at(s.at)
	was := old.receipt()
	was.Result = from.result(s.at)
	now := Join(was, *r)
	wins := r.rank().above(was.rank())
	stamp = max(stamp, was.At)
	if from.number >= to.number {
		if old.stamp = stamp; wins {
			from.set(s.at, r, now.Result, stamp)
		} else if !same(now.Result, was.Result) {
			from.keep(s.at, now.Result)
		}
		return
	}
	at := to.add()
	if wins {
		to.set(at, r, now.Result, stamp)
	} else {
		*to.at(at) = *old
		to.at(at).stamp = stamp
		to.keep(at, now.Result)
		to.mark(at)
	}
	from.release(s.at)
	s.seq, s.at = seq, at
}

// same reports whether b is a itself, which need not be copied.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// Stamp is a time as Receipt.At has it.
func Stamp(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }
