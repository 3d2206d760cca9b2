package checker

import (
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

func wireHeaders(pairs ...string) (all []Header) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Header{pairs[i], []byte(pairs[i+1])})
	}
	return all
}

func TestHeadersOfACopy(t *testing.T) {
	h := parseHeaders(wireHeaders("waybill-kind", "email.welcome", "waybill-id", "1", "waybill-at", "2026-03-01T12:00:00.5Z",
		"waybill-expires", "2026-03-01T13:00:00+01:00", "waybill-hop", "2", "waybill-gen", "1", "waybill-attempt", "3", "waybill-delay", "1500",
		"waybill-first", "2026-03-01T12:00:00Z", "waybill-origin", "emails/3/17/1772366400000", "waybill-error", "panic: at the disco: live",
		"waybill-version", "2", "waybill-correlation", "c", "traceparent", "x", "content-type", "application/json"), true)
	switch {
	case h.bad != "":
		t.Error(h.bad)
	case h.kind != "email.welcome" || h.id != "1" || h.hop != 2 || h.gen != 1 || h.attempt != 3 || h.delay != 1500*time.Millisecond || h.code != "panic":
		t.Errorf("%+v", h)
	case !h.at.Equal(epoch.Add(500*time.Millisecond)) || !h.expires.Equal(epoch):
		t.Errorf("at %v, expires %v", h.at, h.expires)
	case h.origin != (ledger.Pos{Topic: "emails", Partition: 3, Offset: 17}):
		t.Error(h.origin)
	}
}

func TestEngineHeadersCountNothingOnTheJobTopic(t *testing.T) {
	h := parseHeaders(wireHeaders("waybill-kind", "k", "waybill-id", "1", "waybill-hop", "7", "waybill-gen", "x"), false)
	if h.bad != "" || h.hop != 0 || h.has("hop") {
		t.Errorf("%+v", h)
	}
}

func TestMalformedHeaders(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"kind", "", "is empty"},
		{"id", "", "is empty"},
		{"at", "tomorrow", "cannot parse"},
		{"expires", "1772366400", "cannot parse"},
		{"hop", "-1", "is no number"},
		{"hop", "1.5", "is no number"},
		{"gen", "", "is no number"},
		{"delay", "5s", "is no number"},
		{"delay", "99999999999999999999", "is no number"},
		{"first", "now", "cannot parse"},
		{"origin", "emails/3/17", "is not topic/partition/offset/milliseconds"},
		{"origin", "/3/17/0", "is not topic/partition/offset/milliseconds"},
		{"origin", "emails/-3/17/0", "is not topic/partition/offset/milliseconds"},
		{"origin", "emails/3/17/0/1", "is not topic/partition/offset/milliseconds"},
		{"error", ": no code", "is empty"},
		{"code", "", "is empty"},
	} {
		h := parseHeaders(wireHeaders("waybill-"+c.name, c.value), true)
		if !strings.Contains(h.bad, c.want) || !strings.Contains(h.bad, "waybill-"+c.name) {
			t.Errorf("%s %q: %q, want %q", c.name, c.value, h.bad, c.want)
		}
	}
	long := strings.Repeat("x", 513)
	for _, c := range []struct{ name, value, want string }{
		{"waybill-kind", "a b", "white space"},
		{"waybill-kind", "a\n", "white space"},
		{"waybill-kind", long[:201], "longer than 200"},
		{"waybill-kind", "\xff", "not UTF-8"},
		{"waybill-id", "a\x00b", "control character"},
		{"waybill-id", "\x7f", "control character"},
		{"waybill-id", long, "longer than 512"},
		{"waybill-id", "\xc3\x28", "not UTF-8"},
		{"waybill-at", "9999-12-31T23:59:59-23:00", "outside of the years"},
		{"waybill-expires", "0000-01-01T00:00:00+23:00", "outside of the years"},
		{"waybill-version", "-1", "invalid syntax"},
		{"waybill-version", "2147483648", "out of range"},
		{"waybill-correlation", long, "longer than 512"},
		{"content-type", "\t", "control character"},
		{"content-type", long[:257], "longer than 256"},
	} {
		for _, copied := range []bool{false, true} {
			if h := parseHeaders(wireHeaders(c.name, c.value), copied); !strings.Contains(h.bad, c.want) || !strings.Contains(h.bad, c.name) {
				t.Errorf("%s %q: %q, want %q", c.name, c.value, h.bad, c.want)
			}
		}
	}
	for _, name := range []string{"waybill-version", "content-type"} {
		if h := parseHeaders(wireHeaders(name, "1", name, "1"), false); !strings.Contains(h.bad, "stands twice") {
			t.Errorf("%s stands twice: %q", name, h.bad)
		}
	}
	if h := parseHeaders(wireHeaders("waybill-content-type", "\t", "waybill-content-type", "\t"), false); h.bad != "" {
		t.Errorf("a reserved name that is no header of the format: %q", h.bad)
	}
	if h := parseHeaders(wireHeaders("waybill-kind", "k", "waybill-id", "1", "waybill-id", "2"), false); !strings.Contains(h.bad, "stands twice") {
		t.Errorf("an id that stands twice: %q", h.bad)
	}
	if h := parseHeaders(wireHeaders("waybill-kind", "k"), false); !strings.Contains(h.bad, "waybill-id is missing") {
		t.Errorf("a kind without an id: %q", h.bad)
	}
}

func TestCloudEventHeaders(t *testing.T) {
	whole := []string{"ce_specversion", "1.0", "ce_type", "shop.order", "ce_source", "/shop", "ce_id", "9"}
	h := parseHeaders(wireHeaders(whole...), false)
	if kind, id, ok := h.event(); !ok || kind != "shop.order" || id != "/shop|9" {
		t.Error(kind, id, ok)
	}
	for _, c := range []struct{ kind, id string }{{"a b", "9"}, {"a", "\x00"}, {"a", strings.Repeat("x", 507)}, {strings.Repeat("x", 201), "9"}} {
		h := parseHeaders(wireHeaders("ce_specversion", "1.0", "ce_type", c.kind, "ce_source", "/shop", "ce_id", c.id), false)
		if !strings.HasPrefix(h.bad, "CloudEvent") {
			t.Errorf("event %q %q: %q", c.kind, c.id, h.bad)
		}
	}
	for i := 0; i < len(whole); i += 2 {
		part := append(append([]string{}, whole[:i]...), whole[i+2:]...)
		h := parseHeaders(wireHeaders(part...), false)
		if _, _, ok := h.event(); ok {
			t.Errorf("an event without %s", whole[i])
		}
	}
}

// FuzzHeaders: any bytes are read without a panic, and what is taken is within bounds or reported.
func FuzzHeaders(f *testing.F) {
	for _, name := range wireNames {
		f.Add(name, "1", "origin", "emails/3/17/0")
		f.Add(name, "2026-03-01T12:00:00Z", name, "")
	}
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		for _, copied := range []bool{false, true} {
			h := parseHeaders(wireHeaders("waybill-"+k1, v1, "waybill-"+k2, v2, k1, v2), copied)
			if h.hop < 0 || h.gen < 0 || h.attempt < 0 || h.delay < 0 || h.origin.Partition < 0 || h.origin.Offset < 0 {
				t.Errorf("out of bounds: %+v", h)
			}
			if h.bad == "" && (h.has("id") && h.id == "" || h.has("origin") && h.origin.Topic == "" || h.has("kind") && !h.has("id")) {
				t.Errorf("taken as well-formed: %+v", h)
			}
			if !copied && (h.hop != 0 || h.gen != 0 || h.delay != 0 || h.code != "") {
				t.Errorf("a copy's header counted on the job topic: %+v", h)
			}
		}
	})
}
