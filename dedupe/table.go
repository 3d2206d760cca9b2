package dedupe

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// Table is receipts in memory without a position: what the store in memory is made of, and what a store on disk gathers
// before it writes. It knows each job once, in the bucket of its last append. One goroutine changes it at a time; while
// none does, any may read.
type Table struct {
	m      memory
	weight int
}

// NewTable returns an empty table for expiry buckets of that width, which must be positive.
func NewTable(width time.Duration) *Table {
	return &Table{m: memory{width: int64(width), index: newIndex(), first: 1, open: map[int64]uint32{}}}
}

// NewTableFor is NewTable for about as many jobs as that: its index need not grow on the way there.
func NewTableFor(width time.Duration, jobs int) *Table {
	t := NewTable(width)
	t.m.index.expect(jobs)
	return t
}

// BucketOf is the number of the bucket in which something appended at that time lies: floor(time / width), aligned to the
// epoch of Unix time.
func BucketOf(at time.Time, width time.Duration) int64 {
	return (&memory{width: int64(width)}).number(at)
}

// Len is the number of jobs in the table.
func (t *Table) Len() int { return t.m.jobs }

// Weight grows with what the table takes of memory: 1 for about 85 bytes.
func (t *Table) Weight() int { return t.weight }

// Find returns what the table knows of a job and the job's bucket. The result bytes are the table's, see Store.Get.
func (t *Table) Find(id *job.Identity) (r Receipt, bucket int64, ok bool) {
	s := t.m.find(id, t.m.index.hash(id))
	if s == nil {
		return Receipt{}, 0, false
	}
	b := t.m.bucket(s.seq)
	return b.receipt(s.at), b.number, true
}

// Below is what lies under a table: what is known of a job that the table does not know.
type Below interface {
	Find(id *job.Identity) (r Receipt, bucket int64, ok bool)
}

// Join joins a receipt, appended in that bucket and at that time (Stamp), with what the table, or else what lies below it, knows of the job. What
// was below is in the table from then on. It returns the bucket in which the job was until now, if it was known.
// A receipt that says nothing is ignored; counts is false then.
func (t *Table) Join(r *Receipt, bucket int64, stamp uint32, below Below) (was int64, known, counts bool) {
	if !says(r.State) {
		return 0, false, false
	}
	m := &t.m
	t.weight += 1 + len(r.Result)/64
	h := m.index.hash(&r.Identity)
	if s := m.find(&r.Identity, h); s != nil {
		was = m.bucket(s.seq).number
		to, seq := m.opened(bucket)
		m.update(s, r, to, seq, stamp)
		return was, true, true
	}
	old, was, known := below.Find(&r.Identity)
	if known {
		bucket = max(bucket, was)
	}
	to, seq := m.opened(bucket)
	at := to.add()
	if known {
		joined := Join(old, *r)
		to.set(at, &joined, joined.Result, max(old.At, stamp))
	} else {
		to.set(at, r, r.Result, stamp)
	}
	m.index.insert(h, seq, at, m.alive)
	m.jobs++
	return was, known, true
}

// Fetch brings what Join and Find of these jobs look at first into the cache: it lies anywhere, and one after the other would be waited for.
func (t *Table) Fetch(list []Receipt) (sum uint32) {
	x := &t.m.index
	for i := range list {
		h := x.hash(&list[i].Identity)
		if p := x.part(h); len(p.slots) > 0 {
			sum |= p.slots[p.home(markOf(h))].mark
		}
	}
	return sum
}

// Unfinished calls f with each job that has not ended and its bucket, see Store.Unfinished.
func (t *Table) Unfinished(f func(r Receipt, bucket int64)) {
	for _, b := range t.m.buckets {
		if b == nil {
			continue
		}
		for _, at := range slices.Sorted(maps.Keys(b.unfinished)) {
			f(b.receipt(at), b.number)
		}
	}
}

// Expire forgets the jobs of buckets below that one.
func (t *Table) Expire(limit int64) { t.m.drop(limit) }

// Forget forgets one job.
func (t *Table) Forget(id *job.Identity) { t.m.forget(id) }

// Buckets are the numbers of the buckets that hold jobs, in order.
func (t *Table) Buckets() []int64 {
	var out []int64
	for _, b := range t.m.buckets {
		if b != nil && b.live > 0 {
			out = append(out, b.number)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// NoBucket is below the number of every bucket.
const NoBucket = math.MinInt64
