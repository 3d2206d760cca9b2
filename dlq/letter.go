package dlq

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// Letter is one dead letter as read.
type Letter struct {
	Topic     string // the topic of the letters
	Partition int32
	Offset    int64
	Filed     time.Time // the letter's own timestamp: when the broker took it

	// The job as it came.
	Kind        string // as on the wire: an alias stays one
	ID          string
	Key         []byte
	Version     int
	ContentType string
	Payload     []byte // nil for a nil value, and when Truncated
	Headers     []job.Header
	Correlation string
	At, Expires time.Time
	Origin      job.Origin
	Identity    job.Identity
	Digest      uint64   // of the payload the job had
	Raw         []string // of a malformed record: its reserved headers as read, name=value

	// What became of it.
	Generation   uint32
	Hop          uint32
	Attempts     int
	First, Last  time.Time // failures; zero when unknown
	Disposition  Disposition
	Code         job.Code
	Text         string
	Fingerprint  string
	Handler      string
	Instance     string
	Truncated    bool // the payload was left out for its size
	PayloadBytes int  // length the payload has, or had
	HeadersBytes int  // size of the user's headers if they were left out too, else 0
	KeyBytes     int  // length of the key if it was left out too, else 0

	// What the Client found out; zero from Decode.
	Copies     int       // records of this letter in the topic, itself included; 0 when nobody counted
	Superseded bool      // a letter of the same job with a higher generation exists: redriving this one would be stale
	Redriven   time.Time // when it was last redriven according to the audit topic; zero when never
}

// Ref names the letter inside its topic: "partition/offset".
func (l *Letter) Ref() string { return FormatRef(l.Partition, l.Offset) }

// FormatRef renders the place of a letter.
func FormatRef(partition int32, offset int64) string {
	return strconv.Itoa(int(partition)) + "/" + strconv.FormatInt(offset, 10)
}

// ParseRef is the inverse of FormatRef.
func ParseRef(ref string) (partition int32, offset int64, err error) {
	head, tail, ok := strings.Cut(ref, "/")
	p, err1 := strconv.ParseInt(head, 10, 32)
	o, err2 := strconv.ParseInt(tail, 10, 64)
	if !ok || err1 != nil || err2 != nil || p < 0 || o < 0 {
		return 0, 0, fmt.Errorf("%q names no letter; a letter is named partition/offset, such as 3/1042", ref)
	}
	return int32(p), o, nil
}

// ErrNotLetter is wrapped by the errors of Decode for a record that is no letter.
var ErrNotLetter = errors.New("not a dead letter")

// VersionError is Decode's error for a letter of a format newer than this program's.
type VersionError struct{ Version int }

// Error names both versions and says what to do.
func (e *VersionError) Error() string {
	return fmt.Sprintf("dead letter of format %d, this program knows up to %d: upgrade it", e.Version, letterVersion)
}

// Decode reads a letter from a record. Key, Payload and Headers alias it. Errors wrap ErrNotLetter or are *VersionError.
func Decode[H ~struct {
	Key   string
	Value []byte
}](raw *job.Raw, headers []H) (Letter, error) {
	l := Letter{Topic: raw.Topic, Partition: raw.Partition, Offset: raw.Offset, Filed: raw.Time}
	p := letterParser{l: &l}
	rest := make([]H, 0, len(headers))
	for i := range headers {
		if h := job.Header(headers[i]); !p.take(h.Key, h.Value) {
			rest = append(rest, headers[i])
		}
	}
	if p.version == 0 {
		return Letter{}, fmt.Errorf("%w: header %s is missing", ErrNotLetter, HeaderLetter)
	}
	if p.version > letterVersion {
		return Letter{}, &VersionError{p.version}
	}
	var e job.Envelope
	job.Decode(&e, raw, rest, job.TrustJob, "")
	if e.Fault != "" {
		p.fail(errors.New(e.Fault))
	}
	for _, need := range [...]string{job.HeaderOrigin, HeaderDigest, HeaderIdentity, HeaderDisposition} {
		if !p.seen[need] {
			p.fail(fmt.Errorf("header %s is missing", need))
		}
	}
	if p.err != nil {
		return Letter{}, fmt.Errorf("%w: %w", ErrNotLetter, p.err)
	}
	l.Kind, l.ID, l.Key, l.Version, l.ContentType = e.Kind, e.ID, e.Key, e.Version, e.ContentType
	l.Payload, l.Headers, l.Correlation, l.At, l.Expires = e.Payload, e.Headers, e.Correlation, e.At, e.Expires
	if !l.Truncated {
		l.PayloadBytes = len(l.Payload)
	}
	return l, nil
}

// letterParser reads the headers that are a letter's own.
type letterParser struct {
	l       *Letter
	version int
	seen    map[string]bool
	err     error
}

func (p *letterParser) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// take reads one header and reports whether it is a letter's.
func (p *letterParser) take(name string, value []byte) bool {
	if !strings.HasPrefix(name, job.Reserved) {
		return false
	}
	if name == HeaderRaw {
		p.l.Raw = append(p.l.Raw, string(value))
		return true
	}
	if len(value) > job.MaxText+64 {
		p.fail(fmt.Errorf("header %s has %d bytes", name, len(value)))
		return true
	}
	known, err := p.field(name, string(value))
	if !known {
		return false
	}
	if p.seen == nil {
		p.seen = make(map[string]bool, 16)
	}
	if p.seen[name] {
		err = errors.New("stands twice")
	}
	p.seen[name] = true
	if err != nil {
		p.fail(fmt.Errorf("header %s: %w", name, err))
	}
	return true
}

// field reads the header name into the letter; known is false for one that is not a letter's own.
func (p *letterParser) field(name, s string) (known bool, err error) {
	l := p.l
	switch name {
	case HeaderLetter:
		p.version, err = number[int](s, 1, math.MaxInt32)
	case job.HeaderOrigin:
		l.Origin, err = job.ParseOrigin(s)
	case job.HeaderGen:
		l.Generation, err = number[uint32](s, 0, math.MaxUint32)
	case job.HeaderHop:
		l.Hop, err = number[uint32](s, 0, math.MaxUint32)
	case HeaderAttempts:
		l.Attempts, err = number[int](s, 0, math.MaxInt)
	case job.HeaderFirst:
		l.First, err = instant(s)
	case HeaderLast:
		l.Last, err = instant(s)
	case job.HeaderError:
		l.Code, l.Text = failure(s)
	case HeaderFingerprint:
		l.Fingerprint = s
	case HeaderHandler:
		l.Handler = s
	case HeaderInstance:
		l.Instance = s
	case HeaderDisposition:
		var ok bool
		if l.Disposition, ok = ParseDisposition(s); !ok {
			err = fmt.Errorf("%q is no disposition", s)
		}
	case HeaderDigest:
		l.Digest, err = strconv.ParseUint(s, 16, 64)
	case HeaderIdentity:
		l.Identity, err = identity(s)
	case HeaderPayloadBytes:
		l.Truncated = true
		l.PayloadBytes, err = number[int](s, 0, math.MaxInt32)
	case HeaderHeadersBytes:
		l.HeadersBytes, err = number[int](s, 1, math.MaxInt32)
	case HeaderKeyBytes:
		l.KeyBytes, err = number[int](s, 1, math.MaxInt32)
	default:
		return false, nil
	}
	return true, err
}

func number[N int | uint32](s string, low, high uint64) (N, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s[:min(len(s), 64)], low, high)
	}
	return N(n), nil
}

func instant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err == nil && !inCalendar(t) {
		err = fmt.Errorf("%q is outside the calendar", s)
	}
	return t, err
}

// failure splits "handler_error: connection refused". A code this program does not know stays in the text.
func failure(s string) (job.Code, string) {
	head, tail, ok := strings.Cut(s, ": ")
	if c, known := job.ParseCode(head); known && ok {
		return c, tail
	}
	return job.CodeNone, s
}

func identity(s string) (id job.Identity, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%q is not 32 hex digits", s[:min(len(s), 64)])
	}
	return job.Identity(b), nil
}
