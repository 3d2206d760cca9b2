package processor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type raw []byte

func (raw) Kind() string { return "raw" }

type pointed struct {
	N int `json:"n"`
}

func (*pointed) Kind() string { return "pointed" }

type protoArgs struct{ *wrapperspb.StringValue }

func (protoArgs) Kind() string { return "proto" }

// protoValue is a pointer type that is a message itself, as a generated type with the method Kind beside it is.
type protoValue struct{ wrapperspb.StringValue }

func (*protoValue) Kind() string { return "proto.value" }

func TestContentType(t *testing.T) {
	p := handling(t, ok)
	for ct, want := range map[string]job.Code{
		"":                                  job.CodeNone,
		"application/json":                  job.CodeNone,
		"Application/JSON":                  job.CodeNone,
		"application/json; charset=utf-8":   job.CodeNone,
		" APPLICATION/JSON ;charset=utf-8":  job.CodeNone,
		"application/jsonx":                 job.CodeContentType,
		"application/x-protobuf":            job.CodeContentType,
		"text/plain; also=application/json": job.CodeContentType,
		";":                                 job.CodeContentType,
	} {
		for by, run := range runs {
			m := message("a")
			m.ContentType = ct
			got := run(t.Context(), p, m)
			verdict := job.VerdictDone
			if want != job.CodeNone {
				verdict = job.VerdictDead
			}
			if got.Verdict != verdict || got.Code != want {
				t.Errorf("%s: content type %q: %+v, want %v", by, ct, got, want)
			}
		}
	}
}

func TestVersions(t *testing.T) {
	upcast := func(from int, payload []byte) ([]byte, error) {
		switch from {
		case 0:
			return []byte(`{"to":"` + string(payload) + `"}`), nil
		case 1:
			return nil, errors.New("version 1 was a mistake")
		case 2:
			return nil, job.Discard("version 2 is obsolete")
		case 3:
			panic("version 3")
		}
		return nil, errors.New("not an older version")
	}
	for _, c := range []struct {
		name    string
		version int // of the kind
		upcast  func(int, []byte) ([]byte, error)
		from    int
		payload string
		want    job.Verdict
		code    job.Code
		text    string
	}{
		{"current", 4, upcast, 4, `{"to":"a"}`, job.VerdictDone, job.CodeNone, ""},
		{"older", 4, upcast, 0, `a`, job.VerdictDone, job.CodeNone, ""},
		{"older without upcast", 4, nil, 1, `{"to":"a"}`, job.VerdictDone, job.CodeNone, ""},
		{"upcast fails", 4, upcast, 1, `{}`, job.VerdictDead, job.CodeDecode, "upcast from version 1 to 4: version 1 was a mistake"},
		{"upcast discards", 4, upcast, 2, `{}`, job.VerdictDiscard, job.CodeDiscarded, "obsolete"},
		{"upcast panics", 4, upcast, 3, `{}`, job.VerdictRetry, job.CodePanic, "version 3"},
		{"newer", 4, upcast, 5, `{"to":"a"}`, job.VerdictDead, job.CodeUnknownVersion, "version 5 is newer than 4"},
		{"newer than none", 0, nil, 1, `{"to":"a"}`, job.VerdictDead, job.CodeUnknownVersion, "version 1 is newer than 0"},
	} {
		to := ""
		p := one(t, processor.Kind[mail]{Version: c.version, Upcast: c.upcast, Handle: func(_ context.Context, j *job.Job[mail]) error {
			to = j.Args.To
			if j.Version != c.from || string(j.Payload) != c.payload {
				t.Errorf("%s: the message is changed: %+v", c.name, j.Message)
			}
			return nil
		}})
		for by, run := range runs {
			to = ""
			got := run(t.Context(), p, &job.Message{Payload: []byte(c.payload), Version: c.from})
			if got.Verdict != c.want || got.Code != c.code || !strings.Contains(got.Text, c.text) {
				t.Errorf("%s in %s: %+v", c.name, by, got)
			}
			if (to == "a") != (c.want == job.VerdictDone) {
				t.Errorf("%s in %s: the handler got %q", c.name, by, to)
			}
		}
	}
}

func TestUndecodable(t *testing.T) {
	p := handling(t, func(context.Context, *job.Job[mail]) error { t.Error("the handler is called"); return nil })
	for _, payload := range []string{"", " ", "{", `{"to":1}`, "[]", `{"to":"a"} x`} {
		for by, run := range runs {
			got := run(t.Context(), p, &job.Message{Payload: []byte(payload)})
			if got.Verdict != job.VerdictDead || got.Code != job.CodeDecode || !strings.HasPrefix(got.Text, "decode payload: ") {
				t.Errorf("%s: %q: %+v", by, payload, got)
			}
		}
	}
	if got := p.Run(t.Context(), &job.Message{}); got.Code != job.CodeDecode {
		t.Errorf("a nil payload: %+v", got)
	}
}

// A payload that is slow not to decode is still one that does not decode.
func TestUndecodablePastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := one(t, processor.Kind[mail]{Handle: ok, Version: 1, Upcast: func(int, []byte) ([]byte, error) {
			time.Sleep(time.Hour)
			return nil, errors.New("no")
		}})
		if got := p.Run(t.Context(), message("a")); got.Verdict != job.VerdictDead || got.Code != job.CodeDecode {
			t.Errorf("got %+v", got)
		}
	})
}

// Every shape of arguments that a codec knows reaches the handler.
func TestArguments(t *testing.T) {
	msg := func(b []byte) *job.Message { return &job.Message{Payload: b} }
	encode := func(c job.Codec, v any) []byte {
		t.Helper()
		b, err := c.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var got []string
	for name, run := range map[string]func() job.Outcome{
		"raw": func() job.Outcome {
			p := one(t, processor.Kind[raw]{Codec: job.Bytes, Handle: func(_ context.Context, j *job.Job[raw]) error {
				got = append(got, string(j.Args))
				return nil
			}})
			return p.Run(t.Context(), msg(encode(job.Bytes, raw("value"))))
		},
		"pointer": func() job.Outcome {
			p := one(t, processor.Kind[*pointed]{Handle: func(_ context.Context, j *job.Job[*pointed]) error {
				got = append(got, strings.Repeat("value", j.Args.N))
				return nil
			}})
			if o := p.Run(t.Context(), msg([]byte("null"))); o.Verdict != job.VerdictDone || got[len(got)-1] != "" {
				t.Errorf("null does not decode into a new value: %+v", o)
			}
			got = got[:len(got)-1]
			return p.Run(t.Context(), msg(encode(job.JSON, &pointed{1})))
		},
		"protobuf, embedded pointer": func() job.Outcome {
			p := one(t, processor.Kind[protoArgs]{Codec: job.Protobuf, Handle: func(_ context.Context, j *job.Job[protoArgs]) error {
				got = append(got, j.Args.GetValue())
				return nil
			}})
			return p.Run(t.Context(), msg(encode(job.Protobuf, protoArgs{wrapperspb.String("value")})))
		},
		"protobuf, pointer": func() job.Outcome {
			p := one(t, processor.Kind[*protoValue]{Codec: job.Protobuf, Handle: func(_ context.Context, j *job.Job[*protoValue]) error {
				got = append(got, j.Args.GetValue())
				return nil
			}})
			v := &protoValue{}
			v.Value = "value"
			return p.Run(t.Context(), msg(encode(job.Protobuf, v)))
		},
	} {
		got = nil
		if o := run(); o.Verdict != job.VerdictDone || len(got) != 1 || got[0] != "value" {
			t.Errorf("%s: %+v, the handler got %q", name, o, got)
		}
	}
}

// angry is a codec that panics.
type angry struct{ job.Codec }

func (angry) Unmarshal([]byte, any) error { panic("angry") }

func TestCodecPanics(t *testing.T) {
	for by, run := range runs {
		p := one(t, processor.Kind[mail]{Codec: angry{job.JSON}, Batch: oks})
		if got := run(t.Context(), p, message("a")); got.Verdict != job.VerdictRetry || got.Code != job.CodePanic {
			t.Errorf("%s: %+v", by, got)
		}
	}
}
