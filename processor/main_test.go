package processor_test

import (
	"context"
	"encoding/json"
	"testing"

	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mail is the arguments of most tests.
type mail struct {
	To string `json:"to"`
}

func (mail) Kind() string { return "mail" }

func message(to string) *job.Message {
	b, _ := json.Marshal(mail{to})
	return &job.Message{Kind: "mail", ID: to, Payload: b, Attempt: 1}
}

func messages(to ...string) []*job.Message {
	ms := make([]*job.Message, len(to))
	for i := range to {
		ms[i] = message(to[i])
	}
	return ms
}

func compile(t testing.TB, m *processor.Mux) *processor.Set {
	t.Helper()
	s, err := m.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one compiles a single kind, inside global middleware.
func one[T job.Args](t testing.TB, k processor.Kind[T], global ...processor.Middleware) *processor.Processor {
	t.Helper()
	m := processor.NewMux()
	m.Use(global...)
	processor.Register(m, k)
	return compile(t, m).Processors()[0]
}

// handling is a processor of mails.
func handling(t testing.TB, h func(context.Context, *job.Job[mail]) error, policy ...job.Policy) *processor.Processor {
	t.Helper()
	m := processor.NewMux()
	processor.Handle(m, h, policy...)
	return compile(t, m).Lookup("mail")
}

// each is middleware from a function.
func each(f func(ctx context.Context, m *job.Message, next processor.Handler) error) processor.Middleware {
	return func(next processor.Handler) processor.Handler {
		return func(ctx context.Context, m *job.Message) error { return f(ctx, m, next) }
	}
}

// runs is the ways an attempt can be run: each must give the same outcome.
var runs = map[string]func(context.Context, *processor.Processor, *job.Message) job.Outcome{
	"Run": func(ctx context.Context, p *processor.Processor, m *job.Message) job.Outcome { return p.Run(ctx, m) },
	"RunBatch": func(ctx context.Context, p *processor.Processor, m *job.Message) job.Outcome {
		out := make([]job.Outcome, 1)
		p.RunBatch(ctx, []*job.Message{m}, out)
		return out[0]
	},
	"Serve": func(ctx context.Context, p *processor.Processor, m *job.Message) (out job.Outcome) {
		n := 0
		processor.Serve(func() (processor.Attempt, bool) {
			n++
			return processor.Attempt{Processor: p, Context: ctx, Message: m}, n == 1
		}, func(o job.Outcome) { out = o })
		return out
	},
}
