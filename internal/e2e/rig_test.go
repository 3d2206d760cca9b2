package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

// rig is a group of instances in this process, with one ledger; mostly over a real Kafka.
type rig struct {
	t      *testing.T
	at     connect.Settings
	opts   []kgo.Opt // as an administrator
	topic  string
	group  string
	rec    *ledger.Recorder
	client *kgo.Client
	admin  *kadm.Client
	prod   *producer.Producer
}

// newRig takes a topic and a group of its own on a Kafka without authentication.
func newRig(t *testing.T, c *realkafka.Cluster) *rig {
	t.Helper()
	return rigAs(t, c, connect.Settings{Brokers: c.Addrs()})
}

// rigAs is newRig with what instances and producer need to get in.
func rigAs(t *testing.T, c *realkafka.Cluster, at connect.Settings) *rig {
	t.Helper()
	return rigOn(t, c.ClientOpts(), at)
}

// rigOn is newRig on any cluster that these options reach as an administrator.
func rigOn(t *testing.T, opts []kgo.Opt, at connect.Settings) *rig {
	t.Helper()
	r := &rig{t: t, at: at, opts: opts, topic: fmt.Sprintf("rig-%d", time.Now().UnixNano()), rec: ledger.NewRecorder()}
	r.group = r.topic + "-group"
	var err error
	if r.client, err = kgo.NewClient(append(slices.Clone(opts), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	r.admin = kadm.NewClient(r.client)
	if r.prod, err = producer.New(producer.Config{Brokers: at.Brokers, TLS: at.TLS, SASL: at.SASL, Topic: r.topic}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.prod.Close(context.Background()) })
	return r
}

// instance is one consumer that runs.
type instance struct {
	name string
	c    *consumer.Consumer
	end  context.CancelFunc
	done chan error
}

func (r *rig) config(name string, change ...func(*consumer.Config)) consumer.Config {
	cfg := consumer.Config{Brokers: r.at.Brokers, TLS: r.at.TLS, SASL: r.at.SASL, Group: r.group, Topics: []string{r.topic},
		Mux: mux(r.rec.For(name)), Instance: name, Setup: consumer.Create, Workers: 8, Tiers: tiers,
		SessionTimeout: session, Heartbeat: heartbeat, RebalanceTimeout: rebalance, DrainTimeout: drain}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// start runs an instance; it is stopped at the end of the test if it still runs.
func (r *rig) start(name string, change ...func(*consumer.Config)) *instance {
	r.t.Helper()
	c, err := consumer.New(r.config(name, change...))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	i := &instance{name: name, c: c, end: end, done: make(chan error, 1)}
	go func() { i.done <- c.Run(ctx); close(i.done) }()
	r.t.Cleanup(func() { end(); <-i.done })
	return i
}

// stop drains an instance.
func (r *rig) stop(is ...*instance) {
	r.t.Helper()
	for _, i := range is {
		i.end()
		if err := <-i.done; err != nil {
			r.t.Errorf("%s: %v", i.name, err)
		}
	}
}

// epochs are the tasks of an instance that run, and the epoch of each.
func (i *instance) epochs() map[int32]int64 {
	out := map[int32]int64{}
	for _, t := range i.c.Status().Tasks {
		if t.Phase == "running" {
			out[t.Partition] = t.Epoch
		}
	}
	return out
}

// settled waits until these instances run all tasks among them, each at least one.
func (r *rig) settled(is ...*instance) {
	r.t.Helper()
	until(r.t, patience, func() string {
		sum, said := 0, ""
		for _, i := range is {
			select {
			case err := <-i.done:
				r.t.Fatalf("%s ended by itself: %v", i.name, err)
			default:
			}
			n := len(i.epochs())
			if sum += n; n == 0 {
				sum = -partitions
			}
			said += fmt.Sprintf("%s has %d tasks; ", i.name, n)
		}
		if sum == partitions {
			return ""
		}
		return said
	})
}

// enqueue is one job with a script of keyed.
func (r *rig) enqueue(id string, s script, opts job.Options) producer.Enqueued {
	r.t.Helper()
	opts.ID = id
	return r.put(keyed{s}, opts)
}

// put enqueues any job.
func (r *rig) put(args job.Args, opts job.Options) producer.Enqueued {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	e, err := r.prod.Enqueue(ctx, args, &opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

// idle waits until the job topic and these tiers are settled and committed.
func (r *rig) idle(tiers ...time.Duration) {
	r.t.Helper()
	names := []string{r.topic}
	for _, d := range tiers {
		names = append(names, retrytopics.TierTopic(r.topic, r.group, d))
	}
	until(r.t, patience, func() string {
		said, err := left(r.t.Context(), r.admin, r.group, names...)
		if err != nil {
			return err.Error()
		}
		return said
	})
}

// calls are the attempts noted so far of one job, in order; of all jobs where id is empty.
func (r *rig) calls(id string) (out []ledger.Event) {
	for _, e := range r.rec.Events() {
		if e.Type == ledger.Called && (id == "" || e.ID == id) {
			out = append(out, e)
		}
	}
	return out
}

// records reads a topic whole.
func (r *rig) records(topic string) (out []*kgo.Record) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	ends, err := r.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	starts, err := r.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		r.t.Fatal(err)
	}
	left := 0
	ends.Each(func(o kadm.ListedOffset) {
		s, _ := starts.Lookup(o.Topic, o.Partition)
		left += int(o.Offset - s.Offset)
	})
	cl, err := kgo.NewClient(append(r.opts[:len(r.opts):len(r.opts)], kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	for len(out) < left {
		f := cl.PollFetches(ctx)
		if err := f.Err(); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, f.Records()...)
	}
	return out
}

// text is a map of epochs in a stable order.
func text(m map[int32]int64) (s string) {
	for _, p := range slices.Sorted(maps.Keys(m)) {
		s += fmt.Sprintf("%d@%d ", p, m[p])
	}
	return s
}
