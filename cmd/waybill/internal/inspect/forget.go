package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Order is an order to forget a job, as it stands in the audit topic.
type Order struct {
	By, Why string
	Forced  bool // although the job was not at its end
}

// Forget writes an order to withdraw what the log says of a job, then audits it. It returns where the order stands. On an
// error that names the audit topic the order stands all the same.
func (r *Reader) Forget(ctx context.Context, h *History, o Order) (offset int64, err error) {
	client, err := kgo.NewClient(append(slices.Clone(r.opts), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	seg := dedupe.Segment{Epoch: -1, Forget: []job.Identity{h.id}}
	rec := &kgo.Record{Topic: h.Log, Partition: h.Partition, Value: dedupe.AppendSegment(nil, &seg)}
	if err := client.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return 0, fmt.Errorf("%s/%d: %w", h.Log, h.Partition, err)
	}
	offset = rec.Offset
	details := map[string]any{"topic": h.Topic, "partition": h.Partition, "kind": h.Kind, "id": h.ID, "identity": h.Identity, "order": offset, "forced": o.Forced}
	if h.Key != nil {
		details["key"] = *h.Key
	}
	if h.Receipt != nil {
		details["state"], details["generation"] = h.Receipt.State, h.Receipt.Generation
	}
	line := audit.Record(r.group, audit.Entry{Time: time.Now(), Who: o.By, What: audit.Forget, Why: o.Why, Details: details})
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: line.Topic, Key: line.Key, Value: line.Value}).FirstErr(); err != nil {
		return offset, fmt.Errorf("the job is forgotten, but %s does not say so: %w", retrytopics.AuditTopic(r.group), err)
	}
	return offset, nil
}

// Owned is the member that the group has assigned a task to, by its client id; empty for none.
func (r *Reader) Owned(ctx context.Context, topic string, p int32) (client string, err error) {
	described, err := r.describe(ctx)
	if err != nil {
		return "", err
	}
	for _, m := range described.Members {
		if slices.Contains(held(m)[topic], p) {
			return m.ClientID, nil
		}
	}
	return "", nil
}

// heardEvery is how often Heard looks.
const heardEvery = 300 * time.Millisecond

// Heard waits until an owner has written behind an order: it has read it by then, since it reads every gap before it goes
// on. It reports false when patience runs out.
func (r *Reader) Heard(ctx context.Context, h *History, order int64, patience time.Duration) (bool, error) {
	for end := time.Now().Add(patience); ; {
		_, to, err := r.bounds(ctx, h.Log, h.Partition)
		if err != nil {
			return false, err
		}
		heard := false
		err = r.log(ctx, h.Log, h.Partition, order+1, to, func(e *dedupe.Entry) {
			heard = heard || e.Owner != nil || e.Segment.Epoch >= h.Epoch && e.Segment.Epoch >= 0
		})
		if heard || err != nil || time.Now().After(end) {
			return heard, err
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(heardEvery):
		}
	}
}
