package checker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

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

	seen uint16 // bit i: wireNames[i] stood on the record
	ce   map[string]string
	bad  string // the first thing wrong; empty when well-formed
}

// wireNames are the headers read, without their prefix.
var wireNames = [...]string{"kind", "id", "at", "expires", "hop", "gen", "attempt", "attempts", "delay", "first", "origin", "error", "code"}

// has reports whether a wire header stood on the record, named without its prefix.
func (h *headers) has(name string) bool { return h.seen&bit(name) != 0 }

func bit(name string) uint16 {
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
		if !ok {
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
			h.bad = fmt.Sprintf("header waybill-%s %.40q %v", name, x.Value, err)
		}
	}
	if h.bad == "" && h.has("kind") && !h.has("id") {
		h.bad = "header waybill-id is missing beside waybill-kind"
	}
	return h
}

// errOther says that a header is not one of those asked for.
var errOther = errors.New("is another header")

func (h *headers) producers(name, v string) (err error) {
	switch name {
	case "kind":
		h.kind, err = v, nonempty(v)
	case "id":
		h.id, err = v, nonempty(v)
	case "at":
		h.at, err = time.Parse(time.RFC3339Nano, v)
	case "expires":
		h.expires, err = time.Parse(time.RFC3339Nano, v)
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
		_, err = time.Parse(time.RFC3339Nano, v)
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
