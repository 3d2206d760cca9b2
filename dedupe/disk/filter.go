package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/FastFilter/xorfilter"

	"github.com/waybill-dev/waybill/job"
)

// filters tell of one segment which receipts are certainly not in it. Each covers a range of the segment's keys, so that a
// segment of any size is written without holding its keys: 8-bit binary fuse, 1.2 bytes a receipt, wrong for one absent receipt in
// 256. They are asked for what the front does not exclude. They are built once, written beside the receipts, and stay in memory as long as the segment lives.
type filters struct {
	starts []uint64 // the first place of each range, see place
	fuses  []fuse
}

type fuse xorfilter.BinaryFuse[uint8]

const (
	rangeSize   = 1 << 17  // receipts in a range, or a few more
	filterPiece = 32 << 10 // bytes of the filters under one key
)

// place is where a receipt stands among the ranges: in the order of the keys, as near as 64 bits come. Receipts of one place
// are in one range.
func place(num uint32, id *job.Identity) uint64 {
	return uint64(num)<<32 | uint64(binary.BigEndian.Uint32(id[:]))
}

// hash is what filters know of a receipt. The seed is the directory's: identities are hashes of what an attacker may choose.
func hash(seed [2]uint64, num uint32, id *job.Identity) uint64 {
	hi, lo := bits.Mul64(binary.LittleEndian.Uint64(id[:8])^seed[0], binary.LittleEndian.Uint64(id[8:])^seed[1]^uint64(num)*0x9e3779b97f4a7c15)
	return hi ^ lo
}

// contains is false for what is certainly not there. h is the receipt's hash.
func (f *filters) contains(at, h uint64) bool {
	i := 0
	for _, start := range f.starts[1:] {
		if at >= start {
			i++
		}
	}
	return f.fuses[i].contains(h)
}

// contains is BinaryFuse.Contains, which the compiler does not inline.
func (f *fuse) contains(h uint64) bool {
	h += f.Seed
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	hi, _ := bits.Mul64(h, uint64(f.SegmentCountLength))
	h0 := uint32(hi)
	h1 := h0 + f.SegmentLength
	h2 := h1 + f.SegmentLength
	h1 ^= uint32(h>>18) & f.SegmentLengthMask
	h2 ^= uint32(h) & f.SegmentLengthMask
	return uint8(h^h>>32)^f.Fingerprints[h0]^f.Fingerprints[h1]^f.Fingerprints[h2] == 0
}

// filterBuilder makes the filters of a segment from its receipts in order.
type filterBuilder struct {
	out     filters
	hashes  []uint64
	last    uint64 // place of the last receipt
	builder xorfilter.BinaryFuseBuilder
}

func (b *filterBuilder) reset() { b.out, b.hashes = filters{}, b.hashes[:0] }

func (b *filterBuilder) add(at, h uint64) error {
	if len(b.hashes) >= rangeSize && at != b.last {
		if err := b.cut(); err != nil {
			return err
		}
	}
	if len(b.hashes) == 0 {
		b.out.starts = append(b.out.starts, at)
	}
	b.hashes, b.last = append(b.hashes, h), at
	return nil
}

// cut ends a range.
func (b *filterBuilder) cut() error {
	if len(b.hashes) == 0 {
		return nil
	}
	f, err := xorfilter.BuildBinaryFuse[uint8](&b.builder, b.hashes)
	if err != nil {
		return err
	}
	f.Fingerprints = bytes.Clone(f.Fingerprints) // they are the builder's
	b.out.fuses, b.hashes = append(b.out.fuses, fuse(f)), b.hashes[:0]
	return nil
}

const fuseHeader = 8 + 8 + 4*4

// append adds a range as bytes: place, header, fingerprints, little endian.
func (f *filters) append(dst []byte, i int) []byte {
	u := &f.fuses[i]
	dst = binary.LittleEndian.AppendUint64(dst, f.starts[i])
	dst = binary.LittleEndian.AppendUint64(dst, u.Seed)
	for _, v := range [...]uint32{u.SegmentLength, u.SegmentCount, u.SegmentCountLength, uint32(len(u.Fingerprints))} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	return append(dst, u.Fingerprints...)
}

var errFilter = errors.New("a filter on disk does not decode")

// take is the inverse of append: it adds the range at the front of b and returns the rest. It checks all that contains rests on: a
// filter that does not fit must not be asked.
func (f *filters) take(b []byte) (rest []byte, err error) {
	if len(b) < fuseHeader {
		return nil, errFilter
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	u := fuse{Seed: binary.LittleEndian.Uint64(b[8:]), SegmentLength: u32(16), SegmentCount: u32(20), SegmentCountLength: u32(24)}
	start, n := binary.LittleEndian.Uint64(b), u32(28)
	b = b[fuseHeader:]
	u.SegmentLengthMask = u.SegmentLength - 1
	switch {
	case u.SegmentLength == 0, u.SegmentLength&u.SegmentLengthMask != 0, u.SegmentLength > 1<<18,
		u.SegmentCountLength == 0, uint64(u.SegmentCountLength) != uint64(u.SegmentCount)*uint64(u.SegmentLength),
		uint64(n) < uint64(u.SegmentCountLength)+2*uint64(u.SegmentLength), uint64(len(b)) < uint64(n),
		len(f.starts) > 0 && start <= f.starts[len(f.starts)-1]:
		return nil, errFilter
	}
	u.Fingerprints = bytes.Clone(b[:n])
	f.starts, f.fuses = append(f.starts, start), append(f.fuses, u)
	return b[n:], nil
}
