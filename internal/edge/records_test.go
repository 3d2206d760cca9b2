package edge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// The kinds of these cases. A foreign job takes any bytes, a cloud event JSON, a versioned one knows up to version 2.
type (
	foreign   []byte
	cloud     struct{ Name string }
	versioned struct{ N int }
	failing   []byte
)

func (foreign) Kind() string   { return "foreign" }
func (cloud) Kind() string     { return "com.example.signup" }
func (versioned) Kind() string { return "versioned" }
func (failing) Kind() string   { return "failing" }

// kinds registers them on an instance of r.
func kinds(r *edge.Rig) func(mux *processor.Mux, who string) {
	return func(mux *processor.Mux, who string) {
		processor.Register(mux, processor.Kind[foreign]{Codec: job.Bytes, Handle: func(_ context.Context, j *job.Job[foreign]) error {
			r.Note(who, j.Message)
			return nil
		}})
		processor.Register(mux, processor.Kind[cloud]{Handle: func(_ context.Context, j *job.Job[cloud]) error {
			r.Note(who, j.Message)
			return nil
		}})
		processor.Register(mux, processor.Kind[versioned]{Version: 2, Upcast: func(_ int, b []byte) ([]byte, error) { return b, nil },
			Handle: func(_ context.Context, j *job.Job[versioned]) error {
				r.Note(who, j.Message)
				return nil
			}})
		processor.Register(mux, processor.Kind[failing]{Codec: job.Bytes, Handle: func(_ context.Context, j *job.Job[failing]) error {
			r.Note(who, j.Message)
			return errors.New("the handler always says no")
		}, Policy: job.Policy{MaxAttempts: 2}})
	}
}

// fate is what becomes of a record. A job that runs is checked by ran; any other ends as a letter.
type fate struct {
	ran         func(m *job.Message) string // what is wrong with the job as the handler saw it
	disposition dlq.Disposition
	code        job.Code
	text        string                     // that the letter's holds
	letter      func(l *dlq.Letter) string // what else is wrong with the letter
	hops        uint32                     // that the letter made
}

type hostile struct {
	name   string
	record *kgo.Record
	fate
}

func malformed(text string) fate {
	return fate{disposition: dlq.Malformed, code: job.CodeMalformed, text: text}
}

func runsAs(kind, id string) fate {
	return fate{ran: func(m *job.Message) string {
		if m.Kind != kind || id != "" && m.ID != id || m.Attempt != 1 || m.Hop != 0 || m.Generation != 0 {
			return fmt.Sprintf("it ran as %s/%s, attempt %d, hop %d, generation %d", m.Kind, m.ID, m.Attempt, m.Hop, m.Generation)
		}
		return ""
	}}
}

// TestRecords puts every hostile record between good ones, on the same partitions.
func TestRecords(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		r.Kinds = kinds(r)
		i := r.Start("a", func(c *consumer.Config) {
			c.Topics, c.Foreign = nil, []consumer.Topic{{Name: r.Topic, DefaultKind: "foreign"}}
			c.KeepUnknown = time.Second
		})
		cases := append(append(headerCases(), payloadCases()...), forgedCases()...)
		offsets := make([]int64, len(cases))
		r.Good(2)
		for n := range cases {
			cases[n].record.Partition = int32(n) % r.Partitions
			offsets[n] = r.Put(cases[n].record)[0]
			r.Good(1)
		}
		r.Finished()
		letters := map[[2]int64][]dlq.Letter{}
		for _, l := range r.Letters() {
			at := [2]int64{int64(l.Origin.Partition), l.Origin.Offset}
			letters[at] = append(letters[at], l)
		}
		for n, h := range cases {
			at := [2]int64{int64(h.record.Partition), offsets[n]}
			if said := h.judge(r, at, letters[at]); said != "" {
				t.Errorf("%s: %s", h.name, said)
			}
			delete(letters, at)
		}
		for at, l := range letters {
			t.Errorf("a letter of %v that nobody expects: %v %s", at, l[0].Disposition, l[0].Text)
		}
		if p := i.Pauses(); len(p) > 0 {
			t.Errorf("paused at the end: %q", p)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// judge says what is wrong with what became of a record.
func (h *hostile) judge(r *edge.Rig, at [2]int64, letters []dlq.Letter) string {
	var runs []*job.Message
	for _, x := range r.Runs("") {
		if m := x.Message; m.Origin.Topic == r.Topic && int64(m.Origin.Partition) == at[0] && m.Origin.Offset == at[1] {
			runs = append(runs, m)
		}
	}
	if h.ran != nil {
		if len(runs) != 1 || len(letters) != 0 {
			return fmt.Sprintf("it ran %d times and has %d letters, want one run%s", len(runs), len(letters), texts(letters))
		}
		return h.ran(runs[0])
	}
	if len(letters) != 1 {
		return fmt.Sprintf("it has %d letters and ran %d times, want one letter", len(letters), len(runs))
	}
	l := &letters[0]
	if l.Disposition != h.disposition || l.Code != h.code || !strings.Contains(l.Text, h.text) {
		return fmt.Sprintf("its letter is %v, code %v: %q; want %v, code %v: %q", l.Disposition, l.Code, l.Text, h.disposition, h.code, h.text)
	}
	if string(l.Key) != string(h.record.Key) || string(l.Payload) != string(h.record.Value) || (l.Payload == nil) != (h.record.Value == nil) {
		return "its letter has another key or payload"
	}
	if h.hops != 0 && l.Hop != h.hops {
		return fmt.Sprintf("its letter has made %d hops, want %d", l.Hop, h.hops)
	}
	if h.letter != nil {
		return h.letter(l)
	}
	return ""
}

func texts(letters []dlq.Letter) (s string) {
	for _, l := range letters {
		s += "; letter: " + l.Text
	}
	return s
}

func record(value string, headers ...kgo.RecordHeader) *kgo.Record {
	return &kgo.Record{Key: []byte("key"), Value: []byte(value), Headers: headers}
}

// headers of a job of kind "foreign"
func named(id string, more ...kgo.RecordHeader) []kgo.RecordHeader {
	return append([]kgo.RecordHeader{edge.Header(job.HeaderKind, "foreign"), edge.Header(job.HeaderID, id)}, more...)
}
