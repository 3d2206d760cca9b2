package consumer

import (
	"cmp"
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
)

// errNoAnswer is about a partition that no broker spoke for.
var errNoAnswer = errors.New("no broker spoke for the partition")

// places is what the cluster knows of the partitions of some tasks.
type places struct {
	topics      kadm.TopicDetails
	committed   kadm.OffsetResponses
	start, ends kadm.ListedOffsets
	epochs      kadm.OffsetsForLeaderEpochs // where the logs of the epochs end that the commits name
}

// places asks for all topics at once; what is wrong with one of them is that one's affair, and no error here.
func (c *Consumer) places(ctx context.Context, hs []*handle) (at places, err error) {
	seen := map[string]bool{}
	var topics []string
	for _, h := range hs {
		for _, t := range h.topic.all() {
			if !seen[t] {
				seen[t] = true
				topics = append(topics, t)
			}
		}
	}
	if at.topics, err = c.adm.ListTopics(ctx, topics...); err != nil {
		return at, err
	}
	if at.committed, err = c.adm.FetchOffsets(ctx, c.cfg.Group); err != nil {
		return at, err
	}
	if at.start, err = c.adm.ListStartOffsets(ctx, topics...); err != nil {
		return at, err
	}
	if at.ends, err = c.adm.ListEndOffsets(ctx, topics...); err != nil {
		return at, err
	}
	if asked := epochsOf(at.committed, topics, hs); len(asked) > 0 {
		at.epochs, err = c.adm.OffsetForLeaderEpoch(ctx, asked)
	}
	return at, err
}

// epochsOf are the leader epochs that our commits name of the tasks' partitions.
func epochsOf(committed kadm.OffsetResponses, topics []string, hs []*handle) (asked kadm.OffsetForLeaderEpochRequest) {
	for _, t := range topics {
		for _, h := range hs {
			if o, ok := committed.Lookup(t, h.key.partition); ok && o.Err == nil && o.At >= 0 && o.LeaderEpoch >= 0 && o.Metadata == commit.Metadata {
				asked.Add(t, h.key.partition, o.LeaderEpoch)
			}
		}
	}
	return asked
}

// starts is what is known of a task's partitions. What is not known for sure is left out: the machine asks again.
func (c *Consumer) starts(at *places, h *handle) (out []task.Start) {
	for _, t := range h.topic.all() {
		d, there := at.topics[t]
		if !there || d.Err != nil {
			c.watch.suspect(d.Err)
			if errors.Is(d.Err, kerr.TopicAuthorizationFailed) {
				c.complain("describe", t, d.Err)
			}
			continue
		}
		if id := c.topicID(t); id != [16]byte(d.ID) {
			c.watch.look()
		}
		start, ok1 := at.start.Lookup(t, h.key.partition)
		end, ok2 := at.ends.Lookup(t, h.key.partition)
		o, ok := at.committed.Lookup(t, h.key.partition)
		if !ok1 || !ok2 || start.Err != nil || end.Err != nil || o.Err != nil {
			c.complain("list offsets", t, cmp.Or(errors.Join(start.Err, end.Err, o.Err), errNoAnswer), zap.Int32("partition", h.key.partition))
			continue
		}
		epoch, asked := at.epochs[t][h.key.partition]
		if epoch.Err != nil { // a leader that just changed: asked again
			c.complain("leader epoch", t, epoch.Err, zap.Int32("partition", h.key.partition))
			continue
		}
		s := task.Start{Topic: t, ID: dedupe.TopicID(d.ID), Committed: -1, LeaderEpoch: -1, EpochEnd: -1, LogStart: start.Offset, LogEnd: end.Offset}
		if ok && o.At >= 0 {
			s.Committed, s.LeaderEpoch, s.Ours = o.At, o.LeaderEpoch, o.Metadata == commit.Metadata
			if asked {
				s.EpochEnd = epoch.EndOffset
			}
		}
		out = append(out, s)
	}
	return out
}
