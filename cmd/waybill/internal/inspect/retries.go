package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Retry is one record of a retry tier at or above the committed offset.
type Retry struct {
	Topic     string    `json:"topic"` // the job topic
	Tier      string    `json:"tier"`
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"` // in the tier's topic
	Due       time.Time `json:"due"`    // by the broker's clock; the next look at it, which of a long delay is only a hop
	At        time.Time `json:"at,omitzero"`
	Kind      string    `json:"kind"`
	ID        string    `json:"id"`
	Key       string    `json:"key,omitempty"`
	Attempt   int       `json:"attempt"` // the next one, from 1
	Hop       uint32    `json:"hop"`
	Code      string    `json:"code,omitempty"`
	Error     string    `json:"error,omitempty"` // of the last attempt
	Fault     string    `json:"fault,omitempty"` // why the record breaks the wire format
}

// ErrEnough ends a listing early without an error when each returns it.
var ErrEnough = errors.New("enough")

// Retries hands what waits in the tiers of a job topic to each, by tier, partition and offset, up to the ends of the logs
// as they are at the call. Records that are done but lie above one that is not are among them.
func (r *Reader) Retries(ctx context.Context, topic string, each func(Retry) error) error {
	tiers, found, err := r.tiers(ctx, topic)
	if err != nil {
		return err
	}
	for _, s := range tiers {
		for _, p := range partitions(found[s.topic]) {
			e := found[s.topic][p]
			err := r.scan(ctx, s.topic, p, max(e.start, e.committed), e.end, func(rec *kgo.Record) error { return each(retry(topic, s, rec)) })
			if errors.Is(err, ErrEnough) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func retry(topic string, s source, rec *kgo.Record) Retry {
	var e job.Envelope
	raw := job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}
	job.Decode(&e, &raw, rec.Headers, job.TrustCopy, "")
	out := Retry{Topic: topic, Tier: retrytopics.FormatTier(s.tier), Partition: rec.Partition, Offset: rec.Offset, Due: rec.Timestamp.Add(e.Delay).UTC(),
		At: e.At, Kind: e.Kind, ID: e.ID, Key: string(e.Key), Attempt: e.Attempt, Hop: e.Hop, Error: e.LastError, Fault: e.Fault}
	if e.LastCode != job.CodeNone {
		out.Code = e.LastCode.String()
	}
	return out
}

// scan reads [from, to) of one partition.
func (r *Reader) scan(ctx context.Context, topic string, p int32, from, to int64, each func(*kgo.Record) error) error {
	if from >= to {
		return nil
	}
	cl, err := kgo.NewClient(append(slices.Clone(r.opts), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(500*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("read %s/%d: %w", topic, p, errs[0].Err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			rec := records.Next()
			if rec.Offset < to && !rec.Attrs.IsControl() {
				if err := each(rec); err != nil {
					return err
				}
			}
			if rec.Offset >= to-1 {
				return nil
			}
		}
	}
}
