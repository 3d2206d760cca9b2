package dedupe

import (
	"bytes"
	"math"

	"github.com/waybill-dev/waybill/job"
)

// record is a receipt as it lies in memory: one cache line, no pointers.
type record struct {
	id      job.Identity
	origin  int64
	keyHash uint64
	digest  uint64
	gen     uint32
	hop     uint32
	attempt uint32
	result  uint32 // in the bucket's results; 0 for none, inProgress
	stamp   uint32 // Receipt.At
	state   State
	code    job.Code
	repeats bool
}

// receipt is all of it but its result.
func (r *record) receipt() Receipt {
	return Receipt{Identity: r.id, Gen: r.gen, Hop: r.hop, State: r.state, Attempt: r.attempt, Origin: r.origin, KeyHash: r.keyHash,
		Digest: r.digest, Code: r.code, Repeats: r.repeats, At: r.stamp}
}

const (
	chunkBits = 10
	chunkSize = 1 << chunkBits // records: 64 KiB
)

// bucket holds the records whose last append lies in one span of time. Records are added and never taken out: one that
// moved to a later bucket leaves its place behind until the whole bucket is forgotten.
type bucket struct {
	number  int64
	chunks  [][]record // each of chunkSize records, the last one perhaps fewer
	live    int        // records that did not move away
	results arena      // of jobs that are done

	// The places of jobs that are unfinished (Receipt.Unfinished): few.
	unfinished map[uint32]struct{}

	// What jobs that are not done have kept, by place: few, large, and replaced again and again.
	progress map[uint32][]byte
}

// inProgress stands for a result that is in bucket.progress. No result of the arena has that place: it would begin with the
// last byte of the last block.
const inProgress = math.MaxUint32

func (b *bucket) at(i uint32) *record { return &b.chunks[i>>chunkBits][i&(chunkSize-1)] }

// add makes room for one record and returns its place. Only the first chunk grows by copying, so that a task with few
// receipts pays for few.
func (b *bucket) add() uint32 {
	n := len(b.chunks)
	if n == 0 || len(b.chunks[n-1]) == chunkSize {
		var c []record
		if n > 0 {
			c = make([]record, 0, chunkSize)
		}
		b.chunks = append(b.chunks, c)
		n++
	}
	last := &b.chunks[n-1]
	*last = append(*last, record{})
	b.live++
	return uint32((n-1)<<chunkBits + len(*last) - 1)
}

// full says that places or results can no longer be named in 32 bits; another bucket of the same number takes over.
func (b *bucket) full() bool {
	return len(b.chunks) >= math.MaxUint32>>chunkBits || b.results.full()
}

// receipt is what a place holds.
func (b *bucket) receipt(at uint32) Receipt {
	r := b.at(at).receipt()
	r.Result = b.result(at)
	return r
}

// read is receipt for one that is read into again and again: it is large to copy.
func (b *bucket) read(r *Receipt, at uint32) {
	c := b.at(at)
	r.Identity, r.Gen, r.Hop, r.State, r.Attempt, r.Origin = c.id, c.gen, c.hop, c.state, c.attempt, c.origin
	r.KeyHash, r.Digest, r.Code, r.Repeats, r.At = c.keyHash, c.digest, c.code, c.repeats, c.stamp
	if r.Result = nil; c.result != 0 {
		r.Result = b.result(at)
	}
}

// set overwrites everything of a place.
func (b *bucket) set(at uint32, r *Receipt, result []byte, stamp uint32) {
	*b.at(at) = record{id: r.Identity, origin: r.Origin, keyHash: r.KeyHash, digest: r.Digest, gen: r.Gen, hop: r.Hop,
		attempt: r.Attempt, state: r.State, code: r.Code, repeats: r.Repeats, stamp: stamp}
	b.keep(at, result)
	b.mark(at)
}

// mark remembers whether the job of a place is unfinished.
func (b *bucket) mark(at uint32) {
	r := b.at(at)
	if !(&Receipt{State: r.state, Code: r.code}).Unfinished() {
		delete(b.unfinished, at)
		return
	}
	if b.unfinished == nil {
		b.unfinished = map[uint32]struct{}{}
	}
	b.unfinished[at] = struct{}{}
}

// keep gives a place a copy of its result.
func (b *bucket) keep(at uint32, result []byte) {
	delete(b.progress, at)
	r := b.at(at)
	result = result[:min(len(result), maxResult(r.state))]
	switch {
	case len(result) == 0:
		r.result = 0
	case r.state == Done:
		r.result = b.results.put(result)
	default:
		if b.progress == nil {
			b.progress = map[uint32][]byte{}
		}
		b.progress[at], r.result = bytes.Clone(result), inProgress
	}
}

func (b *bucket) result(at uint32) []byte {
	r := b.at(at)
	if r.result == inProgress {
		return b.progress[at]
	}
	return b.results.get(r.result)
}

// release leaves a place behind whose record moved away or was forgotten: one that says nothing.
func (b *bucket) release(at uint32) {
	b.at(at).state = StateNone
	delete(b.progress, at)
	delete(b.unfinished, at)
	b.live--
}

// arena holds the results of a bucket, one after the other, each preceded by its length minus 1. What was handed out is
// never overwritten.
type arena struct{ blocks [][]byte }

const (
	blockBits = 16
	blockSize = 1 << blockBits
)

// full leaves room for the results of updates, which cannot choose another bucket.
func (a *arena) full() bool { return len(a.blocks) >= 1<<(32-blockBits)-1024 }

// put keeps a copy of the first MaxResult bytes of result and returns where; 0 for none, and for the absurd number of
// results (4 GiB in one bucket) that cannot be named.
func (a *arena) put(result []byte) uint32 {
	result = result[:min(len(result), MaxResult)]
	if len(result) == 0 {
		return 0
	}
	n := len(a.blocks)
	if n == 0 {
		a.blocks = append(a.blocks, make([]byte, 1, 512)) // the first byte: no result has place 0
		n++
	} else if len(a.blocks[n-1])+1+len(result) > blockSize {
		if n == 1<<(32-blockBits) {
			return 0
		}
		a.blocks = append(a.blocks, make([]byte, 0, blockSize))
		n++
	}
	last := &a.blocks[n-1]
	at := (n-1)<<blockBits + len(*last)
	*last = append(append(*last, byte(len(result)-1)), result...)
	return uint32(at)
}

func (a *arena) get(at uint32) []byte {
	if at == 0 {
		return nil
	}
	b := a.blocks[at>>blockBits][at&(blockSize-1):]
	n := int(b[0]) + 1
	return b[1 : 1+n : 1+n]
}
