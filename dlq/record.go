package dlq

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
)

// The headers that stand on letters alone. Beside them a letter has the producer's headers and, of those of copies,
// waybill-hop, -gen, -first, -origin and -error.
const (
	HeaderLetter       = "waybill-letter"        // version of this format; marks a record as a letter
	HeaderAttempts     = "waybill-attempts"      // attempts burnt
	HeaderLast         = "waybill-last"          // time of the last failure
	HeaderFingerprint  = "waybill-fingerprint"   // see Fingerprint
	HeaderHandler      = "waybill-handler"       // handler and version that gave up
	HeaderInstance     = "waybill-instance"      // the instance that filed
	HeaderDisposition  = "waybill-disposition"   // why it was filed
	HeaderDigest       = "waybill-digest"        // of the job's payload, 16 hex digits
	HeaderIdentity     = "waybill-identity"      // 32 hex digits: a reader does not know the first name of a renamed kind
	HeaderPayloadBytes = "waybill-payload-bytes" // the payload was left out and had this many
	HeaderHeadersBytes = "waybill-headers-bytes" // the user's headers were left out and had this many
	HeaderKeyBytes     = "waybill-key-bytes"     // the key was left out and had this many
	HeaderRaw          = "waybill-raw"           // of a malformed record, repeated: name=value of a reserved header as read
)

// letterVersion is the version that Record writes and the newest that Decode reads.
const letterVersion = 1

// maxLabel bounds Filing.Handler and Filing.Instance, in bytes.
const maxLabel = 256

// Filing is a job on its way to the dead letters.
type Filing struct {
	Envelope    *job.Envelope // the record the job was last read from, identified
	Disposition Disposition
	Code        job.Code  // of the last failure
	Text        string    // of the last failure; cut to job.MaxText
	Attempts    int       // burnt
	First       time.Time // first failure; defaults to the envelope's, then to Last
	Last        time.Time // last failure; defaults to Now
	Handler     string    // name and version of the handler; empty when none was called
	Instance    string    // who files
	Now         time.Time
}

// Record is the letter of f: the key, payload and headers of the job whole, then what became of it. The key and value are
// the envelope's own, not copies. The caller chooses the partition.
func Record(f *Filing) (key, value []byte, headers []job.Header) {
	return f.Envelope.Key, f.Envelope.Payload, letterHeaders(f, jobHeaders(f.Envelope, true))
}

// leftOut is the size from which Truncated leaves out the user's headers or the key.
const leftOut = 16 << 10

// Truncated is the letter of f without its payload, for one that the topic refused for its size: the digest, the length
// and the origin stand for it. Headers or a key of more than 16 KiB are left out too, so that the result has less than
// 64 KiB, which every topic takes that setup made.
func Truncated(f *Filing) (key, value []byte, headers []job.Header) {
	e := f.Envelope
	user := jobHeaders(e, true)
	key = e.Key
	var extra []job.Header
	note := func(name string, n int) {
		extra = append(extra, job.Header{Key: name, Value: strconv.AppendInt(nil, int64(n), 10)})
	}
	note(HeaderPayloadBytes, len(e.Payload))
	if n := size(user); n > leftOut {
		user = jobHeaders(e, false)
		note(HeaderHeadersBytes, n)
	}
	if len(key) > leftOut {
		note(HeaderKeyBytes, len(key))
		key = nil
	}
	return key, nil, append(letterHeaders(f, user), extra...)
}

func size(headers []job.Header) (n int) {
	for i := range headers {
		n += len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// jobHeaders are the headers the job came with. Those of a malformed record are not to be trusted: the letter has the
// kind and id that decoding gave it, and its reserved headers as they were under HeaderRaw.
func jobHeaders(e *job.Envelope, user bool) []job.Header {
	m := e.Message
	if e.WireKind != "" {
		m.Kind = e.WireKind
	}
	if !user {
		m.Headers = nil
	}
	if e.Fault == "" {
		return job.ProducerHeaders(nil, &m)
	}
	headers := job.ProducerHeaders(nil, &job.Message{Kind: m.Kind, ID: m.ID, Headers: m.Headers})
	var rec *kgo.Record
	if user && e.As(&rec) && rec != nil {
		for _, h := range rec.Headers {
			if job.Owned(h.Key) {
				headers = append(headers, job.Header{Key: HeaderRaw, Value: append([]byte(h.Key+"="), h.Value...)})
			}
		}
	}
	return headers
}

// letterHeaders appends what became of the job.
func letterHeaders(f *Filing, dst []job.Header) []job.Header {
	e := f.Envelope
	add := func(name, value string) { dst = append(dst, job.Header{Key: name, Value: []byte(value)}) }
	last := f.Last
	if last.IsZero() {
		last = f.Now
	}
	first := f.First
	if first.IsZero() {
		first = e.FirstFailure
	}
	if first.IsZero() {
		first = last
	}
	text := f.Text
	if text == "" {
		text = e.Fault
	}
	add(HeaderLetter, strconv.Itoa(letterVersion))
	add(job.HeaderOrigin, e.Origin.String())
	add(job.HeaderGen, strconv.FormatUint(uint64(e.Generation), 10))
	add(job.HeaderHop, strconv.FormatUint(uint64(e.Hop), 10))
	add(HeaderAttempts, strconv.Itoa(max(f.Attempts, 0)))
	if inCalendar(first) {
		add(job.HeaderFirst, job.FormatTime(first))
	}
	if inCalendar(last) {
		add(HeaderLast, job.FormatTime(last))
	}
	add(job.HeaderError, f.Code.String()+": "+job.Bounded(text))
	add(HeaderFingerprint, Fingerprint(f.Code, job.Bounded(text)))
	if f.Handler != "" {
		add(HeaderHandler, label(f.Handler))
	}
	add(HeaderInstance, label(f.Instance))
	add(HeaderDisposition, f.Disposition.String())
	add(HeaderDigest, fmt.Sprintf("%016x", e.Digest))
	add(HeaderIdentity, e.Identity.String())
	return dst
}

// inCalendar reports whether t can stand in a header; the zero time is "unknown" and is left out.
func inCalendar(t time.Time) bool {
	y := t.UTC().Year()
	return !t.IsZero() && y >= 0 && y <= 9999
}

// label cuts s to maxLabel bytes of valid UTF-8.
func label(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= maxLabel {
		return s
	}
	return strings.ToValidUTF8(s[:maxLabel], "")
}
