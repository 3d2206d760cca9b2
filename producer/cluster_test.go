package producer

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// welcome is the tests' kind of job.
type welcome struct {
	User string `json:"user"`
}

func (welcome) Kind() string { return "email.welcome" }

// bubble is a test's broker on a virtual network. It must be made inside a synctest bubble.
type bubble struct {
	t       *testing.T
	cluster *kfake.Cluster
	network kfake.VirtualNetwork

	mu   sync.Mutex
	down error // what dialling gives while it is set
}

const partitions = 3

func newBubble(t *testing.T, opts ...kfake.Opt) *bubble {
	t.Helper()
	b := &bubble{t: t}
	c, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(b.network.Listen), kfake.SeedTopics(partitions, "emails", "other"),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	b.cluster = c
	t.Cleanup(c.Close)
	return b
}

func inBubble(t *testing.T, test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newBubble(t)) })
}

func (b *bubble) dial(ctx context.Context, network, address string) (net.Conn, error) {
	b.mu.Lock()
	down := b.down
	b.mu.Unlock()
	if errors.Is(down, errHang) {
		mine, _ := net.Pipe() // nobody reads the other end
		return mine, nil
	}
	if down != nil {
		return nil, down
	}
	return b.network.DialContext(ctx, network, address)
}

var (
	errHang   = errors.New("accepts connections and says nothing")
	errRefuse = errors.New("connection refused")
)

func (b *bubble) set(down error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *bubble) config() Config {
	return Config{Brokers: []string{"localhost:9092"}, Topic: "emails", Opts: []kgo.Opt{kgo.Dialer(b.dial)}}
}

// producer makes one that the test closes, or else the cleanup does.
func (b *bubble) producer(change ...func(*Config)) *Producer {
	b.t.Helper()
	c := b.config()
	for _, f := range change {
		f(&c)
	}
	p, err := New(c)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.Close(ctx)
	})
	return p
}

func (b *bubble) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.network.DialContext)}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

// limit sets max.message.bytes of a topic.
func (b *bubble) limit(topic string, bytes int) {
	b.t.Helper()
	text := strconv.Itoa(bytes)
	done, err := kadm.NewClient(b.client()).AlterTopicConfigs(b.t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &text}}, topic)
	if err != nil || done[0].Err != nil {
		b.t.Fatal(err, done)
	}
}

// records returns everything in a topic, by partition and offset.
func (b *bubble) records(topic string) []*kgo.Record {
	b.t.Helper()
	cl := b.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(cl).ListEndOffsets(b.t.Context(), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	var total int64
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	var all []*kgo.Record
	for int64(len(all)) < total {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			b.t.Fatal(err)
		}
		all = append(all, fetches.Records()...)
	}
	slices.SortFunc(all, func(a, b *kgo.Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	return all
}

// decoded reads a record as the consumer does.
func decoded(r *kgo.Record) job.Envelope {
	var e job.Envelope
	job.Decode(&e, &job.Raw{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp, Key: r.Key, Value: r.Value},
		r.Headers, job.TrustJob, "")
	return e
}

func ids(records []*kgo.Record) []string {
	all := make([]string, len(records))
	for i, r := range records {
		e := decoded(r)
		all[i] = e.ID
	}
	slices.Sort(all)
	return all
}
