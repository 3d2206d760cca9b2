package edge

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Records reads a topic whole, in the order of partitions and offsets.
func (r *Rig) Records(topic string) (out []*kgo.Record) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), Patience)
	defer cancel()
	ends, err := r.Admin.ListEndOffsets(ctx, topic)
	if err != nil {
		r.T.Fatal(err)
	}
	starts, err := r.Admin.ListStartOffsets(ctx, topic)
	if err != nil {
		r.T.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(topic, end.Partition)
		left += end.Offset - start.Offset
	})
	cl, err := kgo.NewClient(append(slices.Clip(r.Opts), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		r.T.Fatal(err)
	}
	defer cl.Close()
	for int64(len(out)) < left {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			r.T.Fatalf("reading %s: %v", topic, err)
		}
		out = append(out, fetches.Records()...)
	}
	slices.SortStableFunc(out, func(a, b *kgo.Record) int {
		return int(int64(a.Partition-b.Partition)<<40 + a.Offset - b.Offset)
	})
	return out
}

// Letters are the dead letters, by place.
func (r *Rig) Letters() (out []dlq.Letter) {
	r.T.Helper()
	d, err := dlq.Open(r.Opts, r.Topic, r.Group)
	if err != nil {
		r.T.Fatal(err)
	}
	defer d.Close()
	sum, err := d.List(r.T.Context(), dlq.Filter{}, func(l *dlq.Letter) error {
		out = append(out, *l)
		return nil
	})
	if err != nil || sum.Foreign+sum.Newer > 0 {
		r.T.Fatalf("dead letters of %s: %+v, %v", r.Topic, sum, err)
	}
	return out
}

// Letter is the letter of the job that came from this place of the job topic; it fails the test when there is not exactly
// one.
func (r *Rig) Letter(partition int32, offset int64) dlq.Letter {
	r.T.Helper()
	var found []dlq.Letter
	for _, l := range r.Letters() {
		if l.Origin.Topic == r.Topic && l.Origin.Partition == partition && l.Origin.Offset == offset {
			found = append(found, l)
		}
	}
	if len(found) != 1 {
		r.T.Errorf("%d letters of %s/%d/%d, want 1", len(found), r.Topic, partition, offset)
		return dlq.Letter{}
	}
	return found[0]
}

// Audit is the group's audit topic.
func (r *Rig) Audit() (out []audit.Entry) {
	r.T.Helper()
	for _, rec := range r.Records(retrytopics.AuditTopic(r.Group)) {
		e, err := audit.Decode(rec.Value)
		if err != nil {
			r.T.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// SetConfig changes a setting of a topic and waits until the brokers say so.
func (r *Rig) SetConfig(topic, name, value string) {
	r.T.Helper()
	resp, err := r.Admin.AlterTopicConfigs(r.T.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err == nil {
		_, err = resp.On(topic, nil)
	}
	if err != nil {
		r.T.Fatal(err)
	}
	r.Until(func() string {
		configs, err := r.Admin.DescribeTopicConfigs(r.T.Context(), topic)
		if err != nil {
			return err.Error()
		}
		for _, c := range configs[0].Configs {
			if c.Key == name && c.MaybeValue() == value {
				return ""
			}
		}
		return fmt.Sprintf("%s of %s is not %s yet", name, topic, value)
	})
}
