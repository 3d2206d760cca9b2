package dedupe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/waybill-dev/waybill/job"
)

// ErrMalformed is wrapped by the errors of values that are no entry of the receipt log: damaged, cut, or written by
// something else.
var ErrMalformed = errors.New("malformed receipt log entry")

// VersionError says that an intact entry was written by a newer Waybill. Nothing may be decided without it: upgrade.
type VersionError struct {
	Version byte // of the entry
	Newest  byte // that this code reads
}

// Error names both versions and what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("receipt log entry of version %d, this Waybill reads up to version %d: upgrade it", e.Version, e.Newest)
}

// Decode reads the value of one record of the receipt log. Offset and Time are left to the caller. Results of receipts
// alias value, everything else is copied. A value that is damaged gives an error that wraps ErrMalformed, an intact one of
// an unknown version a *VersionError; then the entry is zero.
func Decode(value []byte) (Entry, error) {
	if len(value) < 1+checksumSize {
		return Entry{}, fmt.Errorf("%w: %d bytes are too few", ErrMalformed, len(value))
	}
	body := value[:len(value)-checksumSize]
	if want, got := binary.LittleEndian.Uint32(value[len(body):]), crc32.Checksum(body, castagnoli); want != got {
		return Entry{}, fmt.Errorf("%w: checksum %08x, computed %08x", ErrMalformed, want, got)
	}
	if body[0] < version1 || body[0] > version4 {
		return Entry{}, &VersionError{Version: body[0], Newest: version4}
	}
	d := decoder{rest: body[1:], version: body[0]}
	var e Entry
	switch kind := d.byte(); kind {
	case kindOwner:
		if e.Owner = d.owner(); d.version != version1 {
			d.fail("a newer version than it needs")
		}
	case kindSegment:
		if e.Segment = d.segment(); d.fault == "" && e.Segment.version() != d.version {
			d.fail("a newer version than it needs")
		}
	default:
		d.fail(fmt.Sprintf("%d is no kind", kind))
	}
	if len(d.rest) > 0 {
		d.fail(fmt.Sprintf("%d bytes too many", len(d.rest)))
	}
	if d.fault != "" {
		return Entry{}, fmt.Errorf("%w: %s", ErrMalformed, d.fault)
	}
	return e, nil
}

// decoder reads a body from its front. Its first fault sticks; from then on it reads zeros.
type decoder struct {
	rest    []byte
	fault   string
	version byte
}

func (d *decoder) fail(fault string) {
	if d.fault == "" {
		d.fault = fault
	}
	d.rest = nil
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.fail("cut short")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("cut short")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 { // nearly all of them
		v := d.rest[0]
		d.rest = d.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 || d.rest[n-1] == 0 {
		d.fail("a number is cut short, too large or not in its shortest form")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.fail("a number does not fit 32 bits")
		return 0
	}
	return uint32(v)
}

func (d *decoder) text() string { return string(d.take(d.uvarint())) }

// count reads a number of things of at least size bytes each, so that a damaged one cannot ask for more memory than its
// entry is long.
func (d *decoder) count(size uint64) int {
	n := d.uvarint()
	if n > uint64(len(d.rest))/size {
		d.fail("cut short")
		return 0
	}
	return int(n)
}

func (d *decoder) owner() *Owner {
	o := &Owner{Instance: d.text(), Process: d.text(), Member: d.text(), Group: d.text()}
	g := d.varint()
	if g != int64(int32(g)) {
		d.fail("the generation does not fit 32 bits")
	}
	o.Generation = int32(g)
	o.Intake = d.varint()
	return o
}

func (d *decoder) segment() *Segment {
	s := &Segment{Epoch: d.varint()}
	if n := d.count(minFrontier); n > 0 {
		s.Frontiers = make([]Frontier, n)
		for i := range s.Frontiers {
			copy(s.Frontiers[i].Topic[:], d.take(16))
			s.Frontiers[i].Offset = d.varint()
		}
	}
	s.Receipts = d.receipts()
	s.Marks, s.Release = d.release(d.receipts())
	if d.version >= version4 {
		s.Forget = d.forget()
	}
	return s
}

func (d *decoder) forget() (ids []job.Identity) {
	for range d.count(minForget) {
		ids = append(ids, job.Identity(d.take(minForget)))
	}
	return ids
}

// release takes the owner's last word out of the marks.
func (d *decoder) release(marks []Receipt) ([]Receipt, Release) {
	for i := range marks {
		r := &marks[i]
		if r.Identity != (job.Identity{}) {
			continue
		}
		if i != len(marks)-1 {
			d.fail("marks follow the release")
			return nil, Held
		}
		var origin int64
		if i > 0 {
			origin = marks[i-1].Origin
		}
		if !r.release(origin) {
			d.fail("a release says more than that")
			return nil, Held
		}
		if i == 0 {
			marks = nil
		}
		if r.Hop == 1 {
			return marks[:i:i], LeftSuspects
		}
		return marks[:i:i], Released
	}
	return marks, Held
}

// release reports whether r is what releaseMark makes behind a mark of that origin.
func (r *Receipt) release(origin int64) bool {
	return r.State == Started && r.Attempt == 1 && r.Origin == origin && r.Hop <= 1 && r.Gen == 0 && r.KeyHash == 0 && r.Digest == 0 &&
		r.Code == 0 && !r.Repeats && r.Result == nil
}

func (d *decoder) receipts() []Receipt {
	n := d.count(minReceipt)
	if n == 0 {
		return nil
	}
	list := make([]Receipt, n)
	var origin int64
	for i := range list {
		d.receipt(&list[i], origin)
		if d.fault != "" {
			return nil
		}
		origin = list[i].Origin
	}
	return list
}

func (d *decoder) result(s State) []byte {
	if d.version == version1 {
		return d.take(uint64(d.byte()) + 1)
	}
	n := d.uvarint()
	if n == 0 || n > uint64(maxResult(s)) {
		d.fail("a result is empty or too long")
	}
	return d.take(n)
}

func (d *decoder) receipt(r *Receipt, previous int64) {
	flags := d.byte()
	r.State = State(flags & stateBits)
	if d.version >= version3 {
		more := d.byte()
		if r.Repeats = more&moreRepeats != 0; more&^moreRepeats != 0 {
			d.fail("a receipt says more than is known")
		}
	}
	b := d.take(fixedReceipt - 1)
	if b == nil {
		return
	}
	copy(r.Identity[:], b[:16])
	r.KeyHash = binary.LittleEndian.Uint64(b[16:24])
	r.Digest = binary.LittleEndian.Uint64(b[24:32])
	r.Origin = previous + d.varint()
	r.Attempt = 1
	if flags&flagHop != 0 {
		r.Hop = d.uint32()
	}
	if flags&flagGen != 0 {
		r.Gen = d.uint32()
	}
	if flags&flagAttempt != 0 {
		r.Attempt = d.uint32()
	}
	if flags&flagCode != 0 {
		r.Code = job.Code(d.byte())
	}
	if flags&flagResult != 0 {
		r.Result = d.result(r.State)
	}
	implied := flags&flagHop != 0 && r.Hop == 0 || flags&flagGen != 0 && r.Gen == 0 ||
		flags&flagAttempt != 0 && r.Attempt == 1 || flags&flagCode != 0 && r.Code == 0
	if r.State == StateNone || implied {
		d.fail("a receipt has no state, or states what goes without saying")
	}
}
