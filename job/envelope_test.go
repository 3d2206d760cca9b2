package job

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	instant = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	place   = Raw{Topic: "emails", TopicID: "0123", Partition: 3, Offset: 42, Time: instant, Key: []byte("k"), Value: []byte("v")}
	placed  = "0123/3/42/1767323045678"
)

// lines are headers as text: "name=value".
func lines(hs []Header) string {
	var b strings.Builder
	for _, h := range hs {
		fmt.Fprintf(&b, "%s=%s\n", h.Key, h.Value)
	}
	return b.String()
}

// parse is the inverse of lines.
func parse(s string) []Header {
	var hs []Header
	for l := range strings.Lines(s) {
		name, value, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "=")
		hs = append(hs, Header{name, []byte(value)})
	}
	return hs
}

func decode(headers string, trust Trust, defaultKind string) *Envelope {
	e, raw := new(Envelope), place
	Decode(e, &raw, parse(headers), trust, defaultKind)
	return e
}

const goldenJob = `waybill-kind=email.welcome
waybill-id=i1
waybill-version=2
content-type=application/json
waybill-at=2026-01-02T03:04:05.5Z
waybill-expires=2026-01-03T03:04:05Z
waybill-correlation=order-7
traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
tenant=a
tenant=b
`

const goldenStamp = `waybill-hop=5
waybill-gen=1
waybill-attempt=3
waybill-delay=10000
waybill-first=2026-01-02T03:04:05Z
waybill-origin=emails/3/7/1767323045000
waybill-error=handler_error: connection refused
`

func goldenMessage() Message {
	return Message{
		Kind: "email.welcome", ID: "i1", Version: 2, ContentType: "application/json", Correlation: "order-7",
		At:      time.Date(2026, 1, 2, 3, 4, 5, 5e8, time.UTC),
		Expires: time.Date(2026, 1, 3, 3, 4, 5, 0, time.UTC),
		Headers: []Header{
			{"traceparent", []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
			{"tenant", []byte("a")}, {"tenant", []byte("b")},
		},
	}
}

// Wire format (docs/wire.md): these texts never change.
func TestHeadersGolden(t *testing.T) {
	m := goldenMessage()
	if got := lines(ProducerHeaders(nil, &m)); got != goldenJob {
		t.Errorf("ProducerHeaders:\n%s\nwant\n%s", got, goldenJob)
	}
	if got := lines(ProducerHeaders(nil, &Message{Kind: "k", ID: "i"})); got != "waybill-kind=k\nwaybill-id=i\n" {
		t.Errorf("the least: %s", got)
	}
	e := &Envelope{Message: m, WireKind: "mail.hello"} // Kind is the present name, the wire keeps the alias
	stamp := Stamp{
		Hop: 5, Gen: 1, Attempts: 3, Delay: 10 * time.Second, At: m.At, First: instant.Truncate(time.Second),
		Origin: Origin{"emails", 3, 7, instant.Truncate(time.Second)}, Code: CodeHandlerError, Text: "connection refused",
	}
	want := strings.Replace(goldenJob, "email.welcome", "mail.hello", 1) + goldenStamp
	if got := lines(CopyHeaders(nil, e, &stamp)); got != want {
		t.Errorf("CopyHeaders:\n%s\nwant\n%s", got, want)
	}
	least := Stamp{Origin: Origin{"t", 0, 0, time.UnixMilli(0)}}
	want = "waybill-kind=k\nwaybill-id=i\nwaybill-hop=0\nwaybill-attempt=0\nwaybill-delay=0\nwaybill-origin=t/0/0/0\n"
	if got := lines(CopyHeaders(nil, &Envelope{Message: Message{Kind: "n", ID: "i", At: instant}, WireKind: "k"}, &least)); got != want {
		t.Errorf("the least copy, which drops At:\n%s\nwant\n%s", got, want)
	}
	if first := parse("a=b\n"); lines(ProducerHeaders(first, &Message{Kind: "k", ID: "i"})) != "a=b\nwaybill-kind=k\nwaybill-id=i\n" {
		t.Error("ProducerHeaders does not append")
	}
}

func TestDecodeJob(t *testing.T) {
	e := decode(goldenJob+goldenStamp+"waybill-of-tomorrow=x\n", TrustJob, "")
	want := Envelope{Message: goldenMessage(), WireKind: "email.welcome"}
	want.Key, want.Payload, want.Topic, want.Partition, want.Offset = place.Key, place.Value, "emails", 3, 42
	want.Origin = Origin{"emails", 3, 42, instant}
	want.Attempt, want.Digest = 1, DigestOf(place.Value)
	if !reflect.DeepEqual(*e, want) { // engine headers are ignored on the job topic
		t.Errorf("got  %+v\nwant %+v", *e, want)
	}
	if &e.Payload[0] != &place.Value[0] || e.Identity != (Identity{}) {
		t.Error("the payload is copied, or the identity is made before the kind is known")
	}
	e.Identify("mail", "mail.first")
	if e.Kind != "mail" || e.WireKind != "email.welcome" || e.Identity != IdentityOf("mail.first", place.Key, "i1") {
		t.Errorf("Identify: %+v", e)
	}
}

func TestDecodeCopy(t *testing.T) {
	e := decode(goldenJob+goldenStamp, TrustCopy, "")
	if e.Fault != "" || e.Hop != 5 || e.Generation != 1 || e.Attempt != 4 || e.Delay != 10*time.Second ||
		!e.FirstFailure.Equal(instant.Truncate(time.Second)) || e.Origin != (Origin{"emails", 3, 7, instant.Truncate(time.Second)}) ||
		e.LastCode != CodeHandlerError || e.LastError != "connection refused" || len(e.Headers) != 3 {
		t.Errorf("got %+v", e)
	}
}

func TestDecodeForeign(t *testing.T) {
	long := strings.Repeat("x", MaxID+1)
	ce := "ce_specversion=1.0\nce_type=com.example.made\nce_source=/shop\nce_id=7\n"
	for _, c := range []struct {
		name, headers, defaultKind string
		kind, id                   string
		fault                      string
	}{
		{"nothing", "", "", "emails", placed, ""},
		{"default kind", "", "web", "web", placed, ""},
		{"user headers", "a=b\n", "web", "web", placed, ""},
		{"id alone", "waybill-id=i1\n", "web", "web", "i1", ""},
		{"cloud event", ce, "web", "com.example.made", "/shop|7", ""},
		{"cloud event in parts", "ce_type=t\nce_id=7\n", "web", "web", placed, ""},
		{"cloud event beside a kind", ce + "waybill-kind=k\nwaybill-id=i\n", "web", "k", "i", ""},
		{"cloud event, bad type", strings.Replace(ce, "com.", "com .", 1), "web", "web", placed, "kind \"com .example.made\" contains white space"},
		{"cloud event, long type", strings.Replace(ce, "com.", long, 1), "web", "web", placed, "kind has 513 bytes"},
		{"cloud event, long id", strings.Replace(ce, "=7", "="+long, 1), "web", "com.example.made", placed, "id has 519 bytes"},
		{"cloud event, long source", strings.Replace(ce, "/shop", long, 1), "web", "com.example.made", placed, "id has 515 bytes"},
	} {
		e := decode(c.headers, TrustJob, c.defaultKind)
		if e.Kind != c.kind || e.WireKind != c.kind || e.ID != c.id || (e.Fault == "") != (c.fault == "") || !strings.HasPrefix(e.Fault, c.fault) {
			t.Errorf("%s: %s %s, fault %q", c.name, e.Kind, e.ID, e.Fault)
		}
		if ceHeaders := strings.Count(c.headers, "ce_"); ceHeaders > 0 && len(e.Headers) != ceHeaders {
			t.Errorf("%s: %d user headers", c.name, len(e.Headers))
		}
	}
	e, raw := new(Envelope), Raw{Topic: strings.Repeat("t", 249), Time: instant}
	Decode[Header](e, &raw, nil, TrustJob, "")
	if e.Fault != "" || ValidateKind(e.Kind) != nil || !strings.HasPrefix(e.ID, raw.Topic+"/0/0/") || e.Digest != 0 {
		t.Errorf("a long topic: %+v", e)
	}
}

func TestDecodeFaults(t *testing.T) {
	const job = "waybill-kind=k\nwaybill-id=i\n"
	const tier = job + "waybill-hop=1\nwaybill-delay=5\nwaybill-origin=emails/3/7/0\n"
	for headers, want := range map[string]string{
		"waybill-kind=k\n":                       "header waybill-id is missing beside waybill-kind",
		"waybill-kind=\nwaybill-id=i\n":          "kind is empty",
		"waybill-kind=a b\nwaybill-id=i\n":       `kind "a b" contains white space`,
		"waybill-kind=k\nwaybill-id=\n":          "id is empty",
		job + "waybill-id=i\n":                   "header waybill-id stands twice",
		job + "waybill-version=-1\n":             `version "-1" is not a number from 0 to 2147483647`,
		job + "waybill-version=2147483648\n":     "version",
		job + "content-type=a\x00\n":             "content-type",
		job + "content-type=a\ncontent-type=a\n": "header content-type stands twice",
		job + "waybill-at=tomorrow\n":            `at "tomorrow" is not an RFC 3339 time`,
		job + "waybill-expires=\n":               "expires",
		job + "waybill-correlation=a\x01\n":      "correlation",
		job + "waybill-correlation=" + big(513):  "correlation has 513 bytes",
	} {
		e := decode(headers, TrustJob, "web")
		if !strings.HasPrefix(e.Fault, want) || e.ID != placed || ValidateKind(e.Kind) != nil || e.Attempt != 1 {
			t.Errorf("%.80q: fault %q, kind %q, id %q; want %q", headers, e.Fault, e.Kind, e.ID, want)
		}
	}
	for _, headers := range []string{"waybill-of-tomorrow=" + big(MaxText*2), "waybill-error=" + big(MaxText*2), "waybill-hop=-1\nwaybill-hop=x\n"} {
		if e := decode(job+headers, TrustJob, "web"); e.Fault != "" || e.ID != "i" || e.Hop != 0 || e.LastError != "" || len(e.Headers) != 0 {
			t.Errorf("%.40q is ignored on a job topic: %+v", headers, e)
		}
	}
	own := Origin{"emails", 3, 42, instant}
	carried := Origin{"emails", 3, 7, time.UnixMilli(0).UTC()}
	if e := decode(tier, TrustCopy, ""); e.Fault != "" || e.Origin != carried || e.Hop != 1 || e.Attempt != 1 {
		t.Fatalf("the least copy: %+v", e)
	}
	for _, c := range []struct {
		headers, want string
		origin        Origin
	}{
		{"", "a record of a retry tier lacks header waybill-kind", own},
		{job, "a record of a retry tier lacks header waybill-hop", own},
		{strings.Replace(tier, "waybill-id=i\n", "", 1), "a record of a retry tier lacks header waybill-id", carried},
		{strings.Replace(tier, "waybill-delay=5\n", "", 1), "a record of a retry tier lacks header waybill-delay", carried},
		{strings.Replace(tier, "/0\n", "\n", 1), `origin "emails/3/7" is not`, own},
		{strings.Replace(tier, "hop=1", "hop=4294967296", 1), "hop", carried},
		{tier + "waybill-gen=x\n", "generation", carried},
		{tier + "waybill-attempt=2147483647\n", "attempt", carried},
		{tier + "waybill-delay=5\n", "header waybill-delay stands twice", carried},
		{tier + "waybill-first=x\n", "first failure", carried},
		{tier + "waybill-error=" + big(MaxText+65), "header waybill-error has", carried},
		{tier + "waybill-of-tomorrow=" + big(MaxText*2), "header waybill-of-tomorrow has 8192 bytes", carried},
	} {
		e := decode(c.headers, TrustCopy, "web")
		if !strings.HasPrefix(e.Fault, c.want) || e.ID != placed || e.Hop != 0 || e.Generation != 0 || e.Origin != c.origin {
			t.Errorf("%.200q: %+v; want %q", c.headers, e, c.want)
		}
	}
}

func big(n int) string { return strings.Repeat("x", n) + "\n" }

func TestOwned(t *testing.T) {
	for name, want := range map[string]bool{
		"waybill-kind": true, "waybill-": true, "content-type": true, "Content-Type": false, "waybill": false, "": false, "ce_id": false,
	} {
		if Owned(name) != want {
			t.Errorf("Owned(%q) = %v", name, !want)
		}
	}
}

// asker is a record as the consumer wraps it.
type asker string

func (a asker) As(target any) bool {
	p, ok := target.(*string)
	if ok {
		*p = string(a)
	}
	return ok
}

func TestMessage(t *testing.T) {
	m := goldenMessage()
	m.Attempt, m.Topic, m.Partition, m.Offset = 2, "emails", 3, 42
	if m.String() != "email.welcome/i1 attempt 2 at emails/3/42" {
		t.Errorf("String() = %s", m.String())
	}
	if string(m.Header("tenant")) != "a" || m.Header("none") != nil {
		t.Error("Header does not return the first of the name, or nil")
	}
	m.Identity = IdentityOf("k", nil, "i")
	if m.IdempotencyKey() != m.Identity.String() || len(m.IdempotencyKey()) != 32 {
		t.Errorf("IdempotencyKey() = %s", m.IdempotencyKey())
	}
	var s string
	var n int
	if m.As(&s) {
		t.Error("As succeeds without a record")
	}
	if m.Native = asker("record"); !m.As(&s) || s != "record" || m.As(&n) {
		t.Errorf("As: %q", s)
	}
}

// foreignHeader has the layout of Header, as the Kafka client's has.
type foreignHeader struct {
	Key   string
	Value []byte
}

func TestDecodeOtherHeaderTypes(t *testing.T) {
	e, raw := new(Envelope), place
	Decode(e, &raw, []foreignHeader{{HeaderKind, []byte("k")}, {HeaderID, []byte("i")}, {"a", []byte("b")}}, TrustJob, "")
	if e.Kind != "k" || e.ID != "i" || !slices.EqualFunc(e.Headers, []Header{{"a", []byte("b")}}, func(x, y Header) bool {
		return x.Key == y.Key && string(x.Value) == string(y.Value)
	}) {
		t.Errorf("got %+v", e)
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, c := range map[string]struct {
		headers string
		trust   Trust
	}{"job": {"waybill-kind=email.welcome\nwaybill-id=i1\n", TrustJob}, "copy": {goldenJob + goldenStamp, TrustCopy}, "foreign": {"", TrustJob}} {
		b.Run(name, func(b *testing.B) {
			hs, raw := parse(c.headers), place
			b.ReportAllocs()
			for b.Loop() {
				var e Envelope
				Decode(&e, &raw, hs, c.trust, "web")
			}
		})
	}
}

func BenchmarkCopyHeaders(b *testing.B) {
	var e Envelope
	raw := place
	Decode(&e, &raw, parse(goldenJob), TrustJob, "")
	s := Stamp{Hop: 1, Attempts: 1, Delay: time.Second, First: raw.Time, Origin: e.Origin, Code: CodeHandlerError, Text: "connection refused"}
	var blocks HeaderBlocks
	for name, write := range map[string]func(){"alone": func() { CopyHeaders(nil, &e, &s) }, "in blocks": func() { blocks.Copy(&e, &s) }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				write()
			}
		})
	}
}

// Headers in blocks are those made alone, whatever is written after them, appended to them or too large for a block.
func TestHeaderBlocks(t *testing.T) {
	var e Envelope
	raw := place
	Decode(&e, &raw, parse(goldenJob), TrustJob, "")
	texts := []string{"", "connection refused", strings.Repeat("x", 500), "\xff", strings.Repeat("y", 5000)}
	var blocks HeaderBlocks
	var got [][]Header
	var want []string
	for i := range 500 {
		s := Stamp{Hop: uint32(i), Attempts: i, Delay: time.Second, At: raw.Time, First: raw.Time, Origin: e.Origin, Code: CodeHandlerError, Text: texts[i%len(texts)]}
		e.Headers = make([]Header, i%7*i%50)
		hs := blocks.Copy(&e, &s)
		got, want = append(got, hs), append(want, lines(CopyHeaders(nil, &e, &s)))
		_ = append(hs, Header{"other", nil})
		for j := range hs {
			_ = append(hs[j].Value, "other"...)
		}
	}
	for i := range got {
		if lines(got[i]) != want[i] {
			t.Fatalf("copy %d:\n%s\nwant\n%s", i, lines(got[i]), want[i])
		}
	}
}
