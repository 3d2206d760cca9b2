package dlq

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// native stands for the record behind a message, as the engine hands it over.
type native struct{ rec *kgo.Record }

func (n native) As(target any) bool {
	if p, ok := target.(**kgo.Record); ok {
		*p = n.rec
		return true
	}
	return false
}

// envelope decodes a record of the job topic "emails", partition 3, offset 42.
func envelope(key, value []byte, headers ...job.Header) *job.Envelope {
	rec := &kgo.Record{Key: key, Value: value}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	e := new(job.Envelope)
	raw := &job.Raw{Topic: "emails", Partition: 3, Offset: 42, Time: noon, Key: key, Value: value, Native: native{rec}}
	job.Decode(e, raw, headers, job.TrustJob, "")
	e.Identify(e.Kind, e.Kind)
	return e
}

func header(name, value string) job.Header { return job.Header{Key: name, Value: []byte(value)} }

func welcome() *job.Envelope {
	return envelope([]byte("k"), []byte(`{"user_id":"u1"}`), header(job.HeaderKind, "email.welcome"), header(job.HeaderID, "i1"),
		header("traceparent", "00-1"), header(job.HeaderContentType, "application/json"), header(job.HeaderVersion, "2"))
}

func decode(t testing.TB, key, value []byte, headers []job.Header) Letter {
	t.Helper()
	l, err := Decode(&job.Raw{Topic: "emails.mailer.dlq", Partition: 1, Offset: 7, Time: noon, Key: key, Value: value}, headers)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRecord(t *testing.T) {
	e := welcome()
	e.Generation, e.Hop, e.WireKind = 2, 5, "email.hello"
	f := &Filing{Envelope: e, Disposition: Exhausted, Code: job.CodeHandlerError, Text: "smtp: user 17: refused", Attempts: 10,
		First: noon.Add(-time.Hour), Last: noon, Handler: "email.welcome v2", Instance: "host-1", Now: noon.Add(time.Minute)}
	key, value, headers := Record(f)
	got := decode(t, key, value, headers)
	want := Letter{
		Topic: "emails.mailer.dlq", Partition: 1, Offset: 7, Filed: noon,
		Kind: "email.hello", ID: "i1", Key: []byte("k"), Version: 2, ContentType: "application/json", Payload: e.Payload,
		Headers: []job.Header{header("traceparent", "00-1")}, Origin: e.Origin, Identity: e.Identity, Digest: e.Digest,
		Generation: 2, Hop: 5, Attempts: 10, First: noon.Add(-time.Hour), Last: noon, Disposition: Exhausted,
		Code: job.CodeHandlerError, Text: "smtp: user 17: refused", Fingerprint: Fingerprint(job.CodeHandlerError, "smtp: user 18: refused"),
		Handler: "email.welcome v2", Instance: "host-1", PayloadBytes: 16,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got.Ref() != "1/7" {
		t.Errorf("ref %q", got.Ref())
	}
}

func TestRecordDefaults(t *testing.T) {
	e := welcome()
	key, value, headers := Record(&Filing{Envelope: e, Now: noon})
	l := decode(t, key, value, headers)
	if !l.First.Equal(noon) || !l.Last.Equal(noon) || l.Disposition != 0 || l.Code != job.CodeNone || l.Attempts != 0 {
		t.Errorf("letter %+v", l)
	}
	e.FirstFailure = noon.Add(-time.Hour)
	key, value, headers = Record(&Filing{Envelope: e, Now: noon, Attempts: -1, Instance: strings.Repeat("é", 300), Text: strings.Repeat("\xff", 9000)})
	l = decode(t, key, value, headers)
	if !l.First.Equal(e.FirstFailure) || l.Attempts != 0 || len(l.Instance) > maxLabel || len(l.Text) > job.MaxText {
		t.Errorf("letter %+v", l)
	}
	key, value, headers = Record(&Filing{Envelope: e, Last: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)})
	if l = decode(t, key, value, headers); !l.Last.IsZero() {
		t.Errorf("a time beyond the calendar reads %v", l.Last)
	}
}

// A malformed record's reserved headers are kept as they were, and the letter is well-formed all the same.
func TestRecordMalformed(t *testing.T) {
	long := strings.Repeat("v", job.MaxText+1000)
	e := envelope(nil, []byte("x"), header(job.HeaderKind, "a kind"), header(job.HeaderID, ""), header(job.HeaderCorrelation, "\x00"),
		header(job.HeaderAt, "noon"), header("waybill-odd", long), header("user", "u"))
	if e.Fault == "" {
		t.Fatal("the record is not malformed")
	}
	key, value, headers := Record(&Filing{Envelope: e, Disposition: Malformed, Code: job.CodeMalformed, Now: noon})
	l := decode(t, key, value, headers)
	wantRaw := []string{"waybill-kind=a kind", "waybill-id=", "waybill-correlation=\x00", "waybill-at=noon", "waybill-odd=" + long}
	if !reflect.DeepEqual(l.Raw, wantRaw) {
		t.Errorf("raw %q", l.Raw)
	}
	if l.Kind != "emails" || l.ID != e.ID || l.Text != e.Fault || len(l.Headers) != 1 || string(l.Payload) != "x" {
		t.Errorf("letter %+v", l)
	}
	e.Native = nil
	key, value, headers = Record(&Filing{Envelope: e, Disposition: Malformed, Now: noon})
	if l = decode(t, key, value, headers); l.Raw != nil || l.ID != e.ID {
		t.Errorf("without the record: %+v", l)
	}
}

func TestTruncated(t *testing.T) {
	big := bytes.Repeat([]byte("p"), 1<<20)
	for _, c := range []struct {
		name       string
		e          *job.Envelope
		key, users bool // kept
	}{
		{"payload", envelope([]byte("k"), big, header(job.HeaderKind, "a"), header(job.HeaderID, "1"), header("u", "v")), true, true},
		{"headers", envelope([]byte("k"), big, header(job.HeaderKind, "a"), header(job.HeaderID, "1"), job.Header{Key: "u", Value: big}), true, false},
		{"key", envelope(big, nil, header(job.HeaderKind, "a"), header(job.HeaderID, "1"), header("u", "v")), false, true},
		{"malformed", envelope(big, big, job.Header{Key: "waybill-odd", Value: big}), false, false},
	} {
		f := &Filing{Envelope: c.e, Disposition: TooLarge, Code: job.CodeTooLarge, Text: strings.Repeat("t", job.MaxText), Now: noon}
		key, value, headers := Truncated(f)
		if n := len(key) + len(value) + size(headers); n > 64<<10-1000 {
			t.Errorf("%s: the truncated letter has %d bytes", c.name, n)
		}
		l := decode(t, key, value, headers)
		if !l.Truncated || l.Payload != nil || l.PayloadBytes != len(c.e.Payload) || l.Digest != c.e.Digest || l.Identity != c.e.Identity {
			t.Errorf("%s: %+v", c.name, l)
		}
		if (l.Key != nil) != c.key || (len(l.Headers) > 0) != c.users {
			t.Errorf("%s: key %d bytes, headers %d", c.name, len(l.Key), len(l.Headers))
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	_, _, good := Record(&Filing{Envelope: welcome(), Disposition: Explicit, Now: noon})
	raw := &job.Raw{Topic: "d", Time: noon}
	without := func(name string) (h []job.Header) {
		for i := range good {
			if good[i].Key != name {
				h = append(h, good[i])
			}
		}
		return h
	}
	with := func(name, value string) []job.Header { return append(without(name), header(name, value)) }
	for name, headers := range map[string][]job.Header{
		"nothing": nil, "no letter": without(HeaderLetter), "no origin": without(job.HeaderOrigin), "no digest": without(HeaderDigest),
		"no identity": without(HeaderIdentity), "no disposition": without(HeaderDisposition), "bad letter": with(HeaderLetter, "x"),
		"version 0": with(HeaderLetter, "0"), "bad origin": with(job.HeaderOrigin, "a/b"), "bad disposition": with(HeaderDisposition, "sad"),
		"bad digest": with(HeaderDigest, "xyz"), "bad identity": with(HeaderIdentity, "00"), "bad gen": with(job.HeaderGen, "-1"),
		"bad attempts": with(HeaderAttempts, "many"), "bad time": with(HeaderLast, "9999-12-31T23:59:59-12:00"), "bad kind": with(job.HeaderKind, "a b"),
		"twice": append(with(HeaderDigest, "1"), header(HeaderDigest, "2")), "endless": with(HeaderHandler, strings.Repeat("x", 9000)),
		"bad size": with(HeaderPayloadBytes, "-"),
	} {
		if _, err := Decode(raw, headers); !errors.Is(err, ErrNotLetter) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	var version *VersionError
	if _, err := Decode(raw, with(HeaderLetter, "2")); !errors.As(err, &version) || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("a newer version: %v", err)
	}
	if l, err := Decode(raw, with(job.HeaderError, "new_code: text")); err != nil || l.Code != job.CodeNone || l.Text != "new_code: text" {
		t.Errorf("a code of the future: %+v, %v", l, err)
	}
	if l, err := Decode(raw, with("waybill-future", "x")); err != nil || l.Kind != "email.welcome" {
		t.Errorf("a header of the future: %v", err)
	}
}

// What Record writes of any record whatever, Decode reads, and reads the same.
func TestLetterRoundTrip(t *testing.T) {
	names := rapid.OneOf(rapid.SampledFrom([]string{job.HeaderKind, job.HeaderID, job.HeaderAt, job.HeaderExpires, job.HeaderCorrelation, job.HeaderVersion,
		job.HeaderContentType, job.HeaderGen, job.HeaderOrigin, HeaderLetter, HeaderRaw, "ce_id", "user"}), rapid.String())
	values := rapid.OneOf(rapid.SampledFrom([]string{"a", "17", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z", "a b", "\xff", ""}), rapid.String())
	rapid.Check(t, func(t *rapid.T) {
		var headers []job.Header
		for range rapid.IntRange(0, 6).Draw(t, "headers") {
			headers = append(headers, header(names.Draw(t, "name"), values.Draw(t, "value")))
		}
		key := rapid.SliceOf(rapid.Byte()).Draw(t, "key")
		e := envelope(key, rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), headers...)
		e.Generation, e.Hop = rapid.Uint32().Draw(t, "gen"), rapid.Uint32().Draw(t, "hop")
		f := &Filing{
			Envelope: e, Disposition: rapid.SampledFrom(Dispositions()).Draw(t, "disposition"),
			Code: job.Code(rapid.Uint8().Draw(t, "code")), Text: rapid.String().Draw(t, "text"), Attempts: rapid.Int().Draw(t, "attempts"),
			Handler: rapid.String().Draw(t, "handler"), Instance: rapid.String().Draw(t, "instance"),
			Last: time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "last"), 0), Now: noon,
		}
		key, value, letterHeaders := Record(f)
		l, err := Decode(&job.Raw{Topic: "d", Time: noon, Key: key, Value: value}, letterHeaders)
		if err != nil {
			t.Fatal(err)
		}
		if l.Kind != e.WireKind || l.ID != e.ID || l.Identity != e.Identity || l.Digest != e.Digest || l.Origin.String() != e.Origin.String() ||
			l.Generation != e.Generation || l.Hop != e.Hop || l.Disposition != f.Disposition || !bytes.Equal(l.Payload, e.Payload) ||
			!bytes.Equal(l.Key, e.Key) || !reflect.DeepEqual(l.Headers, e.Headers) {
			t.Fatalf("%+v became %+v", e, l)
		}
		if e.Fault == "" && (!l.At.Equal(e.At) || !l.Expires.Equal(e.Expires) || l.Correlation != e.Correlation || l.Version != e.Version) {
			t.Fatalf("%+v became %+v", e, l)
		}
		if _, err := l.MarshalJSON(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	_, _, good := Record(&Filing{Envelope: welcome(), Disposition: Explicit, Now: noon})
	for _, h := range good {
		f.Add(h.Key, h.Value, []byte("{}"), int64(0))
	}
	f.Add(HeaderPayloadBytes, []byte("17"), []byte(nil), int64(math.MaxInt64))
	f.Add(HeaderRaw, []byte("waybill-kind=\xff"), []byte("null"), int64(-1))
	f.Fuzz(func(t *testing.T, name string, value, payload []byte, ms int64) {
		headers := []job.Header{{Key: name, Value: value}}
		for i := range good {
			if good[i].Key != name {
				headers = append(headers, good[i])
			}
		}
		l, err := Decode(&job.Raw{Topic: "d", Time: time.UnixMilli(ms), Value: payload}, headers)
		if err != nil {
			var version *VersionError
			if !errors.Is(err, ErrNotLetter) && !errors.As(err, &version) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if _, err := l.MarshalJSON(); err != nil {
			t.Fatalf("%+v: %v", l, err)
		}
	})
}

func FuzzParseRef(f *testing.F) {
	f.Add("3/1042")
	f.Add("-1/2")
	f.Fuzz(func(t *testing.T, s string) {
		p, o, err := ParseRef(s)
		if err != nil {
			return
		}
		if p2, o2, err := ParseRef(FormatRef(p, o)); err != nil || p2 != p || o2 != o {
			t.Fatalf("%q reads %d/%d, which reads %d/%d, %v", s, p, o, p2, o2, err)
		}
	})
}
