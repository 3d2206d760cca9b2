package dedupe

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/waybill-dev/waybill/job"
)

// The wire format of the receipt log: values of records without key or headers.
//
// Every entry, of every version to come, is framed the same way, so that damage and news can be told apart:
//
//	1 byte    version of the body, 1 to 4
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
// An owner that lets its task go says so with one more mark, the last of the list: of the identity that is all zeros, started,
// with attempt 1, key hash, digest and origin difference 0, and hop 1 when suspects are left (LeftSuspects), no hop when not
// (Released). Who does not know of it takes it for the mark of a job that nobody has.
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
// Version 3 is written only for segments with receipts of jobs that may be enqueued again (Receipt.Repeats), which only kinds
// with a window of their own have. It is version 2 with one more byte in each receipt and mark, after the first:
//
//	1 byte    bit 0 the job may be enqueued again; the others are 0
//
// Version 4 is written only for segments that withdraw what the log says of some jobs (Segment.Forget), which an operator
// orders: whoever reads the log must know of it, or remember what others forgot. It is version 3 and, at the end:
//
//	uvarint   number of jobs to forget, at least 1, and for each:
//	  16 bytes  identity
//
// Decode accepts exactly what is written: each value has one encoding, and nothing may follow it.
const (
	version1 = 1
	version2 = 2
	version3 = 3
	version4 = 4 // the newest version this code reads

	kindOwner   = 1
	kindSegment = 2

	flagHop     = 1 << 3
	flagGen     = 1 << 4
	flagAttempt = 1 << 5
	flagCode    = 1 << 6
	flagResult  = 1 << 7
	stateBits   = flagHop - 1

	moreRepeats = 1 << 0

	fixedReceipt = 1 + 16 + 8 + 8
	minReceipt   = fixedReceipt + 1
	minFrontier  = 16 + 1
	minForget    = 16
	checksumSize = 4
	releaseSize  = minReceipt + 2
)

// Sizes for whoever cuts segments to a record size limit: a segment takes at most SegmentOverhead bytes, MaxFrontierSize
// for each frontier, MaxReceiptSize for each receipt and mark, and 16 for each job to forget.
const (
	SegmentOverhead = 2 + binary.MaxVarintLen64 + 4*binary.MaxVarintLen64 + releaseSize + checksumSize
	MaxFrontierSize = 16 + binary.MaxVarintLen64
	MaxReceiptSize  = fixedReceipt + 1 + binary.MaxVarintLen64 + 3*binary.MaxVarintLen32 + 1 + 2 + MaxProgress
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

// How many bytes parts of a segment usually take: receipts without hop and result, and what stands around them. Thousands go
// into one segment, which would otherwise be copied again and again while it grows.
const (
	segmentSize  = 32
	frontierSize = 16 + 6
	receiptSize  = 1 + 16 + 8 + 8 + 3
)

// AppendSegment appends the log value of a segment to dst and returns the extended slice. Receipts of StateNone, or of
// no state, say nothing and are left out, and so are marks of the identity that is all zeros; results are cut at their
// bound. It keeps nothing of s.
func AppendSegment(dst []byte, s *Segment) []byte {
	dst = slices.Grow(dst, segmentSize+frontierSize*len(s.Frontiers)+receiptSize*(len(s.Receipts)+len(s.Marks)))
	start := len(dst)
	version := s.version()
	dst = append(dst, version, kindSegment)
	dst = binary.AppendVarint(dst, s.Epoch)
	dst = binary.AppendUvarint(dst, uint64(len(s.Frontiers)))
	for i := range s.Frontiers {
		dst = append(dst, s.Frontiers[i].Topic[:]...)
		dst = binary.AppendVarint(dst, s.Frontiers[i].Offset)
	}
	dst = appendReceipts(dst, s.Receipts, version, Held)
	dst = appendReceipts(dst, s.marks(), version, s.Release)
	if version >= version4 {
		dst = binary.AppendUvarint(dst, uint64(len(s.Forget)))
		for i := range s.Forget {
			dst = append(dst, s.Forget[i][:]...)
		}
	}
	return appendChecksum(dst, start)
}

func appendChecksum(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
}

// version is the oldest that can say all of s.
func (s *Segment) version() byte {
	if len(s.Forget) > 0 {
		return version4
	}
	version := byte(version1)
	for _, list := range [...][]Receipt{s.Receipts, s.marks()} {
		for i := range list {
			switch r := &list[i]; {
			case !says(r.State):
			case r.Repeats:
				return version3
			case len(r.Result) > MaxResult && r.State != Done:
				version = version2
			}
		}
	}
	return version
}

func says(s State) bool { return s > StateNone && s < states }

// marks are the started marks that can be said: one of the identity that no job has is a release.
func (s *Segment) marks() []Receipt {
	nobody := func(r Receipt) bool { return r.Identity == job.Identity{} }
	if !slices.ContainsFunc(s.Marks, nobody) {
		return s.Marks
	}
	return slices.DeleteFunc(slices.Clone(s.Marks), nobody)
}

// releaseMark is how a release stands among the marks, behind one of that origin.
func releaseMark(how Release, origin int64) Receipt {
	r := Receipt{State: Started, Attempt: 1, Origin: origin}
	if how == LeftSuspects {
		r.Hop = 1
	}
	return r
}

func appendReceipts(dst []byte, list []Receipt, version byte, release Release) []byte {
	n := len(list)
	for i := range list {
		if !says(list[i].State) {
			n--
		}
	}
	if release != Held {
		n++
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	var origin int64
	for i := range list {
		if r := &list[i]; says(r.State) {
			dst = appendReceipt(dst, r, origin, version)
			origin = r.Origin
		}
	}
	if release != Held {
		r := releaseMark(release, origin)
		dst = appendReceipt(dst, &r, origin, version)
	}
	return dst
}

func appendReceipt(dst []byte, r *Receipt, previous int64, version byte) []byte {
	at := len(dst)
	flags := byte(r.State)
	dst = append(dst, 0)
	if version >= version3 {
		var more byte
		if r.Repeats {
			more = moreRepeats
		}
		dst = append(dst, more)
	}
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
		if version >= version2 {
			dst = binary.AppendUvarint(dst, uint64(n))
		} else {
			dst = append(dst, byte(n-1))
		}
		dst = append(dst, r.Result[:n]...)
	}
	dst[at] = flags
	return dst
}
