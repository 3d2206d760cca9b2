package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/retrytopics"
)

// attack is one random step of the driver.
func (w *world) attack() error {
	if len(w.workers) == 0 {
		return w.start()
	}
	switch w.rand.IntN(17) {
	case 0, 1:
		w.kill()
		if w.rand.IntN(3) > 0 {
			return w.start()
		}
	case 2:
		if len(w.workers) < 4 {
			w.counts["join"]++
			return w.start()
		}
	case 3:
		w.stop()
	case 4:
		w.zombie(time.Duration(500+w.rand.IntN(5000)) * time.Millisecond)
	case 5:
		w.zombie(session + time.Duration(w.rand.IntN(20000))*time.Millisecond)
	case 6:
		w.refuse()
	case 7:
		w.counts["leader_move"]++
		return w.cluster.MoveTopicPartition(topicName, int32(w.rand.IntN(partitions)), int32(w.rand.IntN(2)))
	case 8:
		return w.offsets(false)
	case 9:
		return w.offsets(true)
	case 10:
		return w.duplicate()
	case 11, 12, 13:
		w.killAt(1 + w.rand.IntN(60))
		return w.start()
	case 14:
		return w.slowPoll()
	case 15:
		w.stop()
		return w.start()
	case 16:
		return w.release()
	}
	return nil
}

// slowPoll has what a worker polled reach its tasks late: while it loses them and gets them back, or while another joins.
func (w *world) slowPoll() error {
	k := w.workers[w.rand.IntN(len(w.workers))]
	if k.frozen || k.c.Ready() != nil {
		return nil
	}
	w.counts["slow poll"]++
	if w.rand.IntN(3) == 0 {
		k.stall.Store(int64(w.rand.IntN(6000)) * int64(time.Millisecond))
		return w.start()
	}
	k.stall.Store(int64(session+5*time.Second) + int64(w.rand.IntN(20000))*int64(time.Millisecond))
	for range 40 { // until it has records in its hands
		if k.stall.Load() == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.zombieOf(k, session+time.Duration(w.rand.IntN(5000))*time.Millisecond)
	return nil
}

// refuse makes brokers answer some produces or commits with an error for a while: few enough that a letter which is refused that
// often is acked within the drain of a stop, since no fault of the ledger excuses what a stop then leaves.
func (w *world) refuse() {
	w.counts["refuse"]++
	errs := []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.TopicAuthorizationFailed}
	f := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 1 + w.rand.IntN(3), Err: errs[w.rand.IntN(len(errs))]}
	switch w.rand.IntN(4) {
	case 0:
		f.Topic = retrytopics.ReceiptTopic(topicName, groupName)
	case 1:
		f.Topic = retrytopics.TierTopic(topicName, groupName, tiers[w.rand.IntN(len(tiers))])
	case 2:
		f.Topic = retrytopics.DeadLetterTopic(topicName, groupName)
	default:
		f.Keys, f.Err = []kmsg.Key{kmsg.OffsetCommit}, kerr.CoordinatorLoadInProgress
	}
	w.cluster.Fault(f)
}

// duplicate makes a copy in a tier land a second time, as a zombie's producer would.
func (w *world) duplicate() error {
	if err := w.reader.Read(context.Background()); err != nil {
		return err
	}
	var in checker.Input
	w.reader.Fill(&in)
	for _, d := range tiers {
		name := retrytopics.TierTopic(topicName, groupName, d)
		if rs := in.Topics[name]; len(rs) > 0 {
			src := rs[w.rand.IntN(len(rs))]
			r := &kgo.Record{Topic: name, Partition: src.Partition, Key: src.Key, Value: src.Value}
			for _, h := range src.Headers {
				r.Headers = append(r.Headers, kgo.RecordHeader(h))
			}
			cl, err := kgo.NewClient(append(w.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
			if err != nil {
				return err
			}
			defer cl.Close()
			w.fault(ledger.Duplicate, "", name)
			return cl.ProduceSync(context.Background(), r).FirstErr()
		}
	}
	return nil
}

func (w *world) fault(f ledger.Fault, target, text string) {
	w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: f, Target: target, Text: text})
	w.counts[string(f)]++
}

// offsets stops everybody and has an operator move the group's offsets back, or lose them.
func (w *world) offsets(lose bool) error {
	for len(w.workers) > 0 {
		w.stop()
	}
	time.Sleep(session + time.Second) // a killed worker is a member until its session ends
	w.expire(false)
	ctx := context.Background()
	if lose {
		w.fault(ledger.OffsetsLost, "", "")
		if err := w.whenEmpty(func() error {
			_, err := w.admin.DeleteGroup(ctx, groupName)
			return err
		}); err != nil {
			return err
		}
	} else {
		p := int32(w.rand.IntN(partitions))
		committed, err := w.admin.FetchOffsets(ctx, groupName)
		if err != nil {
			return err
		}
		at, ok := committed.Lookup(topicName, p)
		if !ok || at.At <= 0 {
			return w.start()
		}
		to := w.rand.Int64N(at.At)
		w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Rewind, Record: ledger.Pos{Topic: topicName, Partition: p, Offset: to}})
		w.counts["rewind"]++
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: topicName, Partition: p, At: to, LeaderEpoch: -1})
		if err := w.whenEmpty(func() error {
			resp, err := w.admin.CommitOffsets(ctx, groupName, o)
			return errors.Join(err, resp.Error())
		}); err != nil {
			return err
		}
	}
	if err := errors.Join(w.start(), w.start()); err != nil {
		return err
	}
	time.Sleep(10 * time.Second) // until the owners have mirrored the log's frontiers again
	return nil
}

// whenEmpty does what a broker refuses while the group has members: a join that a dying worker had sent can land late.
func (w *world) whenEmpty(do func() error) error {
	for range 10 {
		err := do()
		if !errors.Is(err, kerr.NonEmptyGroup) && !errors.Is(err, kerr.UnknownMemberID) {
			return err
		}
		time.Sleep(session + time.Second)
		w.expire(false)
	}
	return do()
}

// expire ends the membership of workers that were killed, or stopped, a session ago, as a broker does. The embedded broker forgets to for
// a member that dies, gives its membership up, or leaves, between joining and its first heartbeat, and then waits for it for ever, while
// every other member's join waits too: all ends every membership, and who lives joins again.
func (w *world) expire(all bool) {
	ctx := context.Background()
	groups, err := w.admin.DescribeGroups(ctx, groupName)
	if err != nil {
		return
	}
	for _, m := range groups[groupName].Members {
		if all || slices.ContainsFunc(w.past, func(k *worker) bool { return k.name == m.ClientID && !k.died.IsZero() && time.Since(k.died) > session }) {
			req := kmsg.NewPtrLeaveGroupRequest()
			gone := kmsg.NewLeaveGroupRequestMember()
			gone.MemberID = m.MemberID
			req.Group, req.Members = groupName, append(req.Members, gone)
			_, _ = req.RequestWith(ctx, w.client)
		}
	}
}
