package job

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Header is one record header; its layout is kgo.RecordHeader's, so that a slice of those is decoded without copying.
type Header struct {
	Key   string
	Value []byte
}

// Reserved is the prefix of every header name that belongs to Waybill.
const Reserved = "waybill-"

// The header names of the wire format (docs/wire.md). Those of the first block a producer may set on the job topic; those
// of the second stand on copies in retry tiers and on dead letters, and are ignored on the job topic.
const (
	HeaderKind        = "waybill-kind"
	HeaderID          = "waybill-id"
	HeaderVersion     = "waybill-version"
	HeaderContentType = "content-type"
	HeaderAt          = "waybill-at"
	HeaderExpires     = "waybill-expires"
	HeaderCorrelation = "waybill-correlation"

	HeaderHop     = "waybill-hop"
	HeaderGen     = "waybill-gen"
	HeaderAttempt = "waybill-attempt"
	HeaderDelay   = "waybill-delay"
	HeaderFirst   = "waybill-first"
	HeaderOrigin  = "waybill-origin"
	HeaderError   = "waybill-error"
)

// Bounds of what is accepted on read and written at all.
const (
	MaxKind        = 200     // bytes of a kind
	MaxID          = 512     // bytes of an id
	MaxCorrelation = 512     // bytes of a correlation id
	MaxText        = 4 << 10 // bytes of an error text
	maxTopic       = 249     // bytes of a topic name: Kafka's own limit
)

// timeLayout is how instants stand in headers: RFC 3339 in UTC with nanoseconds, trailing zeros dropped.
const timeLayout = time.RFC3339Nano

// FormatTime renders t for a header.
func FormatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

// Bounded cuts s to MaxText bytes of valid UTF-8.
func Bounded(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxText {
		return s
	}
	cut := MaxText
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// ValidateKind says what is wrong with a kind: it must be 1 to 200 bytes of printable text without spaces.
func ValidateKind(kind string) error { return token("kind", kind, MaxKind) }

// ValidateID says what is wrong with an id: it must be 1 to 512 bytes of printable text.
func ValidateID(id string) error {
	if err := text("id", id, MaxID); err != nil {
		return err
	}
	if id == "" {
		return errors.New("id is empty")
	}
	return nil
}

func token(what, s string, limit int) error {
	if s == "" {
		return fmt.Errorf("%s is empty", what)
	}
	if strings.ContainsAny(s, " \t\n\r") {
		return fmt.Errorf("%s %q contains white space", what, clip(s))
	}
	return text(what, s, limit)
}

func validateContentType(s string) error { return text("content-type", s, 256) }

// plain reports whether s is nothing but printable ASCII, which nearly every text of a header is.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return false
		}
	}
	return true
}

func text(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s has %d bytes, more than %d", what, len(s), limit)
	}
	if plain(s) {
		return nil
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("%s %q is not UTF-8", what, clip(s))
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }); i >= 0 {
		return fmt.Errorf("%s %q contains a control character", what, clip(s))
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), 64)] }

// parseTime reads an instant into UTC. An offset can carry it out of the years 0 to 9999, where RFC 3339 cannot write it
// any more and a copy would be malformed: such a one is refused. The first instant of year 1, Go's zero time, reads as
// not set.
func parseTime(what, s string) (time.Time, error) {
	t, err := time.Parse(timeLayout, s)
	if t = t.UTC(); err != nil || t.Year() < 0 || t.Year() > 9999 {
		return time.Time{}, fmt.Errorf("%s %q is not an RFC 3339 time", what, clip(s))
	}
	return t, nil
}

func parseUint(what, s string, limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > limit {
		return 0, fmt.Errorf("%s %q is not a number from 0 to %d", what, clip(s), limit)
	}
	return n, nil
}

// String renders the origin as it stands in the header: topic/partition/offset/milliseconds.
func (o Origin) String() string { return string(o.append(nil)) }

func (o *Origin) append(b []byte) []byte {
	b = append(append(b, o.Topic...), '/')
	b = append(strconv.AppendInt(b, int64(o.Partition), 10), '/')
	b = append(strconv.AppendInt(b, o.Offset, 10), '/')
	return strconv.AppendInt(b, o.Time.UnixMilli(), 10)
}

// ParseOrigin is the inverse of Origin.String.
func ParseOrigin(s string) (Origin, error) { return parseOrigin(s, nil) }

// parseOrigin keeps nothing of s.
func parseOrigin(s string, known *Strings) (Origin, error) {
	bad := func() (Origin, error) {
		return Origin{}, fmt.Errorf("origin %q is not topic/partition/offset/milliseconds", clip(s))
	}
	topic, rest, _ := strings.Cut(s, "/") // a Kafka topic name holds no slash
	partition, rest, _ := strings.Cut(rest, "/")
	offset, millis, _ := strings.Cut(rest, "/")
	p, err1 := strconv.ParseInt(partition, 10, 32)
	off, err2 := strconv.ParseInt(offset, 10, 64)
	ms, err3 := strconv.ParseInt(millis, 10, 64) // none of what a fourth slash would leave
	if topic == "" || len(topic) > maxTopic || err1 != nil || err2 != nil || err3 != nil || p < 0 || off < 0 {
		return bad()
	}
	return Origin{Topic: known.topic(topic), Partition: int32(p), Offset: off, Time: time.UnixMilli(ms).UTC()}, nil
}

// maxDelay is the longest delay a header can say, in milliseconds: 292 years.
const maxDelay = math.MaxInt64 / int64(time.Millisecond)

// parseDelay reads whole milliseconds.
func parseDelay(s string) (time.Duration, error) {
	ms, err := parseUint("delay", s, uint64(maxDelay))
	return time.Duration(ms) * time.Millisecond, err
}

// delayMillis rounds up to whole milliseconds: a delay may be longer than asked, never shorter, except at maxDelay.
func delayMillis(d time.Duration) int64 {
	d = max(d, 0)
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 && ms < maxDelay {
		ms++
	}
	return ms
}

// parseError takes code and bounded text apart, which stand in one header: "handler_error: connection refused".
func parseError(s string) (Code, string) {
	head, tail, _ := strings.Cut(s, ": ")
	if c, ok := ParseCode(head); ok {
		return c, Bounded(tail)
	}
	return CodeNone, Bounded(s)
}
