package processor

import (
	"context"
	"testing"

	"github.com/waybill-dev/waybill/job"
)

type benchJSON struct {
	UserID string `json:"user_id"`
}

func (benchJSON) Kind() string { return "bench.json" }

type benchRaw []byte

func (benchRaw) Kind() string { return "bench.raw" }

func benchSet(b *testing.B, mw ...Middleware) *Set {
	b.Helper()
	m := NewMux()
	m.Use(mw...)
	Handle(m, func(context.Context, *job.Job[benchJSON]) error { return nil })
	Register(m, Kind[benchRaw]{Codec: job.Bytes, Handle: func(context.Context, *job.Job[benchRaw]) error { return nil }})
	s, err := m.Compile()
	if err != nil {
		b.Fatal(err)
	}
	return s
}

var benchPayload = map[string][]byte{"bench.json": []byte(`{"user_id":"u1"}`), "bench.raw": []byte("0123456789")}

func BenchmarkRun(b *testing.B) {
	pass := func(next Handler) Handler {
		return func(ctx context.Context, m *job.Message) error { return next(ctx, m) }
	}
	for _, c := range []struct {
		name, kind string
		mw         []Middleware
	}{{"json", "bench.json", nil}, {"raw", "bench.raw", nil}, {"raw/middleware", "bench.raw", []Middleware{pass, pass}}} {
		p := benchSet(b, c.mw...).Lookup(c.kind)
		m := &job.Message{Kind: c.kind, Payload: benchPayload[c.kind]}
		b.Run(c.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				p.Run(ctx, m)
			}
		})
	}
}

func BenchmarkServe(b *testing.B) {
	for _, kind := range []string{"bench.json", "bench.raw"} {
		p := benchSet(b).Lookup(kind)
		m := &job.Message{Kind: kind, Payload: benchPayload[kind]}
		b.Run(kind[len("bench."):], func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			n := 0
			Serve(func() (Attempt, bool) {
				n++
				return Attempt{Processor: p, Context: ctx, Message: m}, n <= b.N
			}, func(job.Outcome) {})
		})
	}
}

// BenchmarkDone is the price of a handler that waits on its context, beside one that does not.
func BenchmarkDone(b *testing.B) {
	m := NewMux()
	Register(m, Kind[benchRaw]{Codec: job.Bytes, Handle: func(ctx context.Context, _ *job.Job[benchRaw]) error {
		select {
		case <-ctx.Done():
		default:
		}
		return nil
	}})
	s, err := m.Compile()
	if err != nil {
		b.Fatal(err)
	}
	p, msg := s.Lookup("bench.raw"), &job.Message{Kind: "bench.raw", Payload: benchPayload["bench.raw"]}
	b.ReportAllocs()
	for b.Loop() {
		p.Run(b.Context(), msg)
	}
}

func BenchmarkRunBatch(b *testing.B) {
	for _, c := range []struct {
		name string
		mw   []Middleware
	}{{"plain", nil}, {"middleware", []Middleware{func(next Handler) Handler { return next }}}} {
		b.Run(c.name, func(b *testing.B) {
			m := NewMux()
			m.Use(c.mw...)
			Register(m, Kind[benchRaw]{Codec: job.Bytes, Batch: func(_ context.Context, js []*job.Job[benchRaw]) []error {
				return make([]error, len(js))
			}})
			s, err := m.Compile()
			if err != nil {
				b.Fatal(err)
			}
			p := s.Lookup("bench.raw")
			ms := make([]*job.Message, 100)
			for i := range ms {
				ms[i] = &job.Message{Kind: "bench.raw", Payload: benchPayload["bench.raw"]}
			}
			out := make([]job.Outcome, len(ms))
			b.ReportAllocs()
			for b.Loop() {
				p.RunBatch(b.Context(), ms, out)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ms)), "ns/job")
		})
	}
}
