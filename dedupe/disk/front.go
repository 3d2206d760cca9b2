package disk

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// front answers most questions for a job that nobody knows with one look at memory a generation, instead of three a segment:
// blocked Bloom filters of all that segments hold, 1.5 bytes a receipt. A generation takes the receipts of some rounds, and goes when
// nothing of those rounds is left. Generations are written when they are full, and when the DB is closed (front_saved.go). Of rounds
// that none which was written has, after a crash, the worker reads the receipts once, and until then the segments' own filters answer.
type front struct {
	shown atomic.Pointer[shown]

	// the worker's
	all   []*generation
	blind rounds   // of which there is no generation yet
	stale []uint32 // numbers of what was written and is not wanted any more: to be excised once the manifest does not name them
}

// shown is what any goroutine asks.
type shown struct {
	gens  []*generation
	blind rounds
}

// rounds are those from one to another.
type rounds struct{ from, to uint64 }

// none are no rounds; others join it.
var none = rounds{math.MaxUint64, 0}

func (r rounds) empty() bool { return r.from > r.to }

// generation is a Bloom filter in blocks of 256 bits: a look at one touches one cache line.
type generation struct {
	words []uint64      // read by any goroutine while the worker sets bits
	room  int           // receipts that still fit
	fresh int           // receipts since it was written
	batch []uint64      // hashes on their way in
	from  uint64        // the first round it has receipts of
	to    atomic.Uint64 // and the last
	saved saved         // what of it is on disk
}

const (
	firstGeneration = 1 << 19 // receipts; each next one takes four times as many: each is one more to ask
	lastGeneration  = 1 << 22
	bitsPerReceipt  = 12
	blockWords      = 4
	frontBatch      = 32
)

func newGeneration(receipts int, round uint64) *generation {
	blocks := receipts*bitsPerReceipt/(64*blockWords) + 1
	g := &generation{words: make([]uint64, blocks*blockWords), batch: make([]uint64, 0, frontBatch), room: receipts, from: round}
	g.to.Store(round)
	return g
}

// block is where a receipt's bits are, and which they are: two in each word.
func (g *generation) block(h uint64) (words []uint64, which uint64) {
	b, _ := bits.Mul64(h, uint64(len(g.words)/blockWords))
	at := int(b) * blockWords
	return g.words[at : at+blockWords : at+blockWords], h * 0x9e3779b97f4a7c15
}

// add takes a receipt. It is not there before settle.
func (g *generation) add(h uint64) {
	g.room--
	g.fresh++
	if g.batch = append(g.batch, h); len(g.batch) == frontBatch {
		g.settle()
	}
}

// settle sets the bits of what was added. The blocks are anywhere in memory, and an atomic operation waits for its own alone: they are
// read first, all at a time.
func (g *generation) settle() (read uint64) {
	for _, h := range g.batch {
		words, _ := g.block(h)
		read |= atomic.LoadUint64(&words[0])
	}
	for _, h := range g.batch {
		words, which := g.block(h)
		for i := range words {
			if m := uint64(1)<<(which&63) | 1<<(which>>6&63); atomic.LoadUint64(&words[i])&m != m {
				atomic.OrUint64(&words[i], m)
			}
			which >>= 12
		}
	}
	g.batch = g.batch[:0]
	return read
}

// contains looks at the whole block before it decides: a branch a word would be guessed wrong so often that the blocks of several
// generations were waited for one after the other.
func (g *generation) contains(h uint64) bool {
	words, which := g.block(h)
	missing := uint64(0)
	for i := range words {
		m := uint64(1)<<(which&63) | 1<<(which>>6&63)
		missing |= m &^ atomic.LoadUint64(&words[i])
		which >>= 12
	}
	return missing == 0
}

// look returns the rounds whose segments may have the receipt; they are empty, from > to, where none has.
func (f *front) look(h uint64) (from, to uint64) {
	s := f.shown.Load()
	from, to = s.blind.from, s.blind.to
	for _, g := range s.gens {
		if g.contains(h) {
			from, to = min(from, g.from), max(to, g.to.Load())
		}
	}
	return from, to
}

// fetch brings what look looks at for these hashes into the cache.
func (f *front) fetch(hashes []uint64) (sum uint64) {
	gens := f.shown.Load().gens
	for _, h := range hashes {
		for _, g := range gens {
			words, _ := g.block(h)
			sum |= atomic.LoadUint64(&words[0])
		}
	}
	return sum
}

// open is the generation that takes the receipts of a round, of which no other has any. What it gets is there before a segment shows it.
func (f *front) open(round uint64) *generation {
	n := len(f.all)
	if n == 0 || f.all[n-1].room <= 0 && f.all[n-1].to.Load() < round {
		size := firstGeneration
		if n > 0 {
			size = min(lastGeneration, max(size, 4*f.all[n-1].size()))
		}
		f.all = append(f.all[:n:n], newGeneration(size, round))
		f.publish()
	}
	g := f.all[len(f.all)-1]
	g.to.Store(round)
	return g
}

func (g *generation) size() int { return len(g.words) * 64 / bitsPerReceipt }

func (f *front) publish() { f.shown.Store(&shown{f.all, f.blind}) }

// fillFront reads the receipts of the rounds that no generation has. What is more urgent is done in between.
func (db *DB) fillFront() error {
	f := &db.front
	db.mu.Lock()
	segs := slices.DeleteFunc(slices.Clone(db.segs), func(s *segment) bool { return s.order < f.blind.from || s.low > f.blind.to })
	db.mu.Unlock()
	sum := 0
	for _, s := range segs {
		sum += s.count
	}
	g := newGeneration(sum, f.blind.from)
	g.to.Store(f.blind.to)
	g.room = 0 // it takes nothing of later rounds
	for _, s := range segs {
		if err := db.fillFrom(g, s); err != nil {
			return err
		}
	}
	g.settle()
	f.all, f.blind = append([]*generation{g}, f.all...), none
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
		db.cfg.Turn.Take()
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
		db.cfg.Turn.Give()
		if err != nil {
			return fmt.Errorf("segment %d cannot be read: %w", s.no, err)
		}
		if err := db.flushBetween(yield); err != nil {
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
			used = used || s.low <= g.to.Load() && s.order >= g.from
		}
		if used {
			kept = append(kept, g)
		} else if g.saved.no != 0 {
			f.stale = append(f.stale, g.saved.no)
		}
	}
	if len(kept) < len(f.all) {
		f.all = kept
		f.publish()
	}
}
