package topics

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/checker"
)

type broker struct {
	t      *testing.T
	ctx    context.Context
	opts   []kgo.Opt
	client *kgo.Client
}

func newBroker(t *testing.T) *broker {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "jobs", "jobs.dlq"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	b := &broker{t: t, ctx: ctx, opts: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...)}}
	b.client = b.dial(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return b
}

func (b *broker) dial(opts ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(slices.Clone(b.opts), opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(client.Close)
	return client
}

func (b *broker) produce(client *kgo.Client, partition int32, values ...string) {
	b.t.Helper()
	for _, v := range values {
		rec := &kgo.Record{Topic: "jobs", Partition: partition, Key: []byte("k"), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(v)}}}
		if err := client.ProduceSync(b.ctx, rec).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *broker) reader(names ...string) *Reader {
	b.t.Helper()
	r, err := NewReader(b.opts, names...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(r.Close)
	return r
}

func (b *broker) read(r *Reader) checker.Input {
	b.t.Helper()
	if err := r.Read(b.ctx); err != nil {
		b.t.Fatal(err)
	}
	var in checker.Input
	r.Fill(&in)
	return in
}

func values(records []checker.Record, partition int32) (all []string) {
	for _, r := range records {
		if r.Partition == partition {
			all = append(all, string(r.Value))
		}
	}
	return all
}

func (b *broker) want(in checker.Input, partition int32, want ...string) {
	b.t.Helper()
	if got := values(in.Topics["jobs"], partition); !slices.Equal(got, want) {
		b.t.Errorf("partition %d holds %q, want %q", partition, got, want)
	}
}

func TestReadGoesOnWhereItStopped(t *testing.T) {
	b := newBroker(t)
	r := b.reader("jobs", "jobs.dlq")
	b.produce(b.client, 0, "a", "b")
	b.produce(b.client, 1, "x")
	in := b.read(r)
	b.want(in, 0, "a", "b")
	b.want(in, 1, "x")
	if in.Topics["jobs.dlq"] == nil || len(in.Topics["jobs.dlq"]) != 0 {
		t.Error("an empty topic that was read is to be told from one that was not")
	}
	b.produce(b.client, 0, "c")
	in = b.read(r)
	b.want(in, 0, "a", "b", "c")
	b.want(b.read(r), 1, "x") // nothing new
	rec := in.Topics["jobs"][0]
	if string(rec.Key) != "k" || len(rec.Headers) != 1 || rec.Headers[0].Key != "h" || rec.Time.IsZero() || rec.Topic != "jobs" {
		t.Errorf("the record is not whole: %+v", rec)
	}
	if end := in.Ends.At("jobs", 0, 0); end != 3 {
		t.Errorf("end is %d, want 3", end)
	}
}

func TestWhatWasTrimmedBetweenReadsIsMissing(t *testing.T) {
	b := newBroker(t)
	r := b.reader("jobs")
	trim := func(to int64) {
		if _, err := kadm.NewClient(b.client).DeleteRecords(b.ctx, kadm.Offsets{"jobs": {0: {Topic: "jobs", Partition: 0, At: to}}}); err != nil {
			t.Fatal(err)
		}
	}
	b.produce(b.client, 0, "a", "b")
	b.read(r)
	trim(2)
	b.produce(b.client, 0, "c")
	in := b.read(r)
	b.want(in, 0, "a", "b", "c")
	if from := in.From.At("jobs", 0, 0); from != 0 {
		t.Errorf("nothing is missing, yet From is %d", from)
	}
	b.produce(b.client, 0, "unseen", "d")
	trim(4)
	in = b.read(r)
	b.want(in, 0, "a", "b", "c", "d")
	if from := in.From.At("jobs", 0, 0); from != 4 {
		t.Errorf("From is %d, want 4", from)
	}
}

func TestAbortedRecordsAreLeftOut(t *testing.T) {
	b := newBroker(t)
	tx := b.dial(kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	r := b.reader("jobs")
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		b.produce(tx, 0, map[kgo.TransactionEndTry]string{kgo.TryCommit: "kept", kgo.TryAbort: "aborted"}[commit])
		b.want(b.read(r), 0, map[kgo.TransactionEndTry][]string{kgo.TryCommit: nil, kgo.TryAbort: {"kept"}}[commit]...) // open: not yet
		if err := tx.EndTransaction(b.ctx, commit); err != nil {
			t.Fatal(err)
		}
	}
	b.want(b.read(r), 0, "kept")
}

func TestCommitted(t *testing.T) {
	b := newBroker(t)
	r := b.reader("jobs")
	b.produce(b.client, 0, "a", "b")
	if got, err := r.Committed(b.ctx, "nobody"); err != nil || len(got) != 0 {
		t.Errorf("a group that does not exist: %v, %v", got, err)
	}
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: "jobs", Partition: 0, At: 2})
	offsets.Add(kadm.Offset{Topic: "jobs.dlq", Partition: 0, At: 0})
	if err := kadm.NewClient(b.client).CommitAllOffsets(b.ctx, "g", offsets); err != nil {
		t.Fatal(err)
	}
	got, err := r.Committed(b.ctx, "g")
	if err != nil || got.At("jobs", 0, -1) != 2 || got.At("jobs", 1, -1) != -1 || len(got) != 1 {
		t.Errorf("committed %v, %v", got, err)
	}
}

func TestReadFails(t *testing.T) {
	b := newBroker(t)
	if err := b.reader("missing").Read(b.ctx); err == nil {
		t.Error("a topic that does not exist was read")
	}
	b.produce(b.client, 0, "a")
	ended, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := b.reader("jobs").Read(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestOf(t *testing.T) {
	got := Of([]checker.JobTopic{{Topic: "a", Tiers: []checker.Tier{{Topic: "a.1"}}, DeadLetters: "a.d", Receipts: "a.r"}, {Topic: "b"}})
	if !slices.Equal(got, []string{"a", "a.1", "a.d", "b"}) {
		t.Error(got)
	}
}
