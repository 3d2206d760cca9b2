package consumer_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cutOff has the brokers say, from the next change of leader on, that the log of partition 0 of the job topic was cut at an offset;
// -1: they tell the truth.
func (r *rig) cutOff() (at *atomic.Int64) {
	at = new(atomic.Int64)
	at.Store(-1)
	r.cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		req := kreq.(*kmsg.OffsetForLeaderEpochRequest)
		if at.Load() < 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				rp.Partition, rp.LeaderEpoch, rp.EndOffset = p.Partition, p.LeaderEpoch, 1<<40
				if t.Topic == topicName && p.Partition == 0 {
					rp.EndOffset = at.Load()
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	return at
}

// stopped holds that partition 0 of the job topic is paused as truncated, with a text that says where to begin, and no other.
func (i *instance) stopped(at int64) {
	i.t.Helper()
	for p, task := range i.tasks() {
		for _, s := range task.Sources {
			switch cut := p == 0 && s.Topic == topicName; {
			case cut != (len(s.Pauses) == 1 && s.Pauses[0].Reason.String() == "truncated"):
				i.t.Errorf("%s/%d is paused for %+v", s.Topic, p, s.Pauses)
			case cut && !strings.Contains(s.Pauses[0].Text, fmt.Sprintf("set its offset by hand, to %d", at)):
				i.t.Errorf("the reason says %q", s.Pauses[0].Text)
			}
		}
	}
}

// A leader that did not have all of a log takes over: what was read up to is another record now. The partition stops, while it
// is read and when it is taken over, since the group's commit bears the leader epoch; it goes on where an operator says.
func TestLeaderWithoutTheEndOfTheLog(t *testing.T) {
	within(t, func(r *rig) {
		cut := r.cutOff()
		i := r.start("a")
		for n := range 8 {
			r.put(int32(n%2), fmt.Sprint("job-", n), "x")
		}
		time.Sleep(time.Second)
		r.expectRuns("job-", 8)
		r.moveLeader()
		r.put(0, "more-0", "x")
		time.Sleep(settled)
		r.expectRuns("more-", 1) // a change of leader alone is no loss
		cut.Store(2)
		r.moveLeader()
		time.Sleep(settled)
		r.put(0, "never", "x")
		r.put(1, "more-1", "x")
		time.Sleep(settled)
		i.stopped(2)
		r.expectRuns("more-", 2)
		r.expectRuns("never", 0)
		i.clean()
		for range 2 { // starting again is no way around it
			i = r.start("b")
			i.stopped(2)
			r.expectRuns("never", 0)
			i.clean()
		}
		r.order(0, 2)
		i = r.start("c")
		r.expectRuns("never", 1)
		r.expectRuns("job-", 8)
		i.clean()
	}, kfake.NumBrokers(2), kfake.Ports(9092, 9093))
}

// moveLeader has the other broker lead partition 0.
func (r *rig) moveLeader() {
	r.t.Helper()
	if err := r.cluster.MoveTopicPartition(topicName, 0, 1-r.cluster.LeaderFor(topicName, 0)); err != nil {
		r.t.Fatal(err)
	}
}
