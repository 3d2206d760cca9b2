package dedupe

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"

	"github.com/waybill-dev/waybill/job"
)

// index finds records by identity: open addressing with linear probing over slots that hold 32 bits of the hash and the
// record's place. It is cut into parts that grow apart, so that no growth moves more than a part. A slot's home is given by
// the top bits of its mark, so growth needs no look at the records and walks memory in order.
//
// Slots are never taken out one by one. A slot whose bucket was forgotten is dead: it matches nothing, is taken by the next
// insert that comes by, and is left behind when its part is built anew.
type index struct {
	seed  [2]uint64
	parts [64]part
}

type part struct {
	slots []slot // a power of two, or none
	shift uint8  // 32 - log2(len(slots))
	used  int    // slots not empty, dead ones included
}

type slot struct {
	mark uint32
	seq  uint32 // of the bucket; 0: empty
	at   uint32 // in the bucket
}

const minSlots = 8

// newIndex seeds the hash: identities are cryptographic hashes, but of ids that an attacker may have chosen with care for
// some of their bits.
func newIndex() index { return index{seed: [2]uint64{rand.Uint64(), rand.Uint64()}} }

func (x *index) hash(id *job.Identity) uint64 {
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^x.seed[0], binary.LittleEndian.Uint64(id[8:])^x.seed[1])
	return hi ^ lo
}

func (x *index) part(h uint64) *part { return &x.parts[h>>58] }

func markOf(h uint64) uint32 { return uint32(h >> 26) }

func (p *part) home(mark uint32) int { return int(mark >> p.shift) }

// insert adds a slot for a record that has none.
func (x *index) insert(h uint64, seq, at uint32, alive func(seq uint32) bool) {
	p := x.part(h)
	if (p.used+1)*4 > len(p.slots)*3 {
		p.rebuild(alive)
	}
	mark, mask := markOf(h), len(p.slots)-1
	for i := p.home(mark); ; i = (i + 1) & mask {
		s := &p.slots[i]
		if s.seq == 0 {
			p.used++
		} else if alive(s.seq) {
			continue
		}
		*s = slot{mark, seq, at}
		return
	}
}

// expect makes room for about n records in an index that has none.
func (x *index) expect(n int) {
	each := n / len(x.parts)
	if each < minSlots {
		return
	}
	size := minSlots
	for size*3 < 5*each { // some parts get more than others
		size *= 2
	}
	for i := range x.parts {
		x.parts[i] = part{slots: make([]slot, size), shift: uint8(32 - bits.TrailingZeros(uint(size)))}
	}
}

// rebuild sizes the part for twice its live slots and leaves the dead ones behind.
func (p *part) rebuild(alive func(seq uint32) bool) {
	live := 0
	for i := range p.slots {
		if s := &p.slots[i]; s.seq != 0 && alive(s.seq) {
			live++
		}
	}
	size := minSlots
	for size < 2*(live+1) {
		size *= 2
	}
	old := p.slots
	*p = part{slots: make([]slot, size), shift: uint8(32 - bits.TrailingZeros(uint(size))), used: live}
	mask := size - 1
	for _, s := range old {
		if s.seq == 0 || !alive(s.seq) {
			continue
		}
		i := p.home(s.mark)
		for p.slots[i].seq != 0 {
			i = (i + 1) & mask
		}
		p.slots[i] = s
	}
}
