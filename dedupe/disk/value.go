package disk

import (
	"encoding/binary"
	"errors"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// A receipt on disk, without its identity, which is in the key:
//
//	1 byte    bits 0-2 state, bit 3 hop follows, bit 4 generation follows, bit 5 attempt follows, bit 6 code follows,
//	          bit 7 the job may be enqueued again
//	8 bytes   key hash, little endian
//	8 bytes   payload digest, little endian
//	4 bytes   when its last receipt was appended (dedupe.Stamp), little endian
//	varint    origin
//	[uvarint] hop, when not 0
//	[uvarint] generation, when not 0
//	[uvarint] attempt, when not 1
//	[1 byte]  code, when not 0
//	the rest  result
const (
	hasHop     = 1 << 3
	hasGen     = 1 << 4
	hasAttempt = 1 << 5
	hasCode    = 1 << 6
	repeats    = 1 << 7
	stateBits  = hasHop - 1

	fixedValue = 1 + 8 + 8 + 4
)

var errValue = errors.New("a receipt on disk does not decode")

func appendValue(dst []byte, r *dedupe.Receipt) []byte {
	at := len(dst)
	flags := byte(r.State)
	dst = append(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, r.KeyHash)
	dst = binary.LittleEndian.AppendUint64(dst, r.Digest)
	dst = binary.LittleEndian.AppendUint32(dst, r.At)
	dst = binary.AppendVarint(dst, r.Origin)
	if r.Repeats {
		flags |= repeats
	}
	if r.Hop != 0 {
		flags |= hasHop
		dst = binary.AppendUvarint(dst, uint64(r.Hop))
	}
	if r.Gen != 0 {
		flags |= hasGen
		dst = binary.AppendUvarint(dst, uint64(r.Gen))
	}
	if r.Attempt != 1 {
		flags |= hasAttempt
		dst = binary.AppendUvarint(dst, uint64(r.Attempt))
	}
	if r.Code != 0 {
		flags |= hasCode
		dst = append(dst, byte(r.Code))
	}
	dst[at] = flags
	return append(dst, r.Result...)
}

// hasEnded reports whether the job of a receipt has ended, without decoding more than it must.
func hasEnded(b []byte) (bool, error) {
	r := dedupe.Receipt{State: dedupe.State(b[0] & stateBits)}
	if r.State == dedupe.Dead {
		if err := decodeValue(b, &r); err != nil {
			return false, err
		}
	}
	return !r.Unfinished(), nil
}

func decodeValue(b []byte, r *dedupe.Receipt) error {
	if len(b) < fixedValue {
		return errValue
	}
	flags := b[0]
	r.State = dedupe.State(flags & stateBits)
	r.KeyHash, r.Digest = binary.LittleEndian.Uint64(b[1:]), binary.LittleEndian.Uint64(b[9:])
	r.At, r.Repeats = binary.LittleEndian.Uint32(b[17:]), flags&repeats != 0
	b = b[fixedValue:]
	origin, n := binary.Varint(b)
	if n <= 0 {
		return errValue
	}
	r.Origin, b = origin, b[n:]
	r.Hop, r.Gen, r.Attempt = 0, 0, 1
	for _, f := range [...]struct {
		bit byte
		to  *uint32
	}{{hasHop, &r.Hop}, {hasGen, &r.Gen}, {hasAttempt, &r.Attempt}} {
		if flags&f.bit == 0 {
			continue
		}
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<32-1 {
			return errValue
		}
		*f.to, b = uint32(v), b[n:]
	}
	if r.Code = 0; flags&hasCode != 0 {
		if len(b) == 0 {
			return errValue
		}
		r.Code, b = job.Code(b[0]), b[1:]
	}
	if r.Result = nil; len(b) > 0 {
		r.Result = append([]byte(nil), b...)
	}
	return nil
}
