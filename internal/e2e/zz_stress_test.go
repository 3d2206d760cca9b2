package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

type countSink struct {
	mu sync.Mutex
	n  map[string]int
	ev map[string][]ledger.Event
}

func (c *countSink) Record(e ledger.Event) {
	if e.Type != ledger.Called {
		return
	}
	c.mu.Lock()
	c.n[e.ID]++
	e.Time = time.Now()
	c.ev[e.ID] = append(c.ev[e.ID], e)
	c.mu.Unlock()
}

func TestZZStress(t *testing.T) {
	b, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	sink := &countSink{n: map[string]int{}, ev: map[string][]ledger.Event{}}
	c, err := consumer.New(consumer.Config{Brokers: b.Addrs(), Group: "g", Topics: []string{"jobs"}, Mux: mux(sink), Setup: consumer.Create, Workers: 32, Tiers: tiers})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	until(t, patience, func() string { return map[bool]string{false: "no"}[c.Ready() == nil] })
	p, err := producer.New(producer.Config{Brokers: b.Addrs(), Topic: "jobs"})
	if err != nil {
		t.Fatal(err)
	}
	cl, _ := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	defer cl.Close()
	const n = 200_000
	var items []producer.Item
	for i := range n {
		var a job.Args = keyed{script{N: i}}
		if i%3 == 0 {
			a = batched{script{N: i}}
		}
		if i%400 == 1 {
			a = keyed{script{N: i, Slow: 3 * time.Millisecond}}
		}
		items = append(items, producer.Item{Args: a, Options: &job.Options{ID: fmt.Sprint(i), Key: fmt.Appendf(nil, "k%d", i%500)}})
		if len(items) == 1000 {
			if _, err := p.EnqueueMany(ctx, items); err != nil {
				t.Fatal(err)
			}
			items = items[:0]
		}
	}
	until(t, 3*time.Minute, func() string {
		s, err := left(ctx, kadm.NewClient(cl), "g", "jobs")
		if err != nil {
			return err.Error()
		}
		return s
	})
	p.Close(ctx)
	cancel()
	<-done
	bad := 0
	for id, k := range sink.n {
		if k != 1 {
			if bad++; bad < 10 {
				t.Errorf("%s: %d times: %v", id, k, sink.ev[id])
			}
		}
	}
	t.Log(len(sink.n), "jobs", bad, "bad")
}
