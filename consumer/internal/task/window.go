package task

import (
	"math"
	"slices"
	"sort"
)

// slot is one record read and not yet below the frontier.
type slot struct {
	offset int64
	seq    uint64 // 0 until settled, then the place in the order of settling; asideSlot while set aside
}

// slotBytes is what a slot takes in memory, packedBytes what one does in a chunk that is packed.
const (
	slotBytes   = 16
	packedBytes = 2
)

// window is the records of one source from the frontier on, in offset order. A settled entry leaves only its slot here,
// so that one slow job does not keep the payloads of all that finished after it. Where many lie above an unfinished one, the
// old ones are packed: then millions may.
//
// A position counts from the first slot that is kept, in the chunks and behind them; an index from the first there ever was.
type window struct {
	chunks []chunk // the old ones
	slots  []slot  // those behind them
	head   int     // position of the first that is not below the frontier
	base   uint64  // index of position 0
	open   int     // chunks that are not packed
}

// chunk is chunkSlots of a window: packed, or as they were.
type chunk struct {
	first  int64
	packed []uint16 // offset above first, twice, and 1 when the record is set aside; else it is settled, in a segment
	slots  []slot
}

const (
	chunkSlots = 1024
	chunksFrom = 16 * chunkSlots // so many slots behind the chunks become chunks, but for half
)

func (w *window) push(offset int64) (index uint64) {
	w.slots = append(w.slots, slot{offset: offset})
	return w.base + uint64(w.size()-1)
}

// size is how many positions there are.
func (w *window) size() int { return len(w.chunks)*chunkSlots + len(w.slots) }

// at is the slot at a position.
func (w *window) at(i int) slot {
	n := len(w.chunks) * chunkSlots
	if i >= n {
		return w.slots[i-n]
	}
	return w.chunks[i/chunkSlots].at(i % chunkSlots)
}

func (w *window) settle(index, seq uint64) { w.set(int(index-w.base), seq) }

// set sets the place in the order of settling of the slot at a position.
func (w *window) set(i int, seq uint64) {
	n := len(w.chunks) * chunkSlots
	if i >= n {
		w.slots[i-n].seq = seq
		return
	}
	c := &w.chunks[i/chunkSlots]
	if c.slots == nil {
		c.unpack()
		w.open++
	}
	c.slots[i%chunkSlots].seq = seq
}

// advance moves the frontier over what is settled in a segment up to limit.
func (w *window) advance(limit uint64) {
	for w.head < len(w.chunks)*chunkSlots && w.at(w.head).done(limit) {
		w.head++
	}
	for gone := w.head / chunkSlots; gone > 0 && len(w.chunks) > 0; gone-- {
		if w.chunks[0].slots != nil {
			w.open--
		}
		w.chunks[0] = chunk{}
		w.chunks = w.chunks[1:]
		w.head -= chunkSlots
		w.base += chunkSlots
	}
	if len(w.chunks) == 0 {
		w.advanceSlots(limit)
	}
	if len(w.chunks) > 0 || len(w.slots)-w.head >= chunksFrom {
		w.pack(limit)
	}
}

// advanceSlots is advance where there are no chunks.
func (w *window) advanceSlots(limit uint64) {
	for w.head < len(w.slots) && w.slots[w.head].done(limit) {
		w.head++
	}
	if w.head == len(w.slots) || w.head > 1024 && w.head > len(w.slots)/2 {
		w.drop(w.head)
	}
}

// drop drops the first n of slots, where there are no chunks.
func (w *window) drop(n int) {
	w.slots = w.slots[:copy(w.slots, w.slots[n:])]
	w.base += uint64(n)
	w.head -= n
}

// pack makes chunks of what is old, and packs those that can be.
func (w *window) pack(limit uint64) {
	for i := 0; i < len(w.chunks) && w.open > 0; i++ {
		if c := &w.chunks[i]; c.slots != nil && c.pack(limit) {
			w.open--
		}
	}
	if len(w.chunks) == 0 {
		w.drop(w.head)
	}
	if len(w.slots) < chunksFrom {
		return
	}
	n := len(w.slots) / chunkSlots / 2
	for i := range n {
		part := w.slots[i*chunkSlots:][:chunkSlots]
		c := chunk{first: part[0].offset, slots: part}
		if !c.pack(limit) {
			c.slots = slices.Clone(part)
			w.open++
		}
		w.chunks = append(w.chunks, c)
	}
	w.slots = w.slots[:copy(w.slots, w.slots[n*chunkSlots:])]
}

func (w *window) first() (int64, bool) {
	if w.head < w.size() {
		return w.at(w.head).offset, true
	}
	return 0, false
}

func (w *window) len() int { return w.size() - w.head }

// bytes is what the window takes in memory.
func (w *window) bytes() int {
	return slotBytes*(len(w.slots)+w.open*chunkSlots) + packedBytes*chunkSlots*(len(w.chunks)-w.open)
}

// find is the position of the first that is not below an offset.
func (w *window) find(offset int64) int {
	return w.head + sort.Search(w.len(), func(i int) bool { return w.at(w.head+i).offset >= offset })
}

// done reports whether the record is settled in a segment up to limit.
func (s slot) done(limit uint64) bool { return s.seq != 0 && s.seq <= limit }

func (c *chunk) at(i int) slot {
	if c.slots != nil {
		return c.slots[i]
	}
	p := c.packed[i]
	return slot{offset: c.first + int64(p>>1), seq: packedSeq[p&1]}
}

// packedSeq is what packed slots were settled as: long ago, or not.
var packedSeq = [2]uint64{1, asideSlot}

// pack packs the chunk if all of it is set aside or done, and near enough, and reports whether it did.
func (c *chunk) pack(limit uint64) bool {
	for _, s := range c.slots {
		if !s.done(limit) && s.seq != asideSlot || s.offset-c.first > math.MaxUint16>>1 {
			return false
		}
	}
	c.packed = make([]uint16, len(c.slots))
	for i, s := range c.slots {
		c.packed[i] = uint16(s.offset-c.first) << 1
		if s.seq == asideSlot {
			c.packed[i]++
		}
	}
	c.slots = nil
	return true
}

func (c *chunk) unpack() {
	slots := make([]slot, len(c.packed))
	for i := range slots {
		slots[i] = c.at(i)
	}
	c.slots, c.packed = slots, nil
}
