package witness_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/witness"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type order struct {
	Do string `json:"do"`
}

func (order) Kind() string { return "order" }

const timeout = 20 * time.Second

func handle(ctx context.Context, j *job.Job[order]) error {
	no := errors.New("no")
	switch j.Args.Do {
	case "retry":
		return no
	case "retry after":
		return job.RetryAfter(time.Hour, no)
	case "snooze":
		return job.Snooze(time.Hour)
	case "dead":
		return job.Dead(no)
	case "discard":
		return job.Discard("superseded")
	case "panic":
		panic("no")
	case "exit":
		runtime.Goexit()
	case "wait":
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func run(t *testing.T, ctx context.Context, m *job.Message, orders witness.Orders, inner ...processor.Middleware) []ledger.Event {
	t.Helper()
	rec := ledger.NewRecorder()
	mux := processor.NewMux()
	mux.Use(witness.Middleware(rec.For("p"), orders))
	mux.Use(inner...)
	processor.Handle(mux, handle, job.Policy{Timeout: timeout})
	set, err := mux.Compile()
	if err != nil {
		t.Fatal(err)
	}
	set.Lookup("order").Run(ctx, m)
	events := rec.Events()
	for _, e := range events {
		if err := e.Validate(); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	return events
}

func message(do string) *job.Message {
	return &job.Message{Kind: "order", ID: "1", Key: []byte("k"), Payload: []byte(`{"do":"` + do + `"}`), Topic: "jobs", Partition: 2, Offset: 7,
		Attempt: 3, Hop: 2, Generation: 1, Fence: 9, Identity: job.Identity{1}}
}

func TestEveryEnd(t *testing.T) { synctest.Test(t, everyEnd) }

func everyEnd(t *testing.T) {
	stopping, cancel := context.WithTimeout(t.Context(), timeout/2) // of this bubble's virtual time: nothing else takes any
	defer cancel()
	for _, c := range []struct {
		do   string
		ctx  context.Context
		want ledger.Result
	}{
		{"", t.Context(), ledger.Done}, {"retry", t.Context(), ledger.Retry}, {"retry after", t.Context(), ledger.Retry},
		{"snooze", t.Context(), ledger.Snooze}, {"dead", t.Context(), ledger.Dead}, {"discard", t.Context(), ledger.Discard},
		{"panic", t.Context(), ledger.Panic}, {"exit", t.Context(), ledger.Panic},
		{"wait", stopping, ledger.Cancelled},
		{"wait", t.Context(), ledger.Retry}, // its own deadline: the attempt is burnt
	} {
		events := run(t, c.ctx, message(c.do), nil)
		if len(events) != 2 || events[0].Type != ledger.Called || events[1].Type != ledger.Returned || events[1].Result != c.want {
			t.Errorf("%s: %+v, want the result %s", c.do, events, c.want)
			continue
		}
		called, returned := events[0], events[1]
		if called.Result != "" || called.Call == 0 || called.Call != returned.Call || called.Fence != 9 || called.IdempotencyKey != message("").IdempotencyKey() {
			t.Errorf("%s: called %+v", c.do, called)
		}
		if want := (ledger.Pos{Topic: "jobs", Partition: 2, Offset: 7}); returned.Record != want || called.Record != want || called.Attempt != 3 || called.Hop != 2 ||
			called.Generation != 1 || called.ID != "1" || called.Key != "k" {
			t.Errorf("%s: called %+v, returned %+v", c.do, called, returned)
		}
	}
}

// A middleware between the witness and the deadline that panics is a panic too.
func TestPanicOfMiddleware(t *testing.T) {
	events := run(t, t.Context(), message(""), nil, func(processor.Handler) processor.Handler {
		return func(context.Context, *job.Message) error { panic("no") }
	})
	if len(events) != 2 || events[1].Result != ledger.Panic {
		t.Errorf("%+v", events)
	}
}

func TestOrders(t *testing.T) {
	noKey := message("")
	noKey.Key = nil
	for _, c := range []struct {
		m      *job.Message
		orders witness.Orders
		want   ledger.Order
	}{
		{message(""), nil, ledger.ByKey},
		{noKey, nil, ledger.Unordered},
		{message(""), witness.Orders{"order": job.ByPartition}, ledger.ByPartition},
		{noKey, witness.Orders{"order": job.ByPartition}, ledger.ByPartition},
		{message(""), witness.Orders{"order": job.Unordered}, ledger.Unordered},
		{message(""), witness.Orders{"other": job.Unordered}, ledger.ByKey},
	} {
		if got := run(t, t.Context(), c.m, c.orders)[0].Order; got != c.want {
			t.Errorf("key %q with %v: %s, want %s", c.m.Key, c.orders, got, c.want)
		}
	}
}

func TestApplied(t *testing.T) {
	rec := ledger.NewRecorder()
	witness.Applied(rec.For("p"), message(""))
	events := rec.Events()
	if len(events) != 1 || events[0].Type != ledger.Effect || events[0].IdempotencyKey != message("").IdempotencyKey() || events[0].Fence != 9 {
		t.Errorf("%+v", events)
	}
	if err := events[0].Validate(); err != nil {
		t.Error(err)
	}
}

// Calls of one process are told apart.
func TestCallsAreUnique(t *testing.T) {
	var calls []int64
	for range 5 {
		calls = append(calls, run(t, t.Context(), message(""), nil)[0].Call)
	}
	slices.Sort(calls)
	if len(slices.Compact(calls)) != 5 {
		t.Errorf("calls %v", calls)
	}
}
