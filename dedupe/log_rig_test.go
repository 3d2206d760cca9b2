package dedupe_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

func TestMain(m *testing.M) { os.Exit(realkafka.Main(m)) }

const logPartition = 1

// logRig is a broker with one receipt log, which tests write through cl and read through reader.
type logRig struct {
	t      *testing.T
	ctx    context.Context
	topic  string
	opts   []kgo.Opt
	cl     *kgo.Client
	adm    *kadm.Client
	reader *dedupe.LogReader
	fake   *kfake.Cluster // nil on a real Kafka
}

func newLogRig(t *testing.T, topic string, opts []kgo.Opt, configs map[string]*string) *logRig {
	t.Helper()
	r := &logRig{t: t, ctx: t.Context(), topic: topic, opts: opts, reader: dedupe.NewLogReader(opts)}
	r.cl = r.client()
	r.adm = kadm.NewClient(r.cl)
	if _, err := r.adm.CreateTopic(r.ctx, logPartition+1, 1, configs, topic); err != nil {
		t.Fatal(err)
	}
	return r
}

// client is one more client of the rig's broker.
func (r *logRig) client(more ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	cl, err := kgo.NewClient(append(append(r.opts[:len(r.opts):len(r.opts)],
		kgo.DefaultProduceTopic(r.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression())), more...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(cl.Close)
	return cl
}

// onFake runs a test in a bubble of virtual time with brokers on a virtual network.
func onFake(t *testing.T, test func(r *logRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.ListenFn(network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		r := newLogRig(t, "emails.mailer.receipts", []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(network.DialContext)}, nil)
		r.fake = c
		test(r)
	})
}

// onReal runs a test against the Kafka that WAYBILL_KAFKA names.
func onReal(t *testing.T, test func(r *logRig)) {
	t.Helper()
	opts := realkafka.Shared(t).ClientOpts()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	stamp := "LogAppendTime"
	r := newLogRig(t, "receipts-"+uuid.NewString(), opts, map[string]*string{"message.timestamp.type": &stamp})
	t.Cleanup(func() { _, _ = r.adm.DeleteTopic(context.Background(), r.topic) })
	test(r)
}

// onBoth runs a test on kfake and on a real Kafka.
func onBoth(t *testing.T, test func(r *logRig)) {
	t.Run("kfake", func(t *testing.T) { onFake(t, test) })
	t.Run("kafka", func(t *testing.T) { onReal(t, test) })
}

// put appends a value and returns its offset.
func (r *logRig) put(cl *kgo.Client, value []byte) int64 {
	r.t.Helper()
	rec, err := cl.ProduceSync(r.ctx, &kgo.Record{Partition: logPartition, Value: value}).First()
	if err != nil {
		r.t.Fatal(err)
	}
	return rec.Offset
}

// segment appends a segment with one receipt, whose origin is n.
func (r *logRig) segment(cl *kgo.Client, n int64) int64 {
	r.t.Helper()
	return r.put(cl, dedupe.AppendSegment(nil, &dedupe.Segment{Epoch: 0,
		Receipts: []dedupe.Receipt{{Identity: identityOf(int(n)), State: dedupe.Done, Attempt: 1, Origin: n}}}))
}

func (r *logRig) segments(from, to int64) {
	r.t.Helper()
	for n := from; n < to; n++ {
		if at := r.segment(r.cl, n); at != n {
			r.t.Fatalf("segment %d was appended at offset %d", n, at)
		}
	}
}

// read returns the origins of what is in [from, to), the offset of an ownership record.
func (r *logRig) read(from, to int64) (got []int64, err error) {
	last := int64(-1)
	err = r.reader.Read(r.ctx, r.topic, logPartition, from, to, func(e *dedupe.Entry) error {
		if e.Offset <= last {
			return fmt.Errorf("offset %d after %d", e.Offset, last)
		}
		if last = e.Offset; time.Since(e.Time).Abs() > time.Hour {
			return fmt.Errorf("offset %d has the time %v", e.Offset, e.Time)
		}
		if e.Owner != nil {
			got = append(got, e.Offset)
		} else {
			got = append(got, e.Segment.Receipts[0].Origin)
		}
		return nil
	})
	return got, err
}

func (r *logRig) expect(from, to int64, want ...int64) {
	r.t.Helper()
	got, err := r.read(from, to)
	if err != nil || !reflect.DeepEqual(got, want) {
		r.t.Errorf("[%d, %d): %v, %v; want %v", from, to, got, err, want)
	}
}

func (r *logRig) expectError(from, to int64, want error, read ...int64) {
	r.t.Helper()
	got, err := r.read(from, to)
	if !errors.Is(err, want) || !reflect.DeepEqual(got, read) {
		r.t.Errorf("[%d, %d): %v, %v; want %v, %v", from, to, got, err, read, want)
	}
}

func faultOf(key kmsg.Key, err *kerr.Error, count int) kfake.Fault {
	return kfake.Fault{Keys: []kmsg.Key{key}, Err: err, Count: count, When: func(req kmsg.Request) bool {
		m, ok := req.(*kmsg.MetadataRequest)
		return !ok || len(m.Topics) > 0
	}}
}
