package producer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
)

// maxContentType is the longest content type a record may carry.
const maxContentType = 256

// Encode returns the record of a job without producing it, for programs with an outbox of their own, and what is known of
// the job so far: ID and Topic; Partition and Offset are -1. Whoever produces the record must partition it like
// Partitioner. Nothing of args or opts is shared with the record. Errors are *JobError.
func (p *Producer) Encode(args job.Args, opts *job.Options) (*kgo.Record, Enqueued, error) {
	if v := reflect.ValueOf(args); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, nowhere("", ""), &JobError{Err: errors.New("the arguments are nil")}
	}
	if raw, ok := args.(Raw); ok {
		return p.EncodeRaw(raw.Name, raw.Payload, raw.ContentType, opts)
	}
	kind := args.Kind()
	codec := p.cfg.Codec
	if c, ok := p.cfg.Codecs[kind]; ok {
		codec = c
	}
	payload, err := codec.Marshal(args)
	if err != nil {
		return nil, nowhere("", ""), &JobError{Kind: kind, Err: fmt.Errorf("encode %T: %w", args, err)}
	}
	return p.compose(kind, bytes.Clone(payload), codec.ContentType(), opts)
}

// EncodeRaw is Encode for a payload that is encoded already. An empty content type is what any handler accepts; a nil
// payload is a record without value.
func (p *Producer) EncodeRaw(kind string, payload []byte, contentType string, opts *job.Options) (*kgo.Record, Enqueued, error) {
	return p.compose(kind, bytes.Clone(payload), contentType, opts)
}

func nowhere(id, topic string) Enqueued {
	return Enqueued{ID: id, Topic: topic, Partition: -1, Offset: -1}
}

// compose builds the record of a checked job; it owns payload.
func (p *Producer) compose(kind string, payload []byte, contentType string, given *job.Options) (*kgo.Record, Enqueued, error) {
	var opts job.Options
	if given != nil {
		opts = *given
	}
	topic := p.route(kind, opts.Topic)
	fail := func(err error) (*kgo.Record, Enqueued, error) {
		return nil, nowhere(opts.ID, topic), &JobError{Kind: kind, ID: opts.ID, Topic: topic, Err: err}
	}
	if err := check(kind, contentType, topic, &opts); err != nil {
		return fail(err)
	}
	m := job.Message{
		Kind: kind, ID: opts.ID, Key: bytes.Clone(opts.Key), Version: opts.Version, ContentType: contentType, Payload: payload,
		Headers: opts.Headers, Correlation: opts.Correlation, At: opts.At, Expires: opts.Expires,
	}
	if opts.DeterministicID {
		m.ID = DeterministicID(kind, opts.Key, payload)
	} else if m.ID == "" {
		id, err := uuid.NewV7()
		if err != nil {
			return fail(fmt.Errorf("make an id: %w", err))
		}
		m.ID = id.String()
	}
	if m.Key == nil {
		m.Key = []byte(m.ID)
	}
	headers := job.ProducerHeaders(make([]job.Header, 0, 7+len(m.Headers)), &m)
	r := &kgo.Record{Topic: topic, Key: m.Key, Value: payload, Headers: make([]kgo.RecordHeader, len(headers))}
	for i, h := range headers {
		r.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: bytes.Clone(h.Value)}
	}
	return r, nowhere(m.ID, topic), nil
}

func (p *Producer) route(kind, override string) string {
	if override != "" {
		return override
	}
	if topic, ok := p.cfg.Routes[kind]; ok {
		return topic
	}
	return p.cfg.Topic
}

// check returns every fault of a job, joined, each naming its field. It refuses whatever job.Decode would call a fault on
// the consumer's side.
func check(kind, contentType, topic string, o *job.Options) error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	if err := job.ValidateKind(kind); err != nil {
		errs = append(errs, err)
	}
	if topic == "" {
		errs = append(errs, errors.New("no topic: set Config.Topic, Config.Routes for the kind, or Options.Topic"))
	} else if !topicName(topic) {
		errs = append(errs, fmt.Errorf("Options.Topic: %w", badTopic(topic)))
	}
	if o.ID != "" {
		if err := job.ValidateID(o.ID); err != nil {
			errs = append(errs, fmt.Errorf("Options.ID: %w", err))
		}
		add(o.DeterministicID, "Options.DeterministicID: ID is given too; set one of them")
	}
	add(o.Key != nil && len(o.Key) == 0, "Options.Key: empty; give a key, or nil for the id as key")
	add(o.Version < 0 || o.Version > math.MaxInt32, "Options.Version: %d is not from 0 to %d", o.Version, math.MaxInt32)
	add(!printable(o.Correlation, job.MaxCorrelation), "Options.Correlation: is not up to %d bytes of printable text", job.MaxCorrelation)
	add(!printable(contentType, maxContentType), "content type: is not up to %d bytes of printable text", maxContentType)
	errs = append(errs, checkTimes(o.At, o.Expires)...)
	return errors.Join(append(errs, checkHeaders(o.Headers)...)...)
}

func checkTimes(at, expires time.Time) []error {
	var errs []error
	for _, t := range []struct {
		name string
		time.Time
	}{{"At", at}, {"Expires", expires}} {
		if y := t.UTC().Year(); !t.IsZero() && (y < 1 || y > 9999) {
			errs = append(errs, fmt.Errorf("Options.%s: the year %d is not from 1 to 9999", t.name, y))
		}
	}
	switch {
	case expires.IsZero():
	case !at.IsZero() && !expires.After(at):
		errs = append(errs, fmt.Errorf("Options.Expires: %s is not after At %s; the job could never run", job.FormatTime(expires), job.FormatTime(at)))
	case !expires.After(time.Now()):
		errs = append(errs, fmt.Errorf("Options.Expires: %s has passed; the job could never run", job.FormatTime(expires)))
	}
	return errs
}

func checkHeaders(headers []job.Header) []error {
	var errs []error
	for i, h := range headers {
		switch {
		case h.Key == "" || !utf8.ValidString(h.Key):
			errs = append(errs, fmt.Errorf("Options.Headers[%d]: the name is empty or not UTF-8", i))
		case h.Key == job.HeaderContentType:
			errs = append(errs, fmt.Errorf("Options.Headers[%d]: %s is set by the codec, or given to EnqueueRaw", i, h.Key))
		case job.Owned(h.Key):
			errs = append(errs, fmt.Errorf("Options.Headers[%d]: %s: names beginning with %q are reserved", i, h.Key, job.Reserved))
		}
	}
	return errs
}

// printable reports whether s is UTF-8 without control characters, at most limit bytes long: what headers may carry.
func printable(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}

// DeterministicID is the id that Options.DeterministicID asks for: a UUID of version 8 (RFC 9562) made of the truncated
// SHA-256 of kind, key and payload, each with its length; see job.IdentityOf. A nil key (none given) and an empty one are
// different. It is the same in every release, but only as stable as the codec: JSON of structs and maps is; Protobuf
// messages with maps are not.
func DeterministicID(kind string, key, payload []byte) string {
	id := uuid.UUID(job.IdentityOf(kind, key, string(payload)))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}
