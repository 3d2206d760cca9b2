package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// Emission is a job that another one emits; see Message.Emit.
type Emission struct {
	Kind        string
	Payload     []byte
	ContentType string
	Options     Options // ID is set
	Sent        bool    // the engine's: acked by the brokers
}

// MaxEmissions is how many jobs one attempt may emit.
const MaxEmissions = 10_000

// Emit adds a job that is enqueued when this attempt has succeeded, and acked by the brokers before the job that emits it
// is done: a chain of jobs does not break. An attempt that fails emits nothing. The payload is JSON, see EmitRaw for others.
//
// Unless opts name an ID, it is made of this job's identity, the kind and how many of that kind the attempt has emitted
// before, so that an attempt that is repeated emits the same jobs again and not others: a handler that emits the same in
// the same order has no second effect. Key defaults to the ID, Correlation to this job's, as do the headers traceparent and
// tracestate. The topic is that of Options.Topic, else the engine's route for the kind, else this job's own job topic.
//
// It returns the ID. One attempt must not call it from several goroutines at a time.
func (m *Message) Emit(args Args, opts *Options) (id string, err error) {
	payload, err := json.Marshal(args)
	if err != nil {
		return "", fmt.Errorf("job: emit %T: %w", args, err)
	}
	return m.EmitRaw(args.Kind(), payload, JSON.ContentType(), opts)
}

// EmitRaw is Emit for a payload that is encoded already. The payload is copied.
func (m *Message) EmitRaw(kind string, payload []byte, contentType string, opts *Options) (id string, err error) {
	if err := ValidateKind(kind); err != nil {
		return "", fmt.Errorf("job: emit: %w", err)
	}
	if m.Emitted != nil && len(*m.Emitted) >= MaxEmissions {
		return "", fmt.Errorf("job: emit: one attempt may emit %d jobs; emit one that emits the rest", MaxEmissions)
	}
	e := Emission{Kind: kind, Payload: bytes.Clone(payload), ContentType: contentType}
	if opts != nil {
		e.Options = *opts
		e.Options.Key, e.Options.Headers = bytes.Clone(opts.Key), slices.Clone(opts.Headers)
	}
	o := &e.Options
	switch {
	case o.DeterministicID && o.ID != "":
		return "", fmt.Errorf("job: emit: Options.DeterministicID: ID is given too; set one of them")
	case o.DeterministicID: // the producer's to make
	case o.ID == "":
		o.ID = m.childID(kind)
	default:
		if err := ValidateID(o.ID); err != nil {
			return "", fmt.Errorf("job: emit: Options.ID: %w", err)
		}
	}
	for i := range o.Headers {
		if owned(o.Headers[i].Key) {
			return "", fmt.Errorf("job: emit: Options.Headers[%d]: %s: names beginning with %q are reserved", i, o.Headers[i].Key, Reserved)
		}
	}
	if o.Correlation == "" {
		o.Correlation = m.Correlation
	}
	for _, name := range []string{"traceparent", "tracestate"} {
		if v := m.Header(name); v != nil && !slices.ContainsFunc(o.Headers, func(h Header) bool { return h.Key == name }) {
			o.Headers = append(o.Headers, Header{Key: name, Value: bytes.Clone(v)})
		}
	}
	if m.Emitted == nil {
		m.Emitted = new([]Emission)
	}
	*m.Emitted = append(*m.Emitted, e)
	return o.ID, nil
}

// childID is the identity of the parent, the kind and a number. A kind is emitted seldom enough to count.
func (m *Message) childID(kind string) string {
	n := 0
	if m.Emitted != nil {
		for i := range *m.Emitted {
			if (*m.Emitted)[i].Kind == kind {
				n++
			}
		}
	}
	return m.Identity.String() + "/" + kind + "/" + strconv.Itoa(n)
}
