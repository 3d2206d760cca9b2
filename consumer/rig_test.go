package consumer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// note is the job of these tests. Its payload says what its handler does.
type note struct {
	Text string `json:"text"`
}

func (note) Kind() string { return "note" }

const (
	groupName = "mailer"
	topicName = "jobs"
	settled   = 10 * time.Second // virtual: enough to join, own, restore and prove
)

// rig is a cluster in virtual time (each test runs in a bubble, which also joins every goroutine), the instances of a
// group, and what their handlers saw.
type rig struct {
	t       *testing.T
	net     kfake.VirtualNetwork
	cluster *kfake.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	handle  func(ctx context.Context, j *job.Job[note]) error // nil: every job is done

	mu      sync.Mutex
	entries []attempt
}

// attempt is one call of the handler.
type attempt struct {
	who, id    string
	number     int
	start, end time.Time
	err        error
}

// within runs test in a bubble with a cluster of its own.
func within(t *testing.T, test func(r *rig), opts ...kfake.Opt) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t}
		var err error
		r.cluster, err = kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(r.net.Listen),
			kfake.SeedTopics(4, topicName)}, opts...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer r.cluster.Close()
		r.client, err = kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext), kgo.MetadataMinAge(100*time.Millisecond))
		if err != nil {
			t.Fatal(err)
		}
		defer r.client.Close()
		r.admin = kadm.NewClient(r.client)
		test(r)
	})
}

// instance is one running consumer.
type instance struct {
	*consumer.Consumer
	t      *testing.T
	wire   *wire
	logs   *observer.ObservedLogs
	cancel context.CancelFunc
	done   chan error
}

// start runs an instance; it has joined, where it can, when this returns.
func (r *rig) start(name string, change ...func(*consumer.Config)) *instance {
	r.t.Helper()
	i := r.launch(name, change...)
	time.Sleep(settled)
	return i
}

func (r *rig) launch(name string, change ...func(*consumer.Config)) *instance {
	r.t.Helper()
	i := &instance{t: r.t, wire: &wire{net: &r.net, conns: map[net.Conn]struct{}{}}, done: make(chan error, 1)}
	core, logs := observer.New(zapcore.InfoLevel)
	i.logs = logs
	cfg := consumer.Config{Brokers: []string{"localhost:9092"}, Group: groupName, Topics: []string{topicName}, Mux: r.mux(name), Instance: name,
		Setup: consumer.Create, Logger: zap.New(core), Opts: []kgo.Opt{kgo.Dialer(i.wire.dial),
			// The client's zstd decoders end in finalizers, outside of the bubble whose channels they close.
			kgo.ProducerBatchCompression(kgo.SnappyCompression())}}
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if i.Consumer, err = consumer.New(cfg); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	i.cancel = cancel
	go func() { i.done <- i.Run(ctx) }()
	return i
}

// stop is SIGTERM; it returns what Run did.
func (i *instance) stop() error {
	i.cancel()
	return <-i.done
}

// clean is stop for an instance that has no reason to complain.
func (i *instance) clean() {
	i.t.Helper()
	if err := i.stop(); err != nil {
		i.t.Errorf("Run: %v", err)
	}
}

func (r *rig) mux(who string) *processor.Mux {
	mux := processor.NewMux()
	processor.Handle(mux, func(ctx context.Context, j *job.Job[note]) (err error) {
		a := attempt{who: who, id: j.ID, number: j.Attempt, start: time.Now()}
		defer func() {
			a.end, a.err = time.Now(), err
			r.mu.Lock()
			defer r.mu.Unlock()
			r.entries = append(r.entries, a)
		}()
		if r.handle != nil {
			return r.handle(ctx, j)
		}
		return nil
	}, job.Policy{Timeout: time.Hour})
	return mux
}

// attempts are the calls of the handler that have returned, for the jobs whose id begins with prefix.
func (r *rig) attempts(prefix string) (out []attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.entries {
		if strings.HasPrefix(a.id, prefix) {
			out = append(out, a)
		}
	}
	return out
}

// expectRuns checks how often jobs whose id begins with prefix ran.
func (r *rig) expectRuns(prefix string, want int) {
	r.t.Helper()
	if got := r.attempts(prefix); len(got) != want {
		r.t.Errorf("%d attempts of %q, want %d: %+v", len(got), prefix, want, got)
	}
}

// put produces a job to a partition and returns its offset.
func (r *rig) put(partition int32, id, text string) int64 {
	r.t.Helper()
	value, _ := json.Marshal(note{text})
	return r.produce(&kgo.Record{Topic: topicName, Partition: partition, Key: []byte("key-" + id), Value: value,
		Headers: []kgo.RecordHeader{{Key: job.HeaderKind, Value: []byte("note")}, {Key: job.HeaderID, Value: []byte(id)}}})
}

func (r *rig) produce(rec *kgo.Record) int64 {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	return rec.Offset
}

// tasks are the tasks of an instance by partition.
func (i *instance) tasks() map[int32]consumer.TaskStatus {
	out := map[int32]consumer.TaskStatus{}
	for _, s := range i.Status().Tasks {
		out[s.Partition] = s
	}
	return out
}

// epochs are the epochs of the tasks that an instance runs.
func (i *instance) epochs() map[int32]int64 {
	out := map[int32]int64{}
	for p, s := range i.tasks() {
		if s.Phase == "running" {
			out[p] = s.Epoch
		}
	}
	return out
}

// committed is the group's offset of a partition, -1 for none, and its metadata.
func (r *rig) committed(topic string, partition int32) (int64, string) {
	r.t.Helper()
	got, err := r.admin.FetchOffsets(r.t.Context(), groupName)
	if err != nil {
		r.t.Fatal(err)
	}
	if o, ok := got.Lookup(topic, partition); ok {
		return o.At, o.Metadata
	}
	return -1, ""
}

// receipts are the states of the jobs in the log of a partition, by origin offset.
func (r *rig) receipts(partition int32) map[int64]dedupe.State {
	r.t.Helper()
	out := map[int64]dedupe.State{}
	reader := dedupe.NewLogReader([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext)})
	err := reader.Read(r.t.Context(), topicName+"."+groupName+".receipts", partition, 0, -1, func(e *dedupe.Entry) error {
		if e.Segment != nil {
			for _, x := range e.Segment.Receipts {
				out[x.Origin] = max(out[x.Origin], x.State)
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// values are the records of a topic, all partitions, in order of partition and offset.
func (r *rig) values(topic string) (out []*kgo.Record) {
	r.t.Helper()
	ends, err := r.admin.ListEndOffsets(r.t.Context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for int64(len(out)) < left && ctx.Err() == nil {
		out = append(out, cl.PollFetches(ctx).Records()...)
	}
	slices.SortStableFunc(out, func(a, b *kgo.Record) int {
		return int(a.Partition-b.Partition)<<20 + int(a.Offset-b.Offset)
	})
	return out
}

// logged is what an instance logged that holds text.
func (i *instance) logged(text string) (out []string) {
	for _, e := range i.logs.All() {
		line := fmt.Sprint(e.Message, " ", e.ContextMap())
		if strings.Contains(line, text) {
			out = append(out, line)
		}
	}
	return out
}

// wire is the network of one instance; it can be cut, or fall silent.
type wire struct {
	net *kfake.VirtualNetwork

	mu      sync.Mutex
	dead    bool
	silent  bool
	accepts bool // while silent: connections are made all the same
	conns   map[net.Conn]struct{}
}

var errCut = errors.New("the network is cut")

func (w *wire) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if w.closed() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	c, err := w.net.DialContext(ctx, network, address)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		if err == nil {
			_ = c.Close()
		}
		return nil, errCut
	}
	if err != nil {
		return nil, err
	}
	w.conns[c] = struct{}{}
	return &end{c, w}, nil
}

// end is an instance's end of a connection. On a silent wire what it writes is lost, so that it never reads an answer.
type end struct {
	net.Conn
	w *wire
}

func (e *end) Write(b []byte) (int, error) {
	if e.w.mute() {
		return len(b), nil
	}
	return e.Conn.Write(b)
}

func (w *wire) mute() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silent
}

// closed reports whether dialing comes to nothing, without an end.
func (w *wire) closed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.silent && !w.accepts
}

// hush makes the brokers unreachable without any error that says so.
func (w *wire) hush() { w.deafen(false) }

// deafen is hush for brokers that may take connections, and never say anything.
func (w *wire) deafen(accepts bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent, w.accepts = true, accepts
}

// cut ends every connection, and every later one.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = true
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}

func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dead = false
}
