package dedupe

import (
	"encoding/binary"
	"hash/crc32"
)

// The wire format of the receipt log: values of records without key or headers.
//
// Every entry, of every version to come, is framed the same way, so that damage and news can be told apart:
//
//	1 byte    version of the body, 1 or 2
//	n bytes   body
//	4 bytes   CRC-32C (Castagnoli) of all before it, little endian
//
// A body of version 1 begins with one byte, its kind. "uvarint" is an unsigned LEB128 number in its shortest form, "varint"
// the same of the zigzag of a signed one (encoding/binary). "text" is a uvarint length and that many bytes. Fixed numbers
// are little endian.
//
// Kind 1, an ownership record:
//
//	text      instance
//	text      process
//	text      member
//	text      group
//	varint    generation (32 bits)
//	varint    intake
//
// Kind 2, a segment:
//
//	varint    epoch
//	uvarint   number of frontiers, and for each:
//	  16 bytes  topic id
//	  varint    offset
//	uvarint   number of receipts, and each, see below
//	uvarint   number of started marks, and each likewise
//
// A receipt, 34 bytes at least, 35 or 36 in an ordinary segment of first successes:
//
//	1 byte    bits 0-2 state (1 retrying, 2 step, 3 started, 4 expired, 5 discarded, 6 dead, 7 done)
//	          bit 3 hop follows, bit 4 generation follows, bit 5 attempt follows, bit 6 code follows, bit 7 result follows
//	16 bytes  identity
//	8 bytes   key hash
//	8 bytes   payload digest
//	varint    origin offset minus that of the receipt before it in the same list (minus 0 for the first), wrapping
//	[uvarint] hop, when not 0 (32 bits)
//	[uvarint] generation, when not 0 (32 bits)
//	[uvarint] attempt, when not 1 (32 bits)
//	[1 byte]  code, when not 0: the number of the job.Code
//	[1 byte]  length of the result minus 1, and the result, when there is one
//
// Version 2 is written only for segments with what version 1 cannot say, a result longer than 256 bytes, so that a group
// without such can roll back. It has segments only, and in their receipts:
//
//	[text]    the result, not empty, in place of the length minus 1 and the result
//
// Decode accepts exactly what is written: each value has one encoding, and nothing may follow it.
const (
	version1 = 1
	version2 = 2 // the newest version this code reads

	kindOwner   = 1
	kindSegment = 2

	flagHop     = 1 << 3
	flagGen     = 1 << 4
	flagAttempt = 1 << 5
	flagCode    = 1 << 6
	flagResult  = 1 << 7
	stateBits   = flagHop - 1

	fixedReceipt = 1 + 16 + 8 + 8
	minReceipt   = fixedReceipt + 1
	minFrontier  = 16 + 1
	checksumSize = 4
)

// Sizes for whoever cuts segments to a record size limit: a segment takes at most SegmentOverhead bytes, MaxFrontierSize
// for each frontier and MaxReceiptSize for each receipt and mark.
const (
	SegmentOverhead = 2 + binary.MaxVarintLen64 + 3*binary.MaxVarintLen64 + checksumSize
	MaxFrontierSize = 16 + binary.MaxVarintLen64
	MaxReceiptSize  = fixedReceipt + binary.MaxVarintLen64 + 3*binary.MaxVarintLen32 + 1 + 2 + MaxProgress
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendOwner appends the log value of an ownership record to dst and returns the extended slice.
func AppendOwner(dst []byte, o *Owner) []byte {
	start := len(dst)
	dst = append(dst, version1, kindOwner)
	for _, s := range [...]string{o.Instance, o.Process, o.Member, o.Group} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.AppendVarint(dst, int64(o.Generation))
	dst = binary.AppendVarint(dst, o.Intake)
	return appendChecksum(dst, start)
}

// AppendSegment appends the log value of a segment to dst and returns the extended slice. Receipts of StateNone, or of
// no state, say nothing and are left out; results are cut at their bound. It keeps nothing of s.
func AppendSegment(dst []byte, s *Segment) []byte {
	start := len(dst)
	version := s.version()
	dst = append(dst, version, kindSegment)
	dst = binary.AppendVarint(dst, s.Epoch)
	dst = binary.AppendUvarint(dst, uint64(len(s.Frontiers)))
	for i := range s.Frontiers {
		dst = append(dst, s.Frontiers[i].Topic[:]...)
		dst = binary.AppendVarint(dst, s.Frontiers[i].Offset)
	}
	dst = appendReceipts(dst, s.Receipts, version)
	dst = appendReceipts(dst, s.Marks, version)
	return appendChecksum(dst, start)
}

func appendChecksum(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// version is the oldest that can say all of s.
func (s *Segment) version() byte {
	for _, list := range [...][]Receipt{s.Receipts, s.Marks} {
		for i := range list {
			if r := &list[i]; len(r.Result) > MaxResult && says(r.State) && r.State != Done {
				return version2
			}
		}
	}
	return version1
}

func says(s State) bool { return s > StateNone && s < states }

func appendReceipts(dst []byte, list []Receipt, version byte) []byte {
	n := len(list)
	for i := range list {
		if !says(list[i].State) {
			n--
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	var origin int64
	for i := range list {
		if r := &list[i]; says(r.State) {
			dst = appendReceipt(dst, r, origin, version)
			origin = r.Origin
		}
	}
	return dst
}

func appendReceipt(dst []byte, r *Receipt, previous int64, version byte) []byte {
	at := len(dst)
	flags := byte(r.State)
	dst = append(dst, 0)
	dst = append(dst, r.Identity[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, r.KeyHash)
	dst = binary.LittleEndian.AppendUint64(dst, r.Digest)
	dst = binary.AppendVarint(dst, r.Origin-previous)
	if r.Hop != 0 {
		flags |= flagHop
		dst = binary.AppendUvarint(dst, uint64(r.Hop))
	}
	if r.Gen != 0 {
		flags |= flagGen
		dst = binary.AppendUvarint(dst, uint64(r.Gen))
	}
	if r.Attempt != 1 {
		flags |= flagAttempt
		dst = binary.AppendUvarint(dst, uint64(r.Attempt))
	}
	if r.Code != 0 {
		flags |= flagCode
		dst = append(dst, byte(r.Code))
	}
	if n := min(len(r.Result), maxResult(r.State)); n > 0 {
		flags |= flagResult
		if version == version2 {
			dst = binary.AppendUvarint(dst, uint64(n))
		} else {
			dst = append(dst, byte(n-1))
		}
		dst = append(dst, r.Result[:n]...)
	}
	dst[at] = flags
	return dst
}
