package producer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/job"
)

func TestEnqueueWritesWhatTheConsumerReads(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		at := time.Now().Add(time.Hour)
		options := &job.Options{
			ID: "j1", Key: []byte("foobar"), At: at, Expires: at.Add(time.Hour), Correlation: "order-7", Version: 2,
			Headers: []job.Header{{Key: "traceparent", Value: []byte("00-x")}},
		}
		e, err := p.Enqueue(t.Context(), welcome{"u1"}, options)
		if err != nil {
			t.Fatal(err)
		}
		want := Enqueued{ID: "j1", Topic: "emails", Partition: (-790332482 & 0x7fffffff) % partitions, Offset: 0} // murmur2("foobar"), from Java
		if e != want {
			t.Errorf("got %+v, want %+v", e, want)
		}
		all := b.records("emails")
		if len(all) != 1 {
			t.Fatalf("%d records", len(all))
		}
		if all[0].Partition != e.Partition || all[0].Offset != e.Offset {
			t.Errorf("the record is at %d/%d, Enqueue says %+v", all[0].Partition, all[0].Offset, e)
		}
		checkReadable(t, all[0], e, "email.welcome", options)
		if got := decoded(all[0]); string(got.Payload) != `{"user":"u1"}` || string(got.Header("traceparent")) != "00-x" {
			t.Errorf("read %+v", got.Message)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestEnqueueRaw(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		e, err := b.producer().EnqueueRaw(t.Context(), "import.csv", []byte("a;b"), "text/csv", nil)
		if err != nil {
			t.Fatal(err)
		}
		all := b.records("emails")
		if got := decoded(all[0]); got.Kind != "import.csv" || got.ID != e.ID || got.ContentType != "text/csv" || string(got.Payload) != "a;b" {
			t.Errorf("read %+v", got.Message)
		}
		if _, err := b.producer().EnqueueRaw(t.Context(), "", nil, "", nil); err == nil {
			t.Error("an empty kind was accepted")
		}
	})
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{connect.Plain, connect.ScramSHA256, connect.ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "svc", "right"))
				with := func(password string) func(*Config) {
					return func(c *Config) {
						c.SASL = connect.SASL{Mechanism: mechanism, Username: "svc", Password: password}
					}
				}
				if _, err := b.producer(with("right")).Enqueue(t.Context(), welcome{}, nil); err != nil {
					t.Errorf("the right password: %v", err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				var failed *JobError
				if _, err := b.producer(with("wrong")).Enqueue(ctx, welcome{}, nil); !errors.As(err, &failed) || errors.Is(err, ErrUnknown) {
					t.Errorf("a wrong password: %v", err)
				}
			})
		})
	}
}

func TestWithoutPermission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser(connect.Plain, "admin", "admin"), kfake.User(connect.Plain, "svc", "pw",
			kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "emails", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationWrite, Allow: true}))
		p := b.producer(func(c *Config) {
			c.SASL = connect.SASL{Mechanism: connect.Plain, Username: "svc", Password: "pw"}
		})
		// No permission to describe the topic's configuration: the default limit must do.
		if _, err := p.Enqueue(t.Context(), welcome{}, nil); err != nil {
			t.Errorf("with the permission to write: %v", err)
		}
		_, err := p.Enqueue(t.Context(), welcome{}, &job.Options{Topic: "other"})
		if !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), "permission to write to topic other") {
			t.Errorf("without: %v", err)
		}
	})
}

func TestMissingTopic(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		_, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: "j1", Topic: "absent"})
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "no topic absent") || !strings.Contains(err.Error(), "j1") {
			t.Errorf("got %v", err)
		}
		if _, err := p.Enqueue(t.Context(), welcome{}, nil); err != nil {
			t.Errorf("another topic: %v", err)
		}
	})
}

func TestEnqueueMany(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer(func(c *Config) { c.MaxBuffered = 7 }) // less than the batch: it must flow
		items := make([]Item, 100)
		for i := range items {
			items[i] = Item{welcome{fmt.Sprint(i)}, &job.Options{Key: []byte("one")}}
		}
		results, err := p.EnqueueMany(t.Context(), items)
		if err != nil || len(results) != len(items) {
			t.Fatal(len(results), err)
		}
		all := b.records("emails")
		for i, r := range all {
			if e := decoded(r); e.ID != results[i].ID || r.Offset != results[i].Offset || r.Partition != results[i].Partition {
				t.Fatalf("record %d is %s at %d/%d, result %+v", i, e.ID, r.Partition, r.Offset, results[i])
			}
		}
		if len(all) != len(items) {
			t.Errorf("%d records of %d items", len(all), len(items))
		}
		if results, err := p.EnqueueMany(t.Context(), nil); err != nil || len(results) != 0 {
			t.Errorf("no items: %v, %v", results, err)
		}
	})
}

func TestEnqueueManyIsCheckedFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		results, err := p.EnqueueMany(t.Context(), []Item{
			{welcome{"a"}, &job.Options{ID: "a"}}, {nil, nil}, {welcome{"c"}, &job.Options{ID: "c", Version: -1}},
		})
		var batch *BatchError
		if !errors.As(err, &batch) || len(batch.Failed) != 2 || batch.Failed[0].Index != 1 || batch.Failed[1].Index != 2 || batch.Total != 3 {
			t.Fatalf("got %v", err)
		}
		if len(results) != 3 || results[0].ID != "a" || results[0].Offset != -1 || results[2].Offset != -1 {
			t.Errorf("results %+v", results)
		}
		if all := b.records("emails"); len(all) != 0 {
			t.Errorf("%d were sent", len(all))
		}
	})
}

func TestEnqueueManyFailsOneByOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		results, err := p.EnqueueMany(t.Context(), []Item{
			{welcome{"a"}, &job.Options{ID: "a"}},
			{welcome{"b"}, &job.Options{ID: "b", Topic: "absent"}},
			{welcome{strings.Repeat("x", 2<<20)}, &job.Options{ID: "c"}},
			{welcome{"d"}, &job.Options{ID: "d"}},
		})
		var batch *BatchError
		if !errors.As(err, &batch) || len(batch.Failed) != 2 || batch.Failed[0].Index != 1 || batch.Failed[1].Index != 2 {
			t.Fatalf("got %v", err)
		}
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "2 of 4") {
			t.Errorf("error %v hides a job's", err)
		}
		if results[0].Offset < 0 || results[1].Offset != -1 || results[2].Offset != -1 || results[3].Offset < 0 || results[1].ID != "b" {
			t.Errorf("results %+v", results)
		}
		if got := ids(b.records("emails")); fmt.Sprint(got) != "[a d]" {
			t.Errorf("written: %v", got)
		}
	})
}

func TestCallersContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		if _, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: "first"}); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("went home"))
		e, err := p.Enqueue(gone, welcome{}, &job.Options{ID: "never"})
		if err == nil || errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "went home") || e.ID != "never" || e.Offset != -1 {
			t.Errorf("a context that had ended: %+v, %v", e, err)
		}

		// The broker answers no produce for a while. One caller gives up; neither its job nor the other one is lost.
		stuck := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
		patient := make(chan error, 1)
		go func() {
			_, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: "patient", Key: []byte("k")})
			patient <- err
		}()
		synctest.Wait()
		hasty, cancelHasty := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancelHasty()
		e, err = p.Enqueue(hasty, welcome{}, &job.Options{ID: "hasty", Key: []byte("k")})
		if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) || e != nowhere("hasty", "emails") {
			t.Errorf("a context that ended meanwhile: %+v, %v", e, err)
		}
		stuck.Remove()
		if err := <-patient; err != nil {
			t.Errorf("the patient caller: %v", err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := ids(b.records("emails")); fmt.Sprint(got) != "[first hasty patient]" {
			t.Errorf("written: %v", got)
		}
	})
}

func TestRoomIsWaitedFor(t *testing.T) {
	for name, bound := range map[string]func(*Config){
		"jobs":  func(c *Config) { c.MaxBuffered = 2 },
		"bytes": func(c *Config) { c.MaxBufferedBytes = 250 }, // two of about 100
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				p := b.producer(bound)
				if _, err := p.Enqueue(t.Context(), welcome{}, nil); err != nil {
					t.Fatal(err)
				}
				stuck := b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
				enqueue := func(id string, within time.Duration) error {
					ctx, cancel := context.WithTimeout(t.Context(), within)
					defer cancel()
					_, err := p.Enqueue(ctx, welcome{}, &job.Options{ID: id})
					return err
				}
				for _, id := range []string{"a", "b"} {
					if err := enqueue(id, time.Second); !errors.Is(err, ErrUnknown) {
						t.Fatalf("%s found no room: %v", id, err)
					}
				}
				if err := enqueue("c", time.Second); err == nil || errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("c: %v, must be known as not sent", err)
				}
				stuck.Remove()
				if err := enqueue("d", time.Minute); err != nil {
					t.Errorf("room did not come back: %v", err)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if got := fmt.Sprint(ids(b.records("emails"))); strings.Contains(got, " c ") || !strings.Contains(got, "a b d") {
					t.Errorf("written: %s", got)
				}
			})
		})
	}
}

func TestOneLargerThanAllRoomStillGoes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer(func(c *Config) { c.MaxBufferedBytes = 10 })
		for range 3 {
			if _, err := p.Enqueue(t.Context(), welcome{"more than ten bytes"}, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestPartitionsByMurmur2EndToEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		p := b.producer()
		for key, hash := range map[string]int32{"21": -973932308, "abc": 479470107, "a-little-bit-long-string": -985981536} {
			e, err := p.Enqueue(t.Context(), welcome{}, &job.Options{Key: []byte(key)})
			if want := hash & 0x7fffffff % partitions; err != nil || e.Partition != want {
				t.Errorf("key %s went to %+v, %v; Java says %d", key, e, err, want)
			}
		}
		own := b.client(kgo.RecordPartitioner(Partitioner())) // an outbox with a client of its own
		for i := range 20 {
			options := &job.Options{ID: fmt.Sprint(i)}
			r, _, err := p.Encode(welcome{}, options)
			if err != nil {
				t.Fatal(err)
			}
			sent, err := own.ProduceSync(t.Context(), r).First()
			if err != nil {
				t.Fatal(err)
			}
			if e, err := p.Enqueue(t.Context(), welcome{}, options); err != nil || e.Partition != sent.Partition {
				t.Errorf("job %d: Enqueue chose %+v, the outbox %d: %v", i, e, sent.Partition, err)
			}
		}
	})
}
