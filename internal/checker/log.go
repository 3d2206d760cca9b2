package checker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The receipt log, read by the text of docs/log.md alone: see the package comment.

// name is the identity of a job as the log spells it.
type name [16]byte

// entry is one record of a receipt log.
type entry struct {
	offset    int64
	owner     bool // an ownership record: its offset is an epoch
	epoch     int64
	frontiers []claim
	words     []said // receipts, then marks
	marks     int    // how many of words, at the end, are marks: of runs that began, and of jobs that are done and reach further
	forget    []name
}

// claim is a frontier as a segment states it.
type claim struct {
	topic [16]byte
	at    int64
}

// said is what a receipt or a mark says of its job.
type said struct {
	job      name
	state    byte
	gen, hop uint64
	origin   int64
	repeats  bool
}

// States of the log, and the newest version of it that is read here.
const (
	stateStarted = 3
	stateExpired = 4
	stateDead    = 6
	stateDone    = 7

	logVersion = 4
)

func (w said) final() bool { return w.state >= stateExpired }

// stale reports whether the word settles a record of that origin, generation and hop without a run. The zero word settles nothing.
func (w said) stale(origin int64, gen, hop uint64) bool {
	switch {
	case w.state == 0:
		return false
	case w.repeats && origin != w.origin:
		return origin < w.origin
	}
	return w.state == stateDone || gen < w.gen || gen == w.gen && (w.final() || w.hop > hop)
}

// over reports whether w says more than o: the order in which receipts of one job are merged.
func (w said) over(o said) bool {
	a, b := w.rank(), o.rank()
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return false
}

func (w said) rank() (r [5]uint64) {
	if w.repeats {
		r[0] = uint64(w.origin) + 1
	}
	if w.state == stateDone {
		r[1] = 1
	}
	r[2] = w.gen + 1
	if w.final() {
		r[3] = 1
	}
	if w.state >= stateDead {
		r[3] = 2
	}
	r[4] = w.hop << 2
	if !w.final() {
		r[4] += uint64(w.state)
	}
	return r
}

// readEntry decodes the value of one record of a receipt log.
func readEntry(value []byte) (e entry, err error) {
	if len(value) < 6 {
		return e, errors.New("too short")
	}
	body, sum := value[:len(value)-4], binary.LittleEndian.Uint32(value[len(value)-4:])
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != sum {
		return e, errors.New("its checksum is wrong")
	}
	version, kind := body[0], body[1]
	if version == 0 || version > logVersion {
		return e, fmt.Errorf("version %d is not known", version)
	}
	d := cursor{rest: body[2:]}
	switch kind {
	case 1:
		e.owner = true
		for range 4 {
			d.bytes(d.number())
		}
		d.signed()
		d.signed()
	case 2:
		d.segment(&e, version)
	default:
		return e, fmt.Errorf("kind %d is not known", kind)
	}
	if d.short || len(d.rest) > 0 {
		return e, errors.New("its length is wrong")
	}
	return e, nil
}

// cursor reads from the front of what is left; once that was too short it reads zeros.
type cursor struct {
	rest  []byte
	short bool
}

func (d *cursor) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.short, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *cursor) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *cursor) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.short, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *cursor) signed() int64 {
	n := d.number()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *cursor) segment(e *entry, version byte) {
	e.epoch = d.signed()
	for range d.number() {
		var c claim
		copy(c.topic[:], d.bytes(16))
		if c.at = d.signed(); d.short {
			return
		}
		e.frontiers = append(e.frontiers, c)
	}
	d.words(e, version)
	receipts := len(e.words)
	d.words(e, version)
	if n := len(e.words); n > receipts && e.words[n-1].job == (name{}) {
		e.words = e.words[:n-1] // the owner's last word, that it lets the task go
	}
	e.marks = len(e.words) - receipts
	if version < 4 {
		return
	}
	for range d.number() {
		var j name
		if copy(j[:], d.bytes(16)); d.short {
			return
		}
		e.forget = append(e.forget, j)
	}
}

func (d *cursor) words(e *entry, version byte) {
	var origin int64
	for range d.number() {
		flags := d.byte()
		w := said{state: flags & 7}
		if version >= 3 {
			w.repeats = d.byte()&1 != 0
		}
		copy(w.job[:], d.bytes(16))
		d.bytes(16) // key hash, digest
		w.origin = origin + d.signed()
		origin = w.origin
		if flags&(1<<3) != 0 {
			w.hop = d.number()
		}
		if flags&(1<<4) != 0 {
			w.gen = d.number()
		}
		if flags&(1<<5) != 0 {
			d.number() // attempt
		}
		if flags&(1<<6) != 0 {
			d.byte() // code
		}
		if flags&(1<<7) != 0 {
			if version == 1 {
				d.bytes(uint64(d.byte()) + 1)
			} else {
				d.bytes(d.number())
			}
		}
		if d.short {
			return
		}
		e.words = append(e.words, w)
	}
}
