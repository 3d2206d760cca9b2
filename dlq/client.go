package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Client reads and redrives the dead letters of one job topic in one group. Its methods may be called concurrently; each
// that reads opens connections of its own and closes them before it returns. Close it when done.
type Client struct {
	opts         []kgo.Opt
	topic, group string
	letters      string // name of the topic of the letters
	admin        *kadm.Client
}

// ErrNoLetter is wrapped by Show's error when there is no letter of that name.
var ErrNoLetter = errors.New("no such letter")

// Open makes a client. opts say how to reach the cluster: seed brokers, TLS, SASL, a logger; see package connect. It does
// not touch the network yet.
func Open(opts []kgo.Opt, topic, group string) (*Client, error) {
	if err := retrytopics.CheckNames(group, []string{topic}, nil); err != nil {
		return nil, err
	}
	admin, err := kadm.NewOptClient(opts...)
	if err != nil {
		return nil, err
	}
	return &Client{opts: slices.Clone(opts), topic: topic, group: group, letters: retrytopics.DeadLetterTopic(topic, group), admin: admin}, nil
}

// Close lets go of the client's connections. Calls that are still under way end on their own.
func (c *Client) Close() { c.admin.Close() }

// Show reads the letter that ref names. Copies, Superseded and Redriven are not known of a single letter and stay zero.
func (c *Client) Show(ctx context.Context, ref string) (*Letter, error) {
	partition, offset, err := ParseRef(ref)
	if err != nil {
		return nil, err
	}
	ranges, err := c.ranges(ctx, c.letters)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(ranges, func(r span) bool { return r.partition == partition })
	if i < 0 || offset < ranges[i].from || offset >= ranges[i].to {
		return nil, fmt.Errorf("%w: %s has nothing at %s", ErrNoLetter, c.letters, ref)
	}
	var found *Letter
	err = c.scan(ctx, c.letters, span{partition, offset, offset + 1}, func(rec *kgo.Record) error {
		l, err := decodeRecord(rec)
		found = &l
		return err
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s at %s: %w", c.letters, ref, err)
	case found == nil:
		return nil, fmt.Errorf("%w: %s has nothing at %s", ErrNoLetter, c.letters, ref)
	}
	return found, nil
}

func decodeRecord(rec *kgo.Record) (Letter, error) {
	return Decode(&job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}, rec.Headers)
}

// span is a range of offsets of one partition, without its end.
type span struct {
	partition int32
	from, to  int64
}

// ranges are what every partition of topic holds now, ascending. Records of open transactions are beyond their ends.
func (c *Client) ranges(ctx context.Context, topic string) ([]span, error) {
	starts, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("reading the start of %s: %w", topic, err)
	}
	ends, err := c.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("reading the end of %s: %w", topic, err)
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("topic %s does not exist; `waybill setup apply` creates it: %w", topic, kerr.UnknownTopicOrPartition)
		}
		return nil, fmt.Errorf("reading the extent of %s: %w", topic, err)
	}
	var ranges []span
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(topic, end.Partition); ok {
			ranges = append(ranges, span{end.Partition, start.Offset, end.Offset})
		}
	})
	slices.SortFunc(ranges, func(a, b span) int { return int(a.partition) - int(b.partition) })
	return ranges, nil
}
