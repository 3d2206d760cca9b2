package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
)

const receiptsName = topicName + "." + groupName + ".receipts"

// places are what the ownership records of a log of a partition say that it is of.
func (r *rig) places(partition int32) (out []dedupe.Place) {
	r.t.Helper()
	reader := dedupe.NewLogReader([]kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext)})
	err := reader.Read(r.t.Context(), receiptsName, partition, 0, -1, func(e *dedupe.Entry) error {
		if e.Owner != nil {
			out = append(out, e.Owner.Of)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// A receipt log says of which cluster and job topic it is. One that was mirrored into another cluster, with all its records,
// stops its tasks until an operator has said where they begin; then its receipts hold.
func TestLogMirroredFromAnotherCluster(t *testing.T) {
	var mirrored []*kgo.Record
	within(t, func(r *rig) {
		i := r.start("a")
		for n := range 6 {
			r.put(0, fmt.Sprint("job-", n), "x")
		}
		time.Sleep(time.Second) // of the bubble's time: all six are done, and nothing is left to wait for
		i.clean()
		topics, err := r.admin.ListTopics(r.t.Context(), topicName)
		if err != nil {
			t.Fatal(err)
		}
		for p := range int32(4) {
			got := r.places(p)
			if want := (dedupe.Place{Cluster: "here", Topic: dedupe.TopicID(topics[topicName].ID)}); len(got) != 1 || got[0] != want {
				t.Errorf("ownership records of partition %d say %+v, want %+v", p, got, want)
			}
		}
		mirrored = r.values(receiptsName)
	}, kfake.ClusterID("here"))
	within(t, func(r *rig) {
		if _, err := r.admin.CreateTopics(r.t.Context(), 4, 1, nil, receiptsName); err != nil {
			t.Fatal(err)
		}
		for _, rec := range mirrored {
			r.produce(&kgo.Record{Topic: receiptsName, Partition: rec.Partition, Value: rec.Value, Headers: rec.Headers})
		}
		for n := range 8 { // mirrored too, two of them not yet done there
			r.put(0, fmt.Sprint("job-", n), "x")
		}
		i := r.start("b")
		for p, task := range i.tasks() {
			for _, s := range task.Sources {
				if len(s.Pauses) != 1 || s.Pauses[0].Reason.String() != "foreign" || !strings.Contains(s.Pauses[0].Text, "is of cluster here, and this is cluster there") {
					t.Errorf("%s/%d is paused for %+v", s.Topic, p, s.Pauses)
				}
			}
		}
		r.expectRuns("", 0)
		i.clean()
		for p := range int32(4) {
			r.order(p, 0)
		}
		i = r.start("c")
		r.expectRuns("job-", 2)
		r.expectRuns("job-6", 1)
		i.clean()
	}, kfake.ClusterID("there"))
}
