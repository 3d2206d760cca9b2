package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type greet struct{ N int }

func (greet) Kind() string { return "greet" }

func TestSmoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vn := &kfake.VirtualNetwork{}
		cl, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(vn.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		var mu sync.Mutex
		runs := map[int]int{}
		mux := processor.NewMux()
		processor.Handle(mux, func(ctx context.Context, j *job.Job[greet]) error {
			mu.Lock()
			defer mu.Unlock()
			runs[j.Args.N]++
			if j.Args.N%10 == 0 && j.Attempt < 3 {
				return errors.New("not yet")
			}
			if j.Args.N == 7 {
				return job.Dead(errors.New("never"))
			}
			return nil
		})
		log, _ := zap.NewDevelopment()
		c, err := consumer.New(consumer.Config{Brokers: cl.ListenAddrs(), Group: "g", Topics: []string{"jobs"}, Mux: mux, Partitions: 4, Setup: consumer.Create, Logger: log,
			Opts: []kgo.Opt{kgo.Dialer(vn.DialContext)}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(5 * time.Second)
		p, _ := kgo.NewClient(kgo.SeedBrokers(cl.ListenAddrs()...), kgo.Dialer(vn.DialContext))
		defer p.Close()
		for i := range 100 {
			r := &kgo.Record{Topic: "jobs", Key: fmt.Appendf(nil, "k%d", i%13), Value: fmt.Appendf(nil, `{"N":%d}`, i), Headers: []kgo.RecordHeader{{Key: "waybill-kind", Value: []byte("greet")}, {Key: "waybill-id", Value: fmt.Appendf(nil, "i%d", i)}}}
			if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Minute)
		for _, ts := range c.Status().Tasks {
			t.Logf("%+v", ts)
		}
		mu.Lock()
		for i := range 100 {
			want := 1
			if i%10 == 0 {
				want = 3
			}
			if runs[i] != want {
				t.Errorf("job %d ran %d times, want %d", i, runs[i], want)
			}
		}
		mu.Unlock()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}
