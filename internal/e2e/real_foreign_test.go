package e2e

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Ownership records on a real Kafka say which cluster and topic their log is of. A log that goes on with another cluster's, as
// one that was mirrored does, stops its tasks; where an operator says, they go on, and what is done is not run again.
func TestRealForeignLog(t *testing.T) {
	r := newRig(t, realkafka.Shared(t))
	const jobs, more = 12, 4
	put := func(from, to int) {
		for n := from; n < to; n++ {
			id := fmt.Sprint("job-", n)
			r.enqueue(id, script{}, job.Options{Key: []byte(id)})
		}
	}
	i := r.start("a")
	r.settled(i)
	put(0, jobs)
	r.ranOnce(jobs)
	r.stop(i)

	meta, err := r.admin.Metadata(t.Context(), r.topic)
	if err != nil {
		t.Fatal(err)
	}
	here := dedupe.Place{Cluster: meta.Cluster, Topic: dedupe.TopicID(meta.Topics[r.topic].ID)}
	log := retrytopics.ReceiptTopic(r.topic, r.group)
	owners := 0
	for _, rec := range r.records(log) {
		if e, err := dedupe.Decode(rec.Value); err != nil || e.Owner == nil {
			continue
		}
		if owners++; len(rec.Headers) != 1 || rec.Headers[0].Key != dedupe.PlaceHeader {
			t.Errorf("an ownership record has the headers %v", rec.Headers)
			continue
		}
		if got, err := dedupe.ReadPlace(rec.Headers[0].Value); err != nil || got != here {
			t.Errorf("an ownership record says %+v (%v), want %+v", got, err, here)
		}
	}
	if owners < partitions {
		t.Errorf("%d ownership records for %d tasks", owners, partitions)
	}

	for p := range int32(partitions) {
		owner := &kgo.Record{Topic: log, Partition: p, Value: dedupe.AppendOwner(nil, &dedupe.Owner{Instance: "elsewhere"}),
			Headers: []kgo.RecordHeader{{Key: dedupe.PlaceHeader, Value: dedupe.AppendPlace(nil, dedupe.Place{Cluster: "elsewhere", Topic: here.Topic})}}}
		r.must(owner)
		r.must(&kgo.Record{Topic: log, Partition: p, Value: dedupe.AppendSegment(nil, &dedupe.Segment{Epoch: owner.Offset,
			Frontiers: []dedupe.Frontier{{Topic: here.Topic, Offset: 1}}, Release: dedupe.Released})})
	}
	i = r.start("b")
	put(jobs, jobs+more)
	until(t, patience, func() string {
		tasks := i.c.Status().Tasks
		for _, task := range tasks {
			for _, s := range task.Sources {
				if len(s.Pauses) != 1 || s.Pauses[0].Reason.String() != "foreign" {
					return fmt.Sprintf("%s/%d is paused for %+v", s.Topic, task.Partition, s.Pauses)
				}
			}
		}
		if len(tasks) < partitions {
			return fmt.Sprintf("%d tasks", len(tasks))
		}
		return ""
	})
	r.stop(i)
	if n := len(r.calls("")); n != jobs {
		t.Errorf("%d attempts, want %d", n, jobs)
	}
	r.replay()
	i = r.start("c")
	r.ranOnce(jobs + more)
	r.stop(i)
}

// must writes a record where it says.
func (r *rig) must(rec *kgo.Record) {
	r.t.Helper()
	if err := r.client.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}
