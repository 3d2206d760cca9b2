package producer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/job"
)

// payloadFor returns the largest payload whose record, alone in a batch, has at most n bytes.
func payloadFor(t *testing.T, p *Producer, n int) []byte {
	t.Helper()
	r, _, err := p.EncodeRaw("k", make([]byte, n), "", &job.Options{ID: "id"})
	if err != nil {
		t.Fatal(err)
	}
	for recordSize(r)+batchOverhead > n+16 {
		r.Value = r.Value[:len(r.Value)-(recordSize(r)+batchOverhead-n-16)]
	}
	for recordSize(r)+batchOverhead > n { // byte by byte: a varint may shrink on the way
		r.Value = r.Value[:len(r.Value)-1]
	}
	return r.Value
}

func TestTooLargeIsRefusedLocally(t *testing.T) {
	for _, limit := range []int{2000, 100_000, 1_048_588, 5_000_000} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				b.limit("emails", limit)
				p := b.producer(func(c *Config) { c.Opts = append(c.Opts, kgo.ProducerBatchCompression(kgo.NoCompression())) })
				fit := payloadFor(t, p, limit)
				if _, err := p.EnqueueRaw(t.Context(), "k", fit, "", &job.Options{ID: "id"}); err != nil {
					t.Errorf("what just fits: %v", err)
				}
				produced := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
				_, err := p.EnqueueRaw(t.Context(), "k", append(fit, 0), "", &job.Options{ID: "id"})
				if !errors.Is(err, ErrTooLarge) || errors.Is(err, kerr.MessageTooLarge) || !strings.Contains(err.Error(), "with id id") ||
					!strings.Contains(err.Error(), fmt.Sprint(limit+1, " bytes")) || !strings.Contains(err.Error(), "max.message.bytes") {
					t.Errorf("a byte more: %v", err)
				}
				if produced.Hits() != 0 {
					t.Error("it went to the broker")
				}
			})
		})
	}
}

// A broker refuses a batch as a whole; batches must fit the topic, or jobs fail that are small.
func TestSmallJobsInASmallTopic(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.limit("emails", 3000)
		p := b.producer(func(c *Config) {
			c.Opts = append(c.Opts, kgo.ProducerLinger(time.Second), kgo.ProducerBatchCompression(kgo.NoCompression()))
		})
		items := make([]Item, 200)
		for i := range items {
			user := strings.Repeat("x", 200)
			if i == 100 {
				user = strings.Repeat("x", 4000)
			}
			items[i] = Item{welcome{user}, &job.Options{Key: []byte("one")}}
		}
		_, err := p.EnqueueMany(t.Context(), items)
		var batch *BatchError
		if !errors.As(err, &batch) || len(batch.Failed) != 1 || batch.Failed[0].Index != 100 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("only the large one may fail: %v", err)
		}
		if got := len(b.records("emails")); got != 199 {
			t.Errorf("%d written", got)
		}
	})
}

func TestTheBrokersAreAskedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		asked := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Observe: true, Count: -1})
		p := b.producer()
		var callers sync.WaitGroup
		for range 20 {
			callers.Go(func() {
				if _, err := p.Enqueue(t.Context(), welcome{}, nil); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if asked.Hits() != 1 {
			t.Errorf("asked %d times", asked.Hits())
		}
		own := b.producer(func(c *Config) { c.Opts = append(c.Opts, kgo.ProducerBatchMaxBytes(1000)) })
		if _, err := own.Enqueue(t.Context(), welcome{strings.Repeat("x", 1000)}, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a limit of the user's own: %v", err)
		}
		if _, err := own.Enqueue(t.Context(), welcome{}, nil); err != nil || asked.Hits() != 1 {
			t.Errorf("a limit of the user's own: %v, asked %d times", err, asked.Hits())
		}
	})
}

// While one caller asks the others wait, each as long as its own context lasts; then the next one asks.
func TestAskingIsHandedOn(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.set(errHang)
		p := b.producer()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				if _, err := p.Enqueue(short, welcome{}, nil); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrUnknown) {
					t.Errorf("got %v", err)
				}
			})
		}
		callers.Go(func() {
			time.Sleep(time.Millisecond)
			if _, err := p.Enqueue(t.Context(), welcome{}, nil); err != nil {
				t.Errorf("the patient caller: %v", err)
			}
		})
		time.Sleep(2 * time.Second)
		b.set(nil)
		callers.Wait()
	})
}

func TestATopicMadeLater(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		late := &job.Options{Topic: "late"}
		if _, err := p.Enqueue(t.Context(), welcome{}, late); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Fatalf("before: %v", err)
		}
		adm := p.limits.adm
		if _, err := adm.CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": kmsg.StringPtr("2000")}, "late"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Enqueue(t.Context(), welcome{}, late); err != nil {
			t.Errorf("after: %v", err)
		}
		if _, err := p.Enqueue(t.Context(), welcome{strings.Repeat("x", 2000)}, late); !errors.Is(err, ErrTooLarge) {
			t.Errorf("its limit is not known: %v", err)
		}
	})
}

// A broker hears of a new topic with a delay; one missing for good costs all who wait for it one wait.
func TestUnknownTopics(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.limit("emails", 2000)
		b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Resource: "emails", Err: kerr.UnknownTopicOrPartition, Count: 2})
		p := b.producer()
		if _, err := p.Enqueue(t.Context(), welcome{strings.Repeat("x", 2000)}, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a topic that is heard of late: %v", err)
		}

		asked := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Observe: true, Count: -1})
		absent := &job.Options{Topic: "absent"}
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := p.Enqueue(t.Context(), welcome{}, absent); !errors.Is(err, kerr.UnknownTopicOrPartition) {
					t.Errorf("got %v", err)
				}
			})
		}
		callers.Wait()
		items := make([]Item, 50)
		for i := range items {
			items[i] = Item{welcome{}, absent}
		}
		var batch *BatchError
		if _, err := p.EnqueueMany(t.Context(), items); !errors.As(err, &batch) || len(batch.Failed) != len(items) {
			t.Errorf("a batch: %v", err)
		}
		if asked.Hits() != 2*unknownAsks {
			t.Errorf("asked %d times for 50 callers and a batch, want %d", asked.Hits(), 2*unknownAsks)
		}
	})
}

func TestTopicsCreatedByWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, kfake.AllowAutoTopicCreation())
		p := b.producer(func(c *Config) { c.Opts = append(c.Opts, kgo.AllowAutoTopicCreation()) })
		if _, err := p.Enqueue(t.Context(), welcome{}, &job.Options{Topic: "new"}); err != nil {
			t.Error(err)
		}
	})
}

// What we let through the client lets through, and what we refuse it refuses, but for the few bytes by which it counts
// the length before a batch differently once it knows the broker.
func TestRecordSizeIsTheClients(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := offline(t)
		produce := func(r kgo.Record, limit int) error {
			cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.network.DialContext), kgo.ProducerBatchMaxBytes(int32(limit)))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			return cl.ProduceSync(t.Context(), &r).FirstErr()
		}
		// Sizes around those where a varint grows by a byte.
		for _, payload := range []int{600, 8100, 8191, 8192, 9000, 100_000} {
			for _, headers := range []int{0, 1, 60, 64, 80} {
				for _, text := range []int{0, 63, 64} {
					o := &job.Options{Key: make([]byte, text+1)}
					for i := range headers {
						o.Headers = append(o.Headers, job.Header{Key: fmt.Sprint("h", i), Value: make([]byte, text)})
					}
					r, _, err := p.EncodeRaw("kind", make([]byte, payload), "", o)
					if err != nil {
						t.Fatal(err)
					}
					size := recordSize(r) + batchOverhead
					if err := produce(*r, size); err != nil {
						t.Errorf("%d bytes, limit the same: %v", size, err)
					}
					if err := produce(*r, size-4); !errors.Is(err, kerr.MessageTooLarge) {
						t.Errorf("%d bytes, limit 4 less: %v", size, err)
					}
				}
			}
		}
	})
}
