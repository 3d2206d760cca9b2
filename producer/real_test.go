package producer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
)

func realClient(t *testing.T, c *realkafka.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(c.ClientOpts(), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func realTopic(t *testing.T, c *realkafka.Cluster, partitions int32, configs map[string]*string, name string) {
	t.Helper()
	adm := kadm.NewClient(realClient(t, c))
	if _, err := adm.CreateTopic(t.Context(), partitions, 1, configs, name); err != nil {
		t.Fatal(err)
	}
}

// awaitAccess returns when the broker knows of svc's right to a topic: it hears of grants with a delay.
func awaitAccess(t *testing.T, c *realkafka.Cluster, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(c.ClientOptsAs("svc", "right")...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		topics, err := kadm.NewClient(cl).ListTopics(t.Context(), topic)
		if err == nil {
			err = topics[topic].Err
		}
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal(err)
		}
	}
}

// The broker's own limit is the one refused locally, its partitions are Java's, and a broker that hangs keeps nothing secret.
func TestRealBroker(t *testing.T) {
	c := realkafka.ForTest(t, realkafka.Options{})
	topic, limit := fmt.Sprintf("producer-real-%d", time.Now().UnixNano()), "3000"
	realTopic(t, c, partitions, map[string]*string{"max.message.bytes": &limit}, topic)
	p, err := New(Config{Brokers: c.Addrs(), Topic: topic, Opts: []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })

	for key, hash := range map[string]int32{"21": -973932308, "foobar": -790332482, "abc": 479470107} {
		e, err := p.Enqueue(t.Context(), welcome{}, &job.Options{Key: []byte(key)})
		if want := hash & 0x7fffffff % partitions; err != nil || e.Partition != want {
			t.Errorf("key %s went to %+v, %v; Java says %d", key, e, err, want)
		}
	}
	fit := payloadFor(t, p, 3000)
	if _, err := p.EnqueueRaw(t.Context(), "k", fit, "", &job.Options{ID: "id"}); err != nil {
		t.Errorf("what just fits: %v", err)
	}
	items := make([]Item, 300) // far more than one batch of 3000 bytes
	for i := range items {
		items[i] = Item{welcome{strings.Repeat("x", 200)}, &job.Options{Key: []byte("one")}}
	}
	items[150].Args = welcome{strings.Repeat("x", 4000)}
	results, err := p.EnqueueMany(t.Context(), items)
	var batch *BatchError
	if !errors.As(err, &batch) || len(batch.Failed) != 1 || batch.Failed[0].Index != 150 || !errors.Is(err, ErrTooLarge) {
		t.Errorf("only the large one may fail: %v", err)
	}
	results = slices.Delete(results, 150, 151)
	for i := 1; i < len(results); i++ {
		if results[i].Offset != results[i-1].Offset+1 {
			t.Fatalf("item %d is at %+v, the one before at %+v", i, results[i], results[i-1])
		}
	}
}

// A broker that hangs: Close lists the job, and the ids it lists are all that is in doubt.
func TestRealBrokerThatHangs(t *testing.T) {
	c := realkafka.ForTest(t, realkafka.Options{})
	topic := fmt.Sprintf("producer-hang-%d", time.Now().UnixNano())
	realTopic(t, c, 1, nil, topic)
	p, err := New(Config{Brokers: c.Addrs(), Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Enqueue(t.Context(), welcome{}, &job.Options{ID: "written"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Pause(1); err != nil {
		t.Fatal(err)
	}
	waited, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := p.Enqueue(waited, welcome{}, &job.Options{ID: "stuck"}); !errors.Is(err, ErrUnknown) {
		t.Errorf("Enqueue: %v", err)
	}
	closing, cancelClosing := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancelClosing()
	var unsent *UnsentError
	if err := p.Close(closing); !errors.As(err, &unsent) || fmt.Sprint(unsent.IDs) != "[stuck]" {
		t.Errorf("Close: %v", err)
	}
	if err := c.Resume(1); err != nil {
		t.Fatal(err)
	}
}

func TestRealSASLAndACLs(t *testing.T) {
	for _, mechanism := range []string{connect.Plain, connect.ScramSHA256} {
		t.Run(mechanism, func(t *testing.T) {
			c := realkafka.ForTest(t, realkafka.Options{SASL: mechanism, ACLs: true, Users: map[string]string{"svc": "right"}})
			realTopic(t, c, partitions, nil, "emails")
			realTopic(t, c, partitions, nil, "other")
			granted, err := kadm.NewClient(realClient(t, c)).CreateACLs(t.Context(), kadm.NewACLs().Allow("User:svc").AllowHosts("*").
				Topics("emails").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpWrite))
			if err != nil || granted[0].Err != nil {
				t.Fatal(err, granted)
			}
			awaitAccess(t, c, "emails")
			open := func(password string) *Producer {
				p, err := New(Config{Brokers: c.Addrs(), Topic: "emails",
					SASL: connect.SASL{Mechanism: mechanism, Username: "svc", Password: password}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Close(context.Background()) })
				return p
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := open("right")
			if _, err := p.Enqueue(ctx, welcome{}, nil); err != nil {
				t.Errorf("with nothing but the permission to write: %v", err)
			}
			if _, err := p.Enqueue(ctx, welcome{}, &job.Options{Topic: "other"}); !errors.Is(err, kerr.TopicAuthorizationFailed) {
				t.Errorf("without it: %v", err)
			}
			if _, err := open("wrong").Enqueue(ctx, welcome{}, nil); !errors.Is(err, kerr.SaslAuthenticationFailed) || ctx.Err() != nil {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}
