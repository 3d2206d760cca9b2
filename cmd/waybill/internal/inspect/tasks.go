package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Task is partition i of a job topic with the same partitions of its tiers.
type Task struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Member    string `json:"member,omitempty"` // that the coordinator has assigned it to; empty for none
	Client    string `json:"client,omitempty"`
	Instance  string `json:"instance,omitempty"` // that wrote the newest ownership record
	Epoch     int64  `json:"epoch"`              // of that ownership; -1 when nobody ever owned the task, or the log does not say any more

	Committed int64         `json:"committed"` // in the job topic; -1 for never
	End       int64         `json:"end"`
	Lag       int64         `json:"lag"`
	Waiting   int64         `json:"waiting"` // in all tiers
	Tiers     []TaskWaiting `json:"tiers"`
}

// TaskWaiting is how many records one tier holds for a task.
type TaskWaiting struct {
	Tier    string `json:"tier"`
	Waiting int64  `json:"waiting"`
}

// Tasks lists the tasks of some job topics of the group, by topic and partition.
func (r *Reader) Tasks(ctx context.Context, topics []string) ([]Task, error) {
	described, err := r.describe(ctx)
	if err != nil {
		return nil, err
	}
	type owner struct{ member, client string }
	owners := map[string]owner{}
	for _, m := range described.Members {
		for topic, ps := range held(m) {
			for _, p := range ps {
				owners[fmt.Sprintf("%s/%d", topic, p)] = owner{m.MemberID, m.ClientID}
			}
		}
	}
	var names []string
	for _, t := range topics {
		names = append(names, retrytopics.ReceiptTopic(t, r.group))
		for _, s := range r.sources(t) {
			names = append(names, s.topic)
		}
	}
	found, err := r.extents(ctx, names)
	if err != nil {
		return nil, err
	}
	out := []Task{}
	for _, t := range topics {
		for _, p := range partitions(found[t]) {
			task := r.task(t, p, found)
			o := owners[fmt.Sprintf("%s/%d", t, p)]
			task.Member, task.Client = o.member, o.client
			log := retrytopics.ReceiptTopic(t, r.group)
			if task.Epoch, task.Instance, err = r.ownership(ctx, log, p, found[log][p]); err != nil {
				return nil, err
			}
			out = append(out, task)
		}
	}
	return out, nil
}

func (r *Reader) task(topic string, p int32, found map[string]map[int32]extent) Task {
	e := found[topic][p]
	t := Task{Topic: topic, Partition: p, Committed: e.committed, End: e.end, Lag: e.lag(), Tiers: []TaskWaiting{}}
	for _, s := range r.sources(topic) {
		if e, ok := found[s.topic][p]; ok && s.tier > 0 {
			t.Waiting += e.lag()
			t.Tiers = append(t.Tiers, TaskWaiting{retrytopics.FormatTier(s.tier), e.lag()})
		}
	}
	return t
}

// tailEntries is how much of the end of a receipt log is read to learn the epoch in force: every segment names the one its
// writer rests on, and more than one because a late segment of a former owner may be the last.
const tailEntries = 50

// ownership finds the newest ownership record of a task: the greatest epoch its log's tail speaks of, then that record.
func (r *Reader) ownership(ctx context.Context, log string, p int32, e extent) (epoch int64, instance string, err error) {
	epoch = -1
	if e.end <= e.start {
		return epoch, "", nil
	}
	reader := dedupe.NewLogReader(r.opts)
	see := func(entry *dedupe.Entry) error {
		switch {
		case entry.Owner != nil && entry.Offset >= epoch:
			epoch, instance = entry.Offset, entry.Owner.Instance
		case entry.Segment != nil && entry.Segment.Epoch > epoch:
			epoch, instance = entry.Segment.Epoch, ""
		}
		return nil
	}
	err = reader.Read(ctx, log, p, max(e.start, e.end-tailEntries), e.end, see)
	if err == nil && instance == "" && epoch >= e.start {
		err = reader.Read(ctx, log, p, epoch, epoch+1, see)
	}
	if version := (*dedupe.VersionError)(nil); errors.As(err, &version) {
		return -1, "", fmt.Errorf("%w: this waybill is older than the workers; upgrade it", err)
	}
	return epoch, instance, err
}
