package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/control"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Reader looks at one group. Its methods may be called one after another from one goroutine; Close it.
type Reader struct {
	opts   []kgo.Opt
	client *kgo.Client
	admin  *kadm.Client
	group  string
	layout control.Layout
}

// Open connects and reads the group's layout: which job topics it has, and which tiers each ever had.
func Open(ctx context.Context, opts []kgo.Opt, group string) (*Reader, error) {
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	r := &Reader{opts: slices.Clip(opts), client: client, admin: kadm.NewClient(client), group: group}
	if r.layout, err = control.ReadLayout(ctx, opts, group); err != nil {
		client.Close()
		return nil, err
	}
	return r, nil
}

// Close ends the connections.
func (r *Reader) Close() { r.client.Close() }

// Topics are the job topics of the group, as its layout says, sorted.
func (r *Reader) Topics() []string {
	var out []string
	for name := range r.layout.Topics {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Tiers are the delays of all tiers a job topic ever had, ascending; none for a topic the layout does not hold.
func (r *Reader) Tiers(topic string) []time.Duration { return r.layout.Tiers(topic) }

// SmallestTier is the retry topic with the shortest delay, empty for a topic the layout does not hold.
func (r *Reader) SmallestTier(topic string) string {
	tiers := r.layout.Tiers(topic)
	if len(tiers) == 0 {
		return ""
	}
	return retrytopics.TierTopic(topic, r.group, tiers[0])
}

// source is a topic whose partitions a task reads.
type source struct {
	topic string
	tier  time.Duration // 0 for the job topic
}

// sources are a job topic and its tiers, shortest first.
func (r *Reader) sources(topic string) []source {
	out := []source{{topic: topic}}
	for _, d := range r.layout.Tiers(topic) {
		out = append(out, source{retrytopics.TierTopic(topic, r.group, d), d})
	}
	return out
}

// extent is the state of one partition.
type extent struct {
	start, end int64
	committed  int64 // -1: never
}

// lag is how many records are not settled for good: those between the committed offset and the end. A record above one
// that is still worked on counts although it may be done.
func (e extent) lag() int64 { return max(0, e.end-max(e.start, e.committed)) }

// tiers are the retry tiers of a job topic, and how far each of their partitions goes.
func (r *Reader) tiers(ctx context.Context, topic string) ([]source, map[string]map[int32]extent, error) {
	tiers := r.sources(topic)[1:]
	names := make([]string, 0, len(tiers))
	for _, s := range tiers {
		names = append(names, s.topic)
	}
	if len(names) == 0 { // which Kafka would take for all topics
		return nil, nil, nil
	}
	found, err := r.extents(ctx, names)
	return tiers, found, err
}

// extents asks for all partitions of some topics; a topic that does not exist is left out.
func (r *Reader) extents(ctx context.Context, topics []string) (map[string]map[int32]extent, error) {
	committed, err := r.admin.FetchOffsets(ctx, r.group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("the committed offsets of group %s: %w", r.group, err)
	}
	starts, err1 := r.admin.ListStartOffsets(ctx, topics...)
	ends, err2 := r.admin.ListCommittedOffsets(ctx, topics...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("the extents of the topics: %w", err)
	}
	out := map[string]map[int32]extent{}
	var failed error
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		switch err := errors.Join(end.Err, start.Err); {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("%s/%d: %w", end.Topic, end.Partition, err))
			return
		}
		e := extent{start: start.Offset, end: end.Offset, committed: -1}
		if c, ok := committed.Lookup(end.Topic, end.Partition); ok && c.Err == nil {
			e.committed = c.At
		}
		if out[end.Topic] == nil {
			out[end.Topic] = map[int32]extent{}
		}
		out[end.Topic][end.Partition] = e
	})
	return out, failed
}
