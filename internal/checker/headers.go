package checker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// headers is what the wire headers of one record say. Read by the text of the wire format alone: see the package comment.
type headers struct {
	kind, id    string
	at, expires time.Time

	// only on copies and letters
	hop, gen, attempt int
	delay             time.Duration
	origin            ledger.Pos
	code              string

	seen uint32 // bit i: wireNames[i] stood on the record
	ce   map[string]string
	bad  string // the first thing wrong; empty when well-formed
}

// wireNames are the headers read, without their prefix.
var wireNames = [...]string{"kind", "id", "at", "expires", "hop", "gen", "attempt", "attempts", "delay", "first", "origin", "error", "code",
	"version", "correlation", contentType}

// contentType is the one wire header without the prefix.
const contentType = "content-type"

// has reports whether a wire header stood on the record, named without its prefix.
func (h *headers) has(name string) bool { return h.seen&bit(name) != 0 }

func bit(name string) uint32 {
	for i, n := range wireNames {
		if n == name {
			return 1 << i
		}
	}
	return 0
}

// parseHeaders reads the headers of a record; those of copies only when copied is set, for on a job topic they count nothing.
func parseHeaders(all []Header, copied bool) headers {
	var h headers
	for _, x := range all {
		name, ok := strings.CutPrefix(x.Key, "waybill-")
		if ok = ok && name != contentType || x.Key == contentType; !ok {
			h.cloudEvent(x.Key, x.Value)
			continue
		}
		err := h.producers(name, string(x.Value))
		if errors.Is(err, errOther) && copied {
			err = h.engines(name, string(x.Value))
		}
		if errors.Is(err, errOther) {
			continue
		}
		if h.has(name) {
			err = errors.New("stands twice")
		}
		h.seen |= bit(name)
		if err != nil && h.bad == "" {
			h.bad = fmt.Sprintf("header %s %.40q %v", x.Key, x.Value, err)
		}
	}
	if h.bad == "" && h.has("kind") && !h.has("id") {
		h.bad = "header waybill-id is missing beside waybill-kind"
	}
	if kind, id, ok := h.event(); ok && h.bad == "" && !h.has("kind") {
		if err := errors.Join(word(kind), text(id, 512)); err != nil {
			h.bad = "CloudEvent " + err.Error()
		}
	}
	return h
}

// errOther says that a header is not one of those asked for.
var errOther = errors.New("is another header")

func (h *headers) producers(name, v string) (err error) {
	switch name {
	case "kind":
		h.kind, err = v, word(v)
	case "id":
		h.id, err = v, errors.Join(nonempty(v), text(v, 512))
	case "at":
		h.at, err = instant(v)
	case "expires":
		h.expires, err = instant(v)
	case "version":
		_, err = strconv.ParseUint(v, 10, 31)
	case "correlation":
		err = text(v, 512)
	case contentType:
		err = text(v, 256)
	default:
		return errOther
	}
	return err
}

func (h *headers) engines(name, v string) (err error) {
	switch name {
	case "hop":
		h.hop, err = count(v)
	case "gen":
		h.gen, err = count(v)
	case "attempt", "attempts":
		h.attempt, err = count(v)
	case "delay":
		var ms int
		ms, err = count(v)
		h.delay = time.Duration(ms) * time.Millisecond
	case "first":
		_, err = instant(v)
	case "origin":
		h.origin, err = parseOrigin(v)
	case "error":
		h.code, _, _ = strings.Cut(v, ":")
		err = nonempty(h.code)
	case "code":
		h.code, err = v, nonempty(v)
	default:
		return errOther
	}
	return err
}

func (h *headers) cloudEvent(key string, value []byte) {
	switch key {
	case "ce_specversion", "ce_type", "ce_source", "ce_id":
		if h.ce == nil {
			h.ce = make(map[string]string, 4)
		}
		h.ce[key] = string(value)
	}
}

// event is the kind and the id of a CloudEvent in binary mode.
func (h *headers) event() (kind, id string, ok bool) {
	kind = h.ce["ce_type"]
	source, name := h.ce["ce_source"], h.ce["ce_id"]
	return kind, source + "|" + name, h.ce["ce_specversion"] != "" && kind != "" && source != "" && name != ""
}

// word is what a kind may be.
func word(s string) error {
	if strings.ContainsAny(s, " \t\r\n") {
		return errors.New("holds white space")
	}
	return errors.Join(nonempty(s), text(s, 200))
}

// text is what any other text may be.
func text(s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("is longer than %d bytes", limit)
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("holds a control character")
	}
	return nil
}

// instant is a time that can be written in UTC again.
func instant(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if y := t.UTC().Year(); err == nil && (y < 0 || y > 9999) {
		err = errors.New("cannot parse: in UTC it is outside of the years 0 to 9999")
	}
	return t, err
}

func nonempty(s string) error {
	if s == "" {
		return errors.New("is empty")
	}
	return nil
}

// count reads a number from 0 up, bounded so that milliseconds fit a duration.
func count(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 42)
	if err != nil {
		return 0, errors.New("is no number from 0 up")
	}
	return int(n), nil
}

// parseOrigin reads topic/partition/offset/milliseconds.
func parseOrigin(s string) (ledger.Pos, error) {
	bad := errors.New("is not topic/partition/offset/milliseconds")
	f := strings.Split(s, "/")
	if len(f) != 4 || f[0] == "" {
		return ledger.Pos{}, bad
	}
	partition, err1 := strconv.ParseUint(f[1], 10, 31)
	offset, err2 := strconv.ParseUint(f[2], 10, 63)
	_, err3 := strconv.ParseInt(f[3], 10, 64)
	if errors.Join(err1, err2, err3) != nil {
		return ledger.Pos{}, bad
	}
	return ledger.Pos{Topic: f[0], Partition: int32(partition), Offset: int64(offset)}, nil
}
