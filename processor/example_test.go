package processor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// tracing prints when an attempt enters and leaves a layer.
func tracing(layer string) processor.Middleware {
	return func(next processor.Handler) processor.Handler {
		return func(ctx context.Context, m *job.Message) error {
			_, limited := ctx.Deadline()
			fmt.Printf("> %s (deadline %v)\n", layer, limited)
			err := next(ctx, m)
			text, _, _ := strings.Cut(fmt.Sprint(err), "\n")
			fmt.Printf("< %s: %s\n", layer, text)
			return err
		}
	}
}

// loud is a codec that prints when it decodes, and under which deadline it cannot know.
type loud struct{ job.Codec }

func (l loud) Unmarshal(data []byte, v any) error {
	fmt.Println("decode")
	if string(data) == "panic" {
		panic("in the codec")
	}
	return l.Codec.Unmarshal(data, v)
}

type Welcome struct {
	UserID string `json:"user_id"`
}

func (Welcome) Kind() string { return "email.welcome" }

// The order of the layers: global middleware, middleware of the kind, deadline, recover, decode, handler. That recover is
// outside of decode, and both inside of middleware, shows in the second run: the codec's panic comes back as an error.
func Example_order() {
	mux := processor.NewMux()
	mux.Use(tracing("global 1"), tracing("global 2"))
	processor.Register(mux, processor.Kind[Welcome]{
		Use:   []processor.Middleware{tracing("kind")},
		Codec: loud{job.JSON},
		Handle: func(ctx context.Context, j *job.Job[Welcome]) error {
			_, limited := ctx.Deadline()
			fmt.Printf("handle %s (deadline %v)\n", j.Args.UserID, limited)
			return nil
		},
	})
	set, err := mux.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	p := set.Lookup("email.welcome")
	p.Run(context.Background(), &job.Message{Payload: []byte(`{"user_id":"u1"}`)})
	fmt.Println()
	out := p.Run(context.Background(), &job.Message{Payload: []byte("panic")})
	fmt.Println(out.Code)
	// Output:
	// > global 1 (deadline false)
	// > global 2 (deadline false)
	// > kind (deadline false)
	// decode
	// handle u1 (deadline true)
	// < kind: <nil>
	// < global 2: <nil>
	// < global 1: <nil>
	//
	// > global 1 (deadline false)
	// > global 2 (deadline false)
	// > kind (deadline false)
	// decode
	// < kind: panic: in the codec
	// < global 2: panic: in the codec
	// < global 1: panic: in the codec
	// panic
}

func ExampleHandle() {
	mux := processor.NewMux()
	processor.Handle(mux, func(_ context.Context, j *job.Job[Welcome]) error {
		if j.Args.UserID == "" {
			return job.Dead(errors.New("no user"))
		}
		return nil
	}, job.Policy{Timeout: 10 * time.Second})

	set, err := mux.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	out := set.Lookup("email.welcome").Run(context.Background(), &job.Message{Payload: []byte(`{}`)})
	fmt.Println(out.Verdict == job.VerdictDead, out.Code, out.Text)
	// Output: true dead no user
}

// A kind that was renamed and whose payload has changed its shape.
func ExampleRegister() {
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[Welcome]{
		Aliases: []string{"mail.hello"},
		Version: 1,
		Upcast: func(_ int, payload []byte) ([]byte, error) { // version 0 was the bare user id
			return json.Marshal(Welcome{UserID: string(payload)})
		},
		Batch: func(_ context.Context, js []*job.Job[Welcome]) []error {
			for _, j := range js {
				fmt.Println(j.Args.UserID)
			}
			return make([]error, len(js)) // one for each: all are done
		},
	})
	set, err := mux.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	p := set.Lookup("mail.hello")
	fmt.Println(p.Name(), p.FirstName(), p.BatchSize())
	p.RunBatch(context.Background(), []*job.Message{
		{Payload: []byte(`u1`)},
		{Payload: []byte(`{"user_id":"u2"}`), Version: 1},
	}, make([]job.Outcome, 2))
	// Output:
	// email.welcome mail.hello 100
	// u1
	// u2
}
