package dlq

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
)

// rig is a broker in memory with the topics of job topic "emails" in group "mailer": 4 partitions of jobs and of the tier
// "10s", 2 of letters.
type rig struct {
	*testing.T
	ctx     context.Context
	cluster *kfake.Cluster
	opts    []kgo.Opt
	client  *Client
	writer  *kgo.Client
}

const (
	tier    = "emails.mailer.retry.10s"
	letters = "emails.mailer.dlq"
)

// withRig runs test in virtual time.
func withRig(t *testing.T, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(network.Listen), kfake.SeedTopics(4, "emails", tier),
			kfake.SeedTopics(2, letters), kfake.SeedTopics(1, "mailer.audit"))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		r := &rig{T: t, ctx: t.Context(), cluster: cluster, opts: []kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.Dialer(network.DialContext)}}
		if r.client, err = Open(r.opts, "emails", "mailer"); err != nil {
			t.Fatal(err)
		}
		defer r.client.Close()
		if r.writer, err = kgo.NewClient(append(r.opts[:2:2], kgo.RecordPartitioner(kgo.ManualPartitioner()))...); err != nil {
			t.Fatal(err)
		}
		defer r.writer.Close()
		test(r)
	})
}

// job makes the envelope of a job of a kind that carries id, from partition 2 of the job topic.
func (r *rig) job(kind, id, payload string) *job.Envelope {
	r.Helper()
	e := envelope([]byte("key-"+id), []byte(payload), header(job.HeaderKind, kind), header(job.HeaderID, id), header("user", "u"))
	if e.Fault != "" {
		r.Fatal(e.Fault)
	}
	e.Origin.Partition = 2
	return e
}

// file produces a letter to a partition and returns its ref.
func (r *rig) file(partition int32, f Filing) string {
	r.Helper()
	f.Now = time.Now()
	key, value, headers := Record(&f)
	return r.put(partition, key, value, headers)
}

func (r *rig) put(partition int32, key, value []byte, headers []job.Header) string {
	r.Helper()
	rec := &kgo.Record{Topic: letters, Partition: partition, Key: key, Value: value}
	for _, h := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	if err := r.writer.ProduceSync(r.ctx, rec).FirstErr(); err != nil {
		r.Fatal(err)
	}
	return FormatRef(rec.Partition, rec.Offset)
}

// list is what List hands over, as "ref id xcopies".
func (r *rig) list(f Filter) (out []string, sum Summary) {
	r.Helper()
	sum, err := r.client.List(r.ctx, f, func(l *Letter) error {
		out = append(out, fmt.Sprintf("%s %s x%d", l.Ref(), l.ID, l.Copies))
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	return out, sum
}

// read returns all records of a topic.
func (r *rig) read(topic string) (out []*kgo.Record) {
	r.Helper()
	ranges, err := r.client.ranges(r.ctx, topic)
	if err != nil {
		r.Fatal(err)
	}
	for _, span := range ranges {
		if err := r.client.scan(r.ctx, topic, span, func(rec *kgo.Record) error { out = append(out, rec); return nil }); err != nil {
			r.Fatal(err)
		}
	}
	return out
}

// copies are the records of the tier as the engine reads them.
func (r *rig) copies() (out []*job.Envelope) {
	r.Helper()
	for _, rec := range r.read(tier) {
		e := new(job.Envelope)
		job.Decode(e, &job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value},
			rec.Headers, job.TrustCopy, "")
		if e.Fault != "" {
			r.Errorf("a malformed copy: %s", e.Fault)
		}
		e.Identify(e.Kind, e.Kind)
		out = append(out, e)
	}
	return out
}

func (r *rig) audited() (out []audit.Entry) {
	r.Helper()
	for _, rec := range r.read("mailer.audit") {
		e, err := audit.Decode(rec.Value)
		if err != nil {
			r.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func (r *rig) admin() *kadm.Client { return r.client.admin }

func request() Request { return Request{Tier: tier, Reason: "fixed", By: "ann", Rate: -1} }
