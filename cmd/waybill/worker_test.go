package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// patience bounds what a test waits for.
const patience = time.Minute

type welcome struct{}

func (welcome) Kind() string { return "email.welcome" }

// invoice jobs keep their order through retries, and a dead one holds its key.
type invoice struct{}

func (invoice) Kind() string { return "invoice.send" }

// handler is the worker of a test: each call says which job it is, then waits to be told how it ends.
type handler struct {
	t     *testing.T
	began chan string
	end   chan error
}

// work starts a worker of a group on one job topic; it is ended with the test. Its tiers are 1s and 1h where none are given.
func work(t *testing.T, brokers, group, topic string, tiers ...time.Duration) *handler {
	t.Helper()
	h := &handler{t: t, began: make(chan string), end: make(chan error)}
	mux := processor.NewMux()
	processor.Handle(mux, func(ctx context.Context, j *job.Job[welcome]) error { return h.play(ctx, j.ID) }, job.Policy{Timeout: patience})
	processor.Handle(mux, func(ctx context.Context, j *job.Job[invoice]) error { return h.play(ctx, j.ID) },
		job.Policy{Timeout: patience, Order: job.ByKeyStrict, OnDead: job.Block})
	if tiers == nil {
		tiers = []time.Duration{time.Second, time.Hour}
	}
	c, err := consumer.New(consumer.Config{Brokers: strings.Split(brokers, ","), Group: group, Topics: []string{topic}, Tiers: tiers, Mux: mux,
		Instance: "worker-1", ClientID: "worker-1", DrainTimeout: time.Second, SessionTimeout: 10 * time.Second, Heartbeat: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *handler) play(ctx context.Context, id string) error {
	select {
	case h.began <- id:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-h.end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runs waits for a call of the job.
func (h *handler) runs(id string) {
	h.t.Helper()
	select {
	case got := <-h.began:
		if got != id {
			h.t.Fatalf("%s runs, want %s", got, id)
		}
	case <-time.After(patience):
		h.t.Fatalf("%s does not run", id)
	}
}

// ends has the running call return err.
func (h *handler) ends(err error) { h.end <- err }

// until repeats a command, which only looks, until it prints text.
func (s *transcript) until(text string, args ...string) outcome {
	s.t.Helper()
	for end := time.Now().Add(patience); ; {
		o := waybill(s.t, "", append([]string{"--brokers", s.broker}, args...)...)
		if strings.Contains(o.stdout, text) {
			return o
		}
		if time.Now().After(end) {
			s.t.Fatalf("waybill %s does not say %q but %+v", strings.Join(args, " "), text, o)
		}
	}
}
