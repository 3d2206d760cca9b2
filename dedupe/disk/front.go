package disk

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// front answers most questions for a job that nobody knows with one look at memory a generation, instead of three a segment:
// blocked Bloom filters of all that segments hold, 1.25 bytes a receipt. A generation takes the receipts of some rounds, and goes when
// nothing of those rounds is left. It is not on disk: after Open the worker reads the receipts once to make it, and until then the
// segments' own filters answer.
type front struct {
	gens atomic.Pointer[[]*generation] // nil: not complete

	// the worker's
	all      []*generation
	complete bool
}

// generation is a Bloom filter in blocks of 256 bits: a look at one touches one cache line.
type generation struct {
	words    []uint64 // read by any goroutine while the worker sets bits
	room     int      // receipts that still fit
	from, to uint64   // the rounds it has receipts of
}

const (
	firstGeneration = 1 << 18 // receipts; each next one takes twice as many
	lastGeneration  = 1 << 22
	bitsPerReceipt  = 10
	blockWords      = 4
)

func newGeneration(receipts int, round uint64) *generation {
	blocks := receipts*bitsPerReceipt/(64*blockWords) + 1
	return &generation{words: make([]uint64, blocks*blockWords), room: receipts, from: round, to: round}
}

// block is where a receipt's bits are, and which they are: two in each word.
func (g *generation) block(h uint64) (words []uint64, which uint64) {
	b, _ := bits.Mul64(h, uint64(len(g.words)/blockWords))
	at := int(b) * blockWords
	return g.words[at : at+blockWords : at+blockWords], h * 0x9e3779b97f4a7c15
}

func (g *generation) add(h uint64) {
	words, which := g.block(h)
	for i := range words {
		atomic.OrUint64(&words[i], 1<<(which&63)|1<<(which>>6&63))
		which >>= 12
	}
	g.room--
}

func (g *generation) contains(h uint64) bool {
	words, which := g.block(h)
	for i := range words {
		if m := uint64(1)<<(which&63) | 1<<(which>>6&63); atomic.LoadUint64(&words[i])&m != m {
			return false
		}
		which >>= 12
	}
	return true
}

// excludes reports whether no segment has the receipt.
func (f *front) excludes(h uint64) bool {
	gens := f.gens.Load()
	if gens == nil {
		return false
	}
	for _, g := range *gens {
		if g.contains(h) {
			return false
		}
	}
	return true
}

// open is the generation that takes the receipts of a round. What it gets is there before a segment shows it.
func (f *front) open(round uint64) *generation {
	n := len(f.all)
	if n == 0 || f.all[n-1].room <= 0 {
		size := firstGeneration
		if n > 0 {
			size = min(lastGeneration, max(size, 2*(f.all[n-1].size())))
		}
		f.all = append(f.all[:n:n], newGeneration(size, round))
		f.publish()
	}
	g := f.all[len(f.all)-1]
	g.to = round
	return g
}

func (g *generation) size() int { return len(g.words) * 64 / bitsPerReceipt }

func (f *front) publish() {
	if f.complete {
		all := f.all
		f.gens.Store(&all)
	}
}

// fillFront reads the receipts that were there when the DB was opened. What is more urgent is done in between.
func (db *DB) fillFront() error {
	db.mu.Lock()
	segs := db.segs
	db.mu.Unlock()
	sum := 0
	for _, s := range segs {
		sum += s.count
	}
	g := newGeneration(sum+1, 0)
	g.to = db.round.Load()
	for _, s := range segs {
		if err := db.fillFrom(g, s); err != nil {
			return err
		}
	}
	f := &db.front
	f.all, f.complete = append([]*generation{g}, f.all...), true
	f.publish()
	return nil
}

func (db *DB) fillFrom(g *generation, s *segment) error {
	var it *pebble.Iterator
	err := guard(func() (err error) {
		it, err = db.peb.NewIter(&pebble.IterOptions{LowerBound: prefix(s.no, kindReceipt), UpperBound: prefix(s.no, kindReceipt+1)})
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = guard(it.Close) }()
	for ok, more := true, it.First; ok; more = it.Next {
		n := 0
		err := guard(func() error {
			for ok = more(); ok; ok = it.Next() {
				num, id := split(it.Key()[5:])
				g.add(hash(db.seed, num, &id))
				if n++; n == yield {
					return nil
				}
			}
			return it.Error()
		})
		if err != nil {
			return fmt.Errorf("segment %d cannot be read: %w", s.no, err)
		}
		if _, err := db.flushIfDue(false); err != nil {
			return err
		}
	}
	return nil
}

// drop lets the generations go of which no segment has anything. The last one stays: it is being filled.
func (f *front) drop(segs []*segment) {
	kept := f.all[:0:0]
	for i, g := range f.all {
		used := i == len(f.all)-1
		for _, s := range segs {
			used = used || s.low <= g.to && s.order >= g.from
		}
		if used {
			kept = append(kept, g)
		}
	}
	if len(kept) < len(f.all) {
		f.all = kept
		f.publish()
	}
}
