package job

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// Raw is a record as read, before anybody has looked into it. Slices are aliased, not copied.
type Raw struct {
	Topic     string
	TopicID   string // stable name of this incarnation of the job topic; part of a foreign record's id
	Partition int32
	Offset    int64
	Time      time.Time // the record's timestamp
	Key       []byte
	Value     []byte
	Native    any      // what Message.As asks
	Strings   *Strings // where the texts of headers come from, and their names are put instead of those they came with; nil: each is a string of its own
}

// Envelope is a decoded record: the message and what only the engine reads of it.
type Envelope struct {
	Message
	Delay    time.Duration // copies: due this long after the append
	LastCode Code          // copies: why the last attempt or look at the job ended in a hop
	WireKind string        // the kind as the record names it: an alias stays one on copies
	Fault    string        // why the record breaks the wire format; empty when it does not
}

// Identify sets what depends on the registration of the kind: its current name and the identity, which is taken over the
// first name the kind ever had, so that a renamed kind keeps its receipts.
func (e *Envelope) Identify(name, firstName string) {
	e.Kind = name
	e.Identity = IdentityOf(firstName, e.Key, e.ID)
}

// Trust says which headers count.
type Trust uint8

// The trusts.
const (
	TrustJob  Trust = iota // a record of the job topic: engine headers are ignored
	TrustCopy              // a record of a retry tier: engine headers are required
)

// Decode reads a record into e, which must be zero. It never fails: a record that breaks the wire format has e.Fault set
// and an id made from its place in the log, so that it can be filed. The identity is left to Identify. defaultKind is the kind of foreign records,
// those without waybill-kind that are no CloudEvent in binary mode either; when it is empty the topic's name stands in.
func Decode[H ~struct {
	Key   string
	Value []byte
}](e *Envelope, raw *Raw, headers []H, trust Trust, defaultKind string) {
	m := &e.Message
	m.Key, m.Payload, m.Native = raw.Key, raw.Value, raw.Native
	m.Topic, m.Partition, m.Offset = raw.Topic, raw.Partition, raw.Offset
	m.Origin = Origin{Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset, Time: raw.Time}
	p := parser{e: e, trust: trust, strings: raw.Strings}
	user := 0
	for i := range headers {
		h := Header(headers[i])
		if !p.take(h.Key, h.Value) {
			user++
		}
		if raw.Strings != nil {
			h.Key = raw.Strings.name(i, h.Key)
			headers[i] = H(h)
		}
	}
	if user > 0 {
		m.Headers = make([]Header, 0, user)
		for i := range headers {
			if h := Header(headers[i]); !owned(h.Key) {
				m.Headers = append(m.Headers, h)
			}
		}
	}
	p.finish(raw, defaultKind)
}

// owned reports whether a header belongs to Waybill rather than to the user.
func owned(name string) bool {
	return strings.HasPrefix(name, Reserved) || name == HeaderContentType
}

// Owned reports whether a header belongs to the wire format: reserved names and content-type.
func Owned(name string) bool { return owned(name) }

type parser struct {
	e       *Envelope
	trust   Trust
	strings *Strings
	seen    uint32
	ce      [4]string // specversion, type, source, id
	fault   string
}

// bits of parser.seen: each wire header at most once
const (
	sawKind uint32 = 1 << iota
	sawID
	sawVersion
	sawContentType
	sawAt
	sawExpires
	sawCorrelation
	sawHop
	sawGen
	sawAttempt
	sawDelay
	sawFirst
	sawOrigin
	sawError
)

func (p *parser) fail(err error) {
	if err != nil && p.fault == "" {
		p.fault = err.Error()
	}
}

func (p *parser) once(bit uint32, name string) {
	if p.seen&bit != 0 {
		p.fail(fmt.Errorf("header %s stands twice", name))
	}
	p.seen |= bit
}

// take reads one header and reports whether it is Waybill's own.
func (p *parser) take(name string, value []byte) bool {
	if !owned(name) {
		if strings.HasPrefix(name, "ce_") {
			p.cloudEvent(name, value)
		}
		return false
	}
	if !p.producers(name, value) && p.trust == TrustCopy {
		p.engines(name, value)
	}
	return true
}

// producers reads the headers a producer may set.
func (p *parser) producers(name string, value []byte) bool {
	m := &p.e.Message
	var err error
	switch name {
	case HeaderKind:
		p.once(sawKind, name)
		m.Kind, err = p.strings.kind(value)
		p.fail(err)
		return true
	case HeaderID:
		p.once(sawID, name)
		m.ID = p.strings.own(value)
		p.fail(ValidateID(m.ID))
		return true
	case HeaderContentType:
		p.once(sawContentType, name)
		m.ContentType, err = p.strings.contentType(value)
		p.fail(err)
		return true
	}
	switch name { // a string is made only of what is one of these: a copy has half a dozen others
	case HeaderVersion:
		p.once(sawVersion, name)
		var n uint64
		n, err = parseUint("version", string(value), math.MaxInt32)
		m.Version = int(n)
	case HeaderAt:
		p.once(sawAt, name)
		m.At, err = parseTime("at", string(value))
	case HeaderExpires:
		p.once(sawExpires, name)
		m.Expires, err = parseTime("expires", string(value))
	case HeaderCorrelation:
		p.once(sawCorrelation, name)
		m.Correlation = p.strings.own(value)
		err = text("correlation", m.Correlation, MaxCorrelation)
	default:
		return false
	}
	p.fail(err)
	return true
}

// engines reads the headers of a copy.
func (p *parser) engines(name string, value []byte) {
	if len(value) > MaxText+64 { // longer than any that the engine writes
		p.fail(fmt.Errorf("header %s has %d bytes", name, len(value)))
		return
	}
	m, s := &p.e.Message, unsafe.String(unsafe.SliceData(value), len(value)) // looked through, and kept nowhere
	var n uint64
	var err error
	switch name {
	case HeaderHop:
		p.once(sawHop, name)
		n, err = parseUint("hop", s, math.MaxUint32)
		m.Hop = uint32(n)
	case HeaderGen:
		p.once(sawGen, name)
		n, err = parseUint("generation", s, math.MaxUint32)
		m.Generation = uint32(n)
	case HeaderAttempt:
		p.once(sawAttempt, name)
		n, err = parseUint("attempt", s, math.MaxInt32-1)
		m.Attempt = int(n)
	case HeaderDelay:
		p.once(sawDelay, name)
		p.e.Delay, err = parseDelay(s)
	case HeaderFirst:
		p.once(sawFirst, name)
		m.FirstFailure, err = parseTime("first failure", s)
	case HeaderOrigin:
		p.once(sawOrigin, name)
		var o Origin
		if o, err = parseOrigin(s, p.strings); err == nil { // a bad one leaves the record's own place, so that it can be filed from there
			m.Origin = o
		}
	case HeaderError:
		p.once(sawError, name)
		p.e.LastCode, m.LastError = parseError(p.strings.own(value))
	}
	p.fail(err)
}

func (p *parser) cloudEvent(name string, value []byte) {
	for i, n := range [...]string{"ce_specversion", "ce_type", "ce_source", "ce_id"} {
		if name == n { // one byte too many is kept, so that what is too long is refused and not taken for another job
			p.ce[i] = string(value[:min(len(value), MaxID+1)])
		}
	}
}

// finish fills in what headers did not say: the kind and id of foreign records, the attempt, the identity.
func (p *parser) finish(raw *Raw, defaultKind string) {
	m := &p.e.Message
	if p.trust == TrustCopy {
		for _, need := range [...]struct {
			bit  uint32
			name string
		}{{sawKind, HeaderKind}, {sawID, HeaderID}, {sawHop, HeaderHop}, {sawOrigin, HeaderOrigin}, {sawDelay, HeaderDelay}} {
			if p.seen&need.bit == 0 {
				p.fail(fmt.Errorf("a record of a retry tier lacks header %s", need.name))
			}
		}
	}
	if p.seen&sawKind == 0 && p.fault == "" {
		p.foreign(raw, defaultKind)
	} else if p.seen&sawID == 0 {
		p.fail(fmt.Errorf("header %s is missing beside %s", HeaderID, HeaderKind))
	}
	if p.fault != "" {
		p.e.Fault = Bounded(p.fault)
		if ValidateKind(m.Kind) != nil {
			m.Kind = fallbackKind(raw, defaultKind)
		}
		m.ID, m.Hop, m.Generation = placeID(raw), 0, 0
	}
	m.Attempt++
	p.e.WireKind = m.Kind
	m.Digest = DigestOf(m.Payload)
}

func (p *parser) foreign(raw *Raw, defaultKind string) {
	m := &p.e.Message
	if version, kind, source, id := p.ce[0], p.ce[1], p.ce[2], p.ce[3]; version != "" && kind != "" && source != "" && id != "" {
		m.Kind, m.ID = kind, source+"|"+id // a URI reference holds no bare "|"
		p.fail(ValidateKind(kind))
		p.fail(ValidateID(m.ID))
		return
	}
	m.Kind = fallbackKind(raw, defaultKind)
	if p.seen&sawID == 0 {
		m.ID = placeID(raw)
	}
}

// fallbackKind is the kind of a record that names none. A topic's name may be longer than a kind's, whose bound its copies
// must keep.
func fallbackKind(raw *Raw, defaultKind string) string {
	if defaultKind != "" {
		return defaultKind
	}
	return raw.Topic[:min(len(raw.Topic), MaxKind)]
}

// placeID names a record by its place in the log, with its timestamp because a recreated topic starts again at offset 0.
func placeID(raw *Raw) string {
	id := raw.TopicID
	if id == "" {
		id = raw.Topic
	}
	return id + "/" + strconv.Itoa(int(raw.Partition)) + "/" + strconv.FormatInt(raw.Offset, 10) + "/" +
		strconv.FormatInt(raw.Time.UnixMilli(), 10)
}

// Stamp is what the engine writes on a copy.
type Stamp struct {
	Hop      uint32
	Gen      uint32
	Attempts int // burnt so far
	Delay    time.Duration
	At       time.Time // not before, where one hop does not reach
	First    time.Time // first failure
	Origin   Origin
	Code     Code
	Text     string
}
