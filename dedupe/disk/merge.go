package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-dev/waybill/job"
)

var bg = context.Background() // Pebble looks at it for tracing only

const (
	fanIn   = 16   // small segments in a row that become one
	settled = 2    // rounds after which a bucket that is not the newest is merged however little there is
	yield   = 4096 // receipts merged between looks at what is more urgent
)

// mergeable are the segments that are to be made one now, if there is room for that.
func (db *DB) mergeable() []*segment {
	db.mu.Lock()
	defer db.mu.Unlock()
	run := db.cfg.pick(db.segs, db.limit.Load(), db.round.Load())
	if db.cfg.short(uint64(mergeBytes(run))) {
		return nil
	}
	return run
}

// pick chooses segments to be made one, of one bucket and next to each other in order, so that what is newest stays newest; nil: none.
// limit is the bucket below which all is forgotten soon, round the newest one.
//
// The front makes many segments cheap to look into, and to write each receipt once more is not: those of a whole flush are left as they
// are until there is a crowd. Then the youngest bucket comes first, where what is merged stays longest.
func (cfg Config) pick(segs []*segment, limit int64, round uint64) []*segment {
	size := cfg.FlushAt
	if len(segs) > cfg.Crowd {
		size = cfg.MergeAt
	}
	for to := len(segs); to > 0; {
		from := to
		for from > 0 && segs[from-1].bucket == segs[to-1].bucket {
			from--
		}
		bucket, newest := segs[from:to], to == len(segs)
		to = from
		if bucket[0].bucket < limit { // what is hidden must not be mixed with what is not
			break
		}
		quiet := !newest && bucket[len(bucket)-1].order+settled < round
		if run := small(bucket, size, quiet); run != nil {
			return run
		}
	}
	return nil
}

// small is the first run of segments below half of size that is long or large enough, or, when nothing more is to come, any two that fit
// together.
func small(bucket []*segment, size int, quiet bool) []*segment {
	for i := 0; i < len(bucket); {
		sum, j := 0, i
		for j < len(bucket) && bucket[j].count < size/2 && sum < size && j-i < 2*fanIn {
			sum += bucket[j].count
			j++
		}
		if j-i >= fanIn || j-i > 1 && (sum >= size || quiet) {
			return bucket[i:j:j]
		}
		i = max(j, i+1)
	}
	return nil
}

func mergeBytes(run []*segment) (n int) {
	for _, s := range run {
		n += 100 * s.count
	}
	return n
}

// merge makes one segment of several. Of a job that has receipts in more than one of them the newest stays; tasks that were
// forgotten are left out. In between it does what is more urgent.
func (db *DB) merge(run []*segment) (err error) {
	w := &db.merger
	alive := db.alive()
	var m merging
	defer func() { err = errors.Join(err, guard(m.close)) }()
	if err := guard(func() error { return m.open(db.peb, run) }); err != nil {
		return err
	}
	if err := w.begin(run[0].bucket, lowest(run), run[len(run)-1].order); err != nil {
		return err
	}
	for n := 1; ; n++ {
		ok := false
		if err := guard(func() (err error) { ok, err = m.next(); return err }); err != nil {
			return fmt.Errorf("merge: %w", err)
		}
		if !ok {
			break
		}
		num, id := split(m.key)
		if forgotten, ok := alive[num]; !ok || len(forgotten) > 0 && run[len(run)-1-m.heap[0].age].order <= forgotten[id].Round {
			continue
		}
		ended, err := hasEnded(m.value)
		if err != nil {
			return err
		}
		if err := w.add(num, &id, m.value, ended); err != nil {
			return err
		}
		if n%yield == 0 {
			w.give()
			if err := db.flushBetween(yield); err != nil {
				return err
			}
			w.take()
		}
	}
	if w.seg.count == 0 {
		w.abandon()
	} else if err := w.end(); err != nil {
		return err
	}
	return db.ingest(w, false, run, nil)
}

func lowest(run []*segment) uint64 {
	low := run[0].low
	for _, s := range run {
		low = min(low, s.low)
	}
	return low
}

// alive are the tasks that are not forgotten, each with the jobs that it was ordered to forget. Only orders that are durable count: a
// crash may take back the others, until the log gives them again.
func (db *DB) alive() map[uint32]map[job.Identity]oblivion {
	db.mu.Lock()
	defer db.mu.Unlock()
	out := map[uint32]map[job.Identity]oblivion{}
	for _, t := range db.tasks {
		t.mu.Lock()
		out[t.num] = t.durable.forgotten
		t.mu.Unlock()
	}
	return out
}

// merging reads the receipts of several segments in order. Of equal keys the newest segment's comes first.
type merging struct {
	heap  []source
	its   []*pebble.Iterator
	key   []byte // without number and kind; valid until next
	value []byte
	last  []byte
	begun bool
}

type source struct {
	it  *pebble.Iterator
	key []byte // without number and kind
	age int    // 0: the newest
}

func (m *merging) open(peb *pebble.DB, run []*segment) error {
	for i := len(run) - 1; i >= 0; i-- {
		it, err := peb.NewIter(&pebble.IterOptions{LowerBound: prefix(run[i].no, kindReceipt), UpperBound: prefix(run[i].no, kindReceipt+1)})
		if err != nil {
			return err
		}
		m.its = append(m.its, it)
		if it.First() {
			m.heap = append(m.heap, source{it, it.Key()[5:], len(run) - 1 - i})
		} else if err := it.Error(); err != nil {
			return err
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return nil
}

func (m *merging) close() (err error) {
	for _, it := range m.its {
		err = errors.Join(err, it.Close())
	}
	m.its, m.heap = nil, nil
	return err
}

// next moves to the next job.
func (m *merging) next() (bool, error) {
	if m.begun {
		m.last = append(m.last[:0], m.key...)
		for len(m.heap) > 0 && bytes.Equal(m.heap[0].key, m.last) { // older receipts of the same job follow
			if err := m.pop(); err != nil {
				return false, err
			}
		}
	}
	m.begun = true
	if len(m.heap) == 0 {
		return false, nil
	}
	top := &m.heap[0]
	m.key, m.value = top.key, top.it.Value()
	if len(m.key) != receiptKey-5 || len(m.value) == 0 {
		return false, errValue
	}
	return true, nil
}

// pop moves the first source on.
func (m *merging) pop() error {
	top := &m.heap[0]
	if top.it.Next() {
		top.key = top.it.Key()[5:]
	} else {
		if err := top.it.Error(); err != nil {
			return err
		}
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.sink(0)
	return nil
}

func (m *merging) sink(i int) {
	for {
		c := 2*i + 1
		if c >= len(m.heap) {
			return
		}
		if c+1 < len(m.heap) && m.before(c+1, c) {
			c++
		}
		if !m.before(c, i) {
			return
		}
		m.heap[c], m.heap[i] = m.heap[i], m.heap[c]
		i = c
	}
}

func (m *merging) before(i, j int) bool {
	c := bytes.Compare(m.heap[i].key, m.heap[j].key)
	return c < 0 || c == 0 && m.heap[i].age < m.heap[j].age
}
