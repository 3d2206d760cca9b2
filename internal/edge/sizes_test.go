package edge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

// noise is what does not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// once is a job that fails at its first attempt.
type once []byte

func (once) Kind() string { return "once" }

func withOnce(r *edge.Rig, hold <-chan struct{}) func(mux *processor.Mux, who string) {
	return func(mux *processor.Mux, who string) {
		kinds(r)(mux, who)
		processor.Register(mux, processor.Kind[once]{Codec: job.Bytes, Handle: func(ctx context.Context, j *job.Job[once]) error {
			r.Note(who, j.Message)
			if j.Attempt > 1 {
				return nil
			}
			select {
			case <-hold:
			case <-ctx.Done():
			}
			return errors.New("not yet")
		}, Policy: job.Policy{Order: job.Unordered}})
	}
}

// A topic whose limit was lowered refuses whole batches. Each copy in them is judged alone: what fits goes on, and what
// does not becomes a letter that names the tier; the letter that does not fit becomes one without its payload.
func TestCopiesRefusedForSize(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		hold := make(chan struct{})
		r.Kinds = withOnce(r, hold)
		i := r.Start("a", func(c *consumer.Config) { c.Workers = 64 })
		for _, topic := range append(r.TierTopics(), r.LetterTopic()) {
			r.SetConfig(topic, "max.message.bytes", "70000")
		}
		r.Good(2)
		var small []*kgo.Record
		for n := range 40 {
			rec := r.Job(int32(n)%r.Partitions, "once", fmt.Sprintf("small-%d", n), "")
			rec.Value = noise(5_000)
			small = append(small, rec)
		}
		big := r.Job(0, "once", "big", "")
		big.Value = noise(300_000)
		at := r.Put(append(small, big)...)[40]
		r.Good(2)
		r.Until(func() string { return want(len(small)+1, len(r.Runs("small"))+len(r.Runs("big"))) })
		close(hold) // all fail at once, so that their copies share batches
		r.Finished()
		if n := len(r.Runs("small")); n != 80 {
			t.Errorf("the small ones ran %d times, want 80: a neighbour's size is not theirs", n)
		}
		l := r.Letter(0, at)
		if l.Disposition != dlq.TooLarge || l.Code != job.CodeTooLarge || !l.Truncated || l.PayloadBytes != 300_000 || l.Attempts != 1 ||
			!strings.Contains(l.Text, "the copy is too large for "+r.TierTopics()[0]+": raise its max.message.bytes") {
			t.Errorf("letter %v, code %v, %d of %d bytes, %d attempts: %s", l.Disposition, l.Code, len(l.Payload), l.PayloadBytes, l.Attempts, l.Text)
		}
		if all := r.Letters(); len(all) != 1 {
			t.Errorf("%d letters, want 1", len(all))
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

func want(n, have int) string {
	if have >= n {
		return ""
	}
	return fmt.Sprintf("%d of %d have begun", have, n)
}

// A payload that its compression made small enough for the job topic is small enough for a tier and for the dead letters too.
func TestCopyOfCompressiblePayload(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		hold := make(chan struct{})
		close(hold)
		r.Kinds = withOnce(r, hold)
		i := r.Start("a")
		r.Good(1)
		retried, dead := r.Job(0, "once", "retried", ""), r.Job(0, "failing", "dead", "")
		retried.Value = bytes.Repeat([]byte("all alike "), 500_000)
		dead.Value = retried.Value
		zstd(r, retried, dead)
		r.Good(1)
		r.Finished()
		if runs := r.Runs("retried"); len(runs) != 2 || len(runs[1].Message.Payload) != len(retried.Value) {
			t.Errorf("%d runs", len(runs))
		}
		if l := r.Letter(0, dead.Offset); l.Disposition != dlq.Exhausted || len(l.Payload) != len(dead.Value) {
			t.Errorf("letter %v with %d bytes: %s", l.Disposition, len(l.Payload), l.Text)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// zstd writes records in one compressed batch, of any size.
func zstd(r *edge.Rig, records ...*kgo.Record) {
	r.T.Helper()
	cl, err := kgo.NewClient(append(r.Opts[:len(r.Opts):len(r.Opts)], kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(1<<24),
		kgo.BrokerMaxWriteBytes(1<<30), kgo.ProducerBatchMaxBytes(1<<30), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ManualFlushing())...)
	if err != nil {
		r.T.Fatal(err)
	}
	defer cl.Close()
	for _, rec := range records {
		cl.Produce(r.T.Context(), rec, func(_ *kgo.Record, err error) {
			if err != nil {
				r.T.Errorf("writing a compressed batch: %v", err)
			}
		})
	}
	if err := cl.Flush(r.T.Context()); err != nil {
		r.T.Fatal(err)
	}
}

// A few kilobytes that become a hundred megabytes are not opened: a letter names them, and everything around them runs. So are
// millions of records of a few bytes. An instance with a higher limit runs what a reset offset shows it.
func TestDecompressionBomb(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		r.Kinds = kinds(r)
		foreign := func(c *consumer.Config) {
			c.Topics, c.Foreign = nil, []consumer.Topic{{Name: r.Topic, DefaultKind: "foreign"}}
		}
		i := r.Start("a", foreign)
		r.Good(2)
		bomb := r.Job(0, "foreign", "bomb", "")
		bomb.Value = make([]byte, 100<<20)
		zstd(r, bomb)
		bomb.Value = nil
		r.Good(2)
		crowd := make([]*kgo.Record, 400_000)
		records := make([]kgo.Record, len(crowd))
		for n := range crowd {
			crowd[n] = &records[n]
			crowd[n].Topic, crowd[n].Partition = r.Topic, 1
		}
		zstd(r, crowd...)
		first, last := crowd[0].Offset, crowd[len(crowd)-1].Offset
		r.Good(2)
		r.Finished()
		for _, want := range []struct {
			partition   int32
			first, last int64
		}{{0, bomb.Offset, bomb.Offset}, {1, first, last}} {
			l := r.Letter(want.partition, want.first)
			if l.Disposition != dlq.TooLarge || l.Code != job.CodeTooLarge || !l.Truncated || l.Attempts != 0 ||
				!strings.Contains(l.Text, fmt.Sprintf("the batch of records %d to %d of %s/%d is larger than", want.first, want.last, r.Topic, want.partition)) ||
				!strings.Contains(l.Text, fmt.Sprintf("raise Config.MaxBatch, stop the group and set its offset of %s/%d to %d", r.Topic, want.partition, want.first)) {
				t.Errorf("letter %v, code %v: %s", l.Disposition, l.Code, l.Text)
			}
		}
		if n := len(r.Runs("bomb")); n != 0 || len(i.Logged("it was not opened")) != 2 {
			t.Errorf("the bomb ran %d times; log: %q", n, i.Logged("it was not opened"))
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Many batches that are each small enough to be opened, but not all at once: they come with one fetch. All of their jobs
// run, and memory stays far below what they hold together.
func TestManyBatchesThatInflate(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		var base, peak atomic.Int64
		r.Kinds = func(mux *processor.Mux, who string) {
			processor.Register(mux, processor.Kind[foreign]{Codec: job.Bytes, Handle: func(_ context.Context, j *job.Job[foreign]) error {
				peak.Store(max(peak.Load(), inUse()-base.Load())) // nearly enough: a sample lost to another hurts nobody
				r.Note(who, &job.Message{ID: j.ID})               // the rest would keep the batch
				return nil
			}})
		}
		small := func(c *consumer.Config) { c.Memory, c.Workers = 32<<20, 1 }
		first := r.Start("a", small)
		r.Good(1)
		r.Finished()
		if err := first.Stop(); err != nil {
			t.Error(err)
		}
		const many, each = 60, 6 << 20
		value := make([]byte, each)
		for n := range many {
			rec := r.Job(int32(n)%r.Partitions, "foreign", fmt.Sprintf("large-%d", n), "")
			rec.Value = value
			zstd(r, rec)
		}
		r.Good(1)
		base.Store(inUse()) // without what the test needed to compress them, which pools keep for a while
		i := r.Start("b", small)
		r.Finished()
		if n := len(r.Runs("large-")); n != many {
			t.Errorf("%d of %d jobs ran", n, many)
		}
		t.Logf("at most %d MiB of the heap were in use, the jobs are %d MiB", peak.Load()>>20, many*each>>20)
		if peak.Load() > many*each/2 {
			t.Errorf("the heap grew to %d MiB; the jobs are %d MiB together", peak.Load()>>20, many*each>>20)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// inUse is how much of the heap is no garbage, in bytes; pools are emptied, which takes two rounds.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The producer's side: a topic whose limit was lowered refuses batches; only what is too large by itself fails.
func TestJobsRefusedForSize(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		r.Kinds = kinds(r)
		i := r.Start("a")
		p, err := producer.New(producer.Config{Brokers: r.At.Brokers, Topic: r.Topic, Codec: job.Bytes})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		if _, err := p.Enqueue(t.Context(), foreign("first"), nil); err != nil { // learns the limit
			t.Fatal(err)
		}
		r.SetConfig(r.Topic, "max.message.bytes", "20000")
		items := make([]producer.Item, 60)
		for n := range items {
			items[n] = producer.Item{Args: foreign(noise(3_000)), Options: &job.Options{ID: fmt.Sprintf("item-%d", n), Key: []byte("one")}}
		}
		items[30].Args = foreign(noise(50_000))
		_, err = p.EnqueueMany(t.Context(), items)
		var failed *producer.BatchError
		if !errors.As(err, &failed) || len(failed.Failed) != 1 || failed.Failed[0].Index != 30 || !errors.Is(err, producer.ErrTooLarge) ||
			!strings.Contains(err.Error(), "max.message.bytes") || !strings.Contains(err.Error(), r.Topic) { // refused here or by the broker: the limit may be read in between
			t.Errorf("only the large one may fail: %v", err)
		}
		r.Good(1)
		r.Finished()
		if n := len(r.Runs("item-")); n != 59 {
			t.Errorf("%d of 59 jobs ran", n)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A receipt log that takes no receipts any more pauses its task and says which topic to mend; then everything goes on.
func TestReceiptsRefusedForSize(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		i := r.Start("a")
		r.Good(1)
		r.Finished()
		receipts := retrytopics.ReceiptTopic(r.Topic, r.Group)
		r.SetConfig(receipts, "max.message.bytes", "50")
		r.Good(20)
		r.GoodRan()
		r.Until(func() string {
			if p := i.Pauses(); !strings.Contains(strings.Join(p, "\n"), r.Topic+"/0: unacked_writes") {
				return fmt.Sprintf("pauses %q", p)
			}
			return ""
		})
		if log := strings.Join(i.Logged("MESSAGE_TOO_LARGE"), "\n"); !strings.Contains(log, receipts) || !strings.Contains(log, "raise max.message.bytes of the topic") {
			t.Errorf("log: %s", log)
		}
		r.SetConfig(receipts, "max.message.bytes", "1114112")
		r.Finished()
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}
