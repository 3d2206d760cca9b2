package dedupe

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"
)

// ref is a record on its way to its place in the order.
type ref struct {
	prefix uint64 // of the identity
	bucket uint32 // which of the table's
	at     uint32 // in it
}

const (
	binSize = 4  // refs in a bin, as identities usually are: hashes
	ahead   = 16 // records that are fetched into the cache together
)

// Sorted yields the jobs of one bucket in the order of their identities. The receipt is the iterator's: it is overwritten
// by the next, its result is the table's.
func (t *Table) Sorted(bucket int64) iter.Seq[*Receipt] {
	refs := t.m.sorted(bucket)
	return func(yield func(*Receipt) bool) {
		var r Receipt
		for i := range refs {
			if i%ahead == 0 { // they lie anywhere: wait for many at a time
				t.m.fetch(refs[i:min(i+ahead, len(refs))])
			}
			t.m.buckets[refs[i].bucket].read(&r, refs[i].at)
			if !yield(&r) {
				return
			}
		}
	}
}

func (m *memory) fetch(refs []ref) (sum State) {
	for i := range refs {
		sum |= m.buckets[refs[i].bucket].at(refs[i].at).state
	}
	return sum
}

// sorted are the records of the buckets of one number in order. They are dealt into bins by the first bits of their
// identities, which leaves little to compare.
func (m *memory) sorted(bucket int64) []ref {
	live := 0
	m.each(bucket, func(int, uint32, *record) { live++ })
	shift := 64 - max(bits.Len(uint(live/binSize)), 1)
	ends := make([]uint32, 1<<(64-shift)+1)
	m.each(bucket, func(_ int, _ uint32, r *record) { ends[binary.BigEndian.Uint64(r.id[:8])>>shift+1]++ })
	for i := 1; i < len(ends); i++ {
		ends[i] += ends[i-1]
	}
	refs := make([]ref, live)
	m.each(bucket, func(b int, at uint32, r *record) {
		prefix := binary.BigEndian.Uint64(r.id[:8])
		to := &ends[prefix>>shift]
		refs[*to] = ref{prefix, uint32(b), at}
		*to++
	})
	from := uint32(0)
	for _, to := range ends[:len(ends)-1] {
		if to-from > 1 {
			m.order(refs[from:to])
		}
		from = to
	}
	return refs
}

// each calls f with the records of the buckets of that number and where they are.
func (m *memory) each(bucket int64, f func(b int, at uint32, r *record)) {
	for i, b := range m.buckets {
		if b == nil || b.number != bucket {
			continue
		}
		at := uint32(0)
		for _, c := range b.chunks {
			for k := range c {
				if c[k].state != StateNone {
					f(i, at, &c[k])
				}
				at++
			}
		}
	}
}

// order sorts a bin.
func (m *memory) order(refs []ref) {
	if len(refs) > 8*binSize { // identities that somebody has chosen
		slices.SortFunc(refs, m.compare)
		return
	}
	for i := 1; i < len(refs); i++ {
		for k := i; k > 0 && m.compare(refs[k], refs[k-1]) < 0; k-- {
			refs[k], refs[k-1] = refs[k-1], refs[k]
		}
	}
}

func (m *memory) compare(a, b ref) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	return bytes.Compare(m.buckets[a.bucket].at(a.at).id[8:], m.buckets[b.bucket].at(b.at).id[8:])
}
