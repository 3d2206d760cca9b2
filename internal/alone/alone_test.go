package alone

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func cluster(t *testing.T, limit string) (*kfake.Cluster, []kgo.Opt) {
	t.Helper()
	var net kfake.VirtualNetwork
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(net.Listen), kfake.SeedTopics(2, "t"),
		kfake.BrokerConfigs(map[string]string{"message.max.bytes": limit}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, []kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(net.DialContext)}
}

// Many records at once, in two goroutines: each is a batch of its own, and the broker's answer is about it alone. What
// compression makes small enough is written.
func TestEachAlone(t *testing.T) {
	c, opts := cluster(t, "1000")
	var mu sync.Mutex
	batches := 0
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range topic.Partitions {
				var b kmsg.RecordBatch
				if err := b.ReadFrom(p.Records); err != nil || b.NumRecords != 1 {
					t.Errorf("a batch of %d records, %v", b.NumRecords, err)
				}
				mu.Lock()
				batches++
				mu.Unlock()
			}
		}
		return nil, nil, false
	})
	s := New(opts)
	var all sync.WaitGroup
	send := func(value []byte, large bool) {
		all.Add(1)
		s.Send(&kgo.Record{Topic: "t", Partition: 1, Key: []byte("k"), Value: value}, func(r *kgo.Record, err error) {
			defer all.Done()
			if errors.Is(err, kerr.MessageTooLarge) != large || err == nil && r.Partition != 1 {
				t.Errorf("%d bytes: %+v, %v", len(value), r, err)
			}
		})
	}
	noise := make([]byte, 1200)
	for i := range noise {
		noise[i] = byte(i * i * 7919 >> 5)
	}
	var senders sync.WaitGroup
	for range 2 {
		senders.Go(func() {
			for range 20 {
				send([]byte("small"), false)
				send(noise, true)
				send(make([]byte, 3<<20), false)
			}
		})
	}
	senders.Wait()
	all.Wait()
	if batches != 120 {
		t.Errorf("%d batches, want 120", batches)
	}
	s.Close()
}

// After Close, and for what waits at that time, the answer is that the client is closed; a sender never used needs nothing.
func TestClose(t *testing.T) {
	_, opts := cluster(t, "1000")
	New(opts).Close()
	s := New(append(opts, kgo.Dialer(nil), kgo.SeedBrokers("localhost:1"))) // nobody answers
	var all sync.WaitGroup
	send := func() {
		all.Add(1)
		s.Send(&kgo.Record{Topic: "t"}, func(_ *kgo.Record, err error) {
			defer all.Done()
			if !errors.Is(err, kgo.ErrClientClosed) {
				t.Errorf("error %v", err)
			}
		})
	}
	for range 3 {
		send()
	}
	s.Close()
	send()
	all.Wait()
	s.Close()
}

// Options that make no client are every record's error.
func TestBadOptions(t *testing.T) {
	s := New([]kgo.Opt{kgo.MaxBufferedRecords(-1)})
	defer s.Close()
	failed := make(chan error, 1)
	s.Send(&kgo.Record{Topic: "t"}, func(_ *kgo.Record, err error) { failed <- err })
	if err := <-failed; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
