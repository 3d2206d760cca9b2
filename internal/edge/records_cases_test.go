package edge_test

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/job"
)

// headerCases are records whose headers are foreign, broken or oversized.
func headerCases() []hostile {
	h := edge.Header
	ce := func(more ...kgo.RecordHeader) []kgo.RecordHeader {
		return append([]kgo.RecordHeader{h("ce_specversion", "1.0"), h("ce_type", "com.example.signup"), h("ce_source", "/shop"), h("ce_id", "e-1"),
			h("content-type", "application/json")}, more...)
	}
	return []hostile{
		{"foreign, no headers", record("anything"), runsAs("foreign", "")},
		{"foreign, headers of its own", record("anything", h("x-request", "1"), h("traceparent", "00-1-2-3")), keeps("foreign", "traceparent", "00-1-2-3")},
		{"foreign, no key", &kgo.Record{Value: []byte("anything")}, runsAs("foreign", "")},
		{"CloudEvent in binary mode", &kgo.Record{Value: []byte(`{"Name":"x"}`), Headers: ce()}, runsAs("com.example.signup", "/shop|e-1")},
		{"CloudEvent without id is foreign", record("x", ce()[:3]...), runsAs("foreign", "")},
		{"CloudEvent with too long an id", record("x", append(ce()[:3], h("ce_id", strings.Repeat("e", 600)))...), malformed("id has")},
		{"CloudEvent with white space in its type", record("x", h("ce_specversion", "1.0"), h("ce_type", "a b"), h("ce_source", "s"), h("ce_id", "1")),
			malformed("contains white space")},
		{"kind without id", record("x", h(job.HeaderKind, "foreign")), malformed("header waybill-id is missing")},
		{"empty kind", record("x", h(job.HeaderKind, ""), h(job.HeaderID, "1")), malformed("kind is empty")},
		{"empty id", record("x", h(job.HeaderKind, "foreign"), h(job.HeaderID, "")), malformed("id is empty")},
		{"nil id", record("x", h(job.HeaderKind, "foreign"), kgo.RecordHeader{Key: job.HeaderID}), malformed("id is empty")},
		{"too long a kind", record("x", h(job.HeaderKind, strings.Repeat("k", 201)), h(job.HeaderID, "1")), malformed("kind has 201 bytes, more than 200")},
		{"oversized id", record("x", named(strings.Repeat("i", 513))...), malformed("id has 513 bytes, more than 512")},
		{"oversized wire header", record("x", named("big", h(job.HeaderCorrelation, strings.Repeat("c", 500_000)))...),
			malformed("correlation has 500000 bytes, more than 512")},
		{"control character in the id", record("x", named("a\x00b")...), malformed("contains a control character")},
		{"kind that is not UTF-8", record("x", h(job.HeaderKind, "\xff\xfe"), h(job.HeaderID, "1")), malformed("is not UTF-8")},
		{"id that is not UTF-8", record("x", named("\xc3\x28")...), malformed("is not UTF-8")},
		{"duplicated id", record("x", named("one", h(job.HeaderID, "two"))...), malformed("header waybill-id stands twice")},
		{"duplicated user header", record("x", named("twice", h("x-a", "1"), h("x-a", "2"))...), runsAs("foreign", "twice")},
		{"version that is no number", record("x", named("version", h(job.HeaderVersion, "-1"))...), malformed(`version "-1" is not a number`)},
		{"instant that is no time", record("x", named("at", h(job.HeaderAt, "tomorrow"))...), malformed("is not an RFC 3339 time")},
		{"expiry beyond the calendar", record("x", named("expires", h(job.HeaderExpires, "9999-12-31T23:59:59-23:00"))...), malformed("is not an RFC 3339 time")},
		{"10,000 headers", record("x", named("many", many(10_000, "x-")...)...), keeps("foreign", "x-9999", "9999")},
		{"10,000 wire headers", record("x", named("manywire", many(10_000, "waybill-junk-")...)...), runsAs("foreign", "manywire")},
		{"10,000 times the same wire header", record("x", repeated(10_000, job.HeaderID, "same")...), malformed("stands twice")},
		{"40 kB header name", record("x", named("longname", h(strings.Repeat("n", 40_000), "v"))...), runsAs("foreign", "longname")},
		{"header names that are not UTF-8", record("x", named("badname", h("\xff\xfe", "\xff"), h("", ""))...), runsAs("foreign", "badname")},
	}
}

func many(n int, prefix string) (out []kgo.RecordHeader) {
	for i := range n {
		out = append(out, edge.Header(fmt.Sprint(prefix, i), fmt.Sprint(i)))
	}
	return out
}

func repeated(n int, name, value string) (out []kgo.RecordHeader) {
	for range n {
		out = append(out, edge.Header(name, value))
	}
	return out
}

// keeps is runsAs for a job that must have brought a header along.
func keeps(kind, name, value string) fate {
	f := runsAs(kind, "")
	ran := f.ran
	f.ran = func(m *job.Message) string {
		for _, h := range m.Headers {
			if h.Key == name && string(h.Value) == value {
				return ran(m)
			}
		}
		return fmt.Sprintf("header %s is not among its %d", name, len(m.Headers))
	}
	return f
}

// payloadCases are records whose payload no handler can take.
func payloadCases() []hostile {
	h := edge.Header
	job1 := func(kind, id string, more ...kgo.RecordHeader) []kgo.RecordHeader {
		return append([]kgo.RecordHeader{h(job.HeaderKind, kind), h(job.HeaderID, id)}, more...)
	}
	undecodable := func(code job.Code, text string) fate {
		return fate{disposition: dlq.Undecodable, code: code, text: text}
	}
	unknown := func(code job.Code, text string) fate {
		return fate{disposition: dlq.Unknown, code: code, text: text, letter: func(l *dlq.Letter) string {
			if l.Hop == 0 || l.Attempts != 0 {
				return fmt.Sprintf("its letter has made %d hops and burnt %d attempts, want some hops and no attempt", l.Hop, l.Attempts)
			}
			return ""
		}}
	}
	return []hostile{
		{"nil value, raw codec", &kgo.Record{Key: []byte("k"), Headers: named("nil-raw")}, runsAs("foreign", "nil-raw")},
		{"nil value, JSON", &kgo.Record{Key: []byte("k"), Headers: job1("versioned", "nil-json")}, undecodable(job.CodeDecode, "the payload is empty, not JSON")},
		{"nil value, no headers", &kgo.Record{Key: []byte("tombstone")}, runsAs("foreign", "")},
		{"payload that is no JSON", record("{", job1("versioned", "bad")...), undecodable(job.CodeDecode, "decode payload")},
		{"payload of another shape", record(`{"N":"text"}`, job1("versioned", "shape")...), undecodable(job.CodeDecode, "decode payload")},
		{"payload that is not UTF-8", record("\xff\xfe\x00", job1("versioned", "utf8")...), undecodable(job.CodeDecode, "decode payload")},
		{"payload nested 20,000 deep", record(strings.Repeat("[", 20_000), job1("versioned", "deep")...), undecodable(job.CodeDecode, "decode payload")},
		{"wrong content type", record(`{}`, job1("versioned", "xml", h("content-type", "application/xml"))...),
			undecodable(job.CodeContentType, `content type "application/xml" is not "application/json"`)},
		{"content type that is not UTF-8", record(`{}`, job1("versioned", "xml2", h("content-type", "\xff"))...), malformed("is not UTF-8")},
		{"older version", record(`{"N":1}`, job1("versioned", "v1", h(job.HeaderVersion, "1"))...), runsAs("versioned", "v1")},
		{"future version", record(`{"N":1}`, job1("versioned", "v3", h(job.HeaderVersion, "3"))...),
			unknown(job.CodeUnknownVersion, `payload version 3 of kind "versioned" is newer than the handler's 2`)},
		{"unknown kind", record(`{}`, job1("nobody.knows", "u1")...), unknown(job.CodeUnknownKind, `no handler is registered for kind "nobody.knows"`)},
		{"unknown kind of a CloudEvent", record(`{}`, h("ce_specversion", "1.0"), h("ce_type", "com.example.other"), h("ce_source", "s"), h("ce_id", "1")),
			unknown(job.CodeUnknownKind, `no handler is registered for kind "com.example.other"`)},
	}
}

// forgedCases carry the engine's own headers on the job topic, where they count nothing.
func forgedCases() []hostile {
	h := edge.Header
	return []hostile{
		{"forged engine headers", record("x", named("forged", h(job.HeaderHop, "7"), h(job.HeaderGen, "3"), h(job.HeaderAttempt, "9"),
			h(job.HeaderDelay, "86400000"), h(job.HeaderFirst, "1999-01-01T00:00:00Z"), h(job.HeaderOrigin, "other/0/0/0"),
			h(job.HeaderError, "panic: not yours"))...), runsAs("foreign", "forged")},
		{"forged engine headers that are nonsense", record("x", named("forged2", h(job.HeaderHop, "-1"), h(job.HeaderOrigin, "///"), h(job.HeaderHop, "2"))...),
			runsAs("foreign", "forged2")},
		{"oversized forged engine header", record("x", named("forged5", h(job.HeaderError, strings.Repeat("e", 500_000)), h("waybill-junk", strings.Repeat("j", 100_000)))...),
			runsAs("foreign", "forged5")},
		{"forged headers of a letter", record("x", named("forged3", h(dlq.HeaderLetter, "1"), h(dlq.HeaderDisposition, "poison"),
			h(dlq.HeaderIdentity, strings.Repeat("0", 32)))...), runsAs("foreign", "forged3")},
		{"forged engine headers on a job that fails", record("x", h(job.HeaderKind, "failing"), h(job.HeaderID, "forged4"), h(job.HeaderAttempt, "9"),
			h(job.HeaderOrigin, "other/0/0/0"), h(job.HeaderGen, "3"), h(dlq.HeaderFingerprint, "mine")), failsTwice()},
	}
}

func failsTwice() fate {
	return fate{disposition: dlq.Exhausted, code: job.CodeHandlerError, text: "the handler always says no", hops: 1, letter: func(l *dlq.Letter) string {
		if l.Attempts != 2 || l.Generation != 0 {
			return fmt.Sprintf("its letter says %d attempts, generation %d", l.Attempts, l.Generation)
		}
		return ""
	}}
}
