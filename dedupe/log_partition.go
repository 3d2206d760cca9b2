package dedupe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// logPartition asks the leader of one partition of a receipt log. It speaks the protocol itself, because a consumer tells
// neither the offset after a gap nor a topic made anew, and has offset resets to be kept from.
type logPartition struct {
	cl        *kgo.Client
	topic     string
	partition int32

	decompressor kgo.Decompressor

	id     TopicID // once known
	leader int32   // -1: to be looked up
}

const (
	patience   = 10      // tries without progress before a read gives up: about seven seconds
	fetchBytes = 4 << 20 // of one fetch; the first batch comes whole, however large
	fetchWait  = 500     // milliseconds; a fetch below the end of the log has something to return at once
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

func (p *logPartition) named(err error) error {
	return fmt.Errorf("dedupe: receipt log %s/%d: %w", p.topic, p.partition, err)
}

// wait is the pause before the tries-th retry.
func wait(ctx context.Context, tries int) error {
	t := time.NewTimer(min(lastPause, firstPause<<(tries-1)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// ask runs f against the leader until it succeeds, fails for good, or patience ends.
func (p *logPartition) ask(ctx context.Context, f func(leader *kgo.Broker) error) error {
	for tries := 1; ; tries++ {
		err := p.find(ctx)
		if err == nil {
			err = f(p.cl.Broker(int(p.leader)))
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.leader = -1
		if tries == patience || !passing(err) {
			return err
		}
		if err := wait(ctx, tries); err != nil {
			return err
		}
	}
}

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	if k := (*kerr.Error)(nil); errors.As(err, &k) {
		return k.Retriable && k != kerr.OffsetOutOfRange
	}
	return !errors.Is(err, ErrRecreated) && !errors.Is(err, kgo.ErrClientClosed)
}

// find looks up leader and topic id where the leader is not known.
func (p *logPartition) find(ctx context.Context) error {
	if p.leader >= 0 {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(p.topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, p.cl)
	if err != nil {
		return err
	}
	if len(resp.Topics) != 1 {
		return kerr.UnknownTopicOrPartition
	}
	found := &resp.Topics[0]
	if err := kerr.ErrorForCode(found.ErrorCode); err != nil {
		return err
	}
	if p.id != (TopicID{}) && p.id != found.TopicID {
		return fmt.Errorf("%w: id %s became %s", ErrRecreated, p.id, TopicID(found.TopicID))
	}
	p.id = found.TopicID
	for i := range found.Partitions {
		if f := &found.Partitions[i]; f.Partition == p.partition {
			if f.Leader < 0 {
				return kerr.LeaderNotAvailable
			}
			p.leader = f.Leader
			return nil
		}
	}
	return kerr.UnknownTopicOrPartition
}

// bounds is the first offset of the log and the one after the last that consumers may see.
func (p *logPartition) bounds(ctx context.Context) (start, end int64, err error) {
	const first, latest = -2, -1 // the protocol's names for the two ends
	err = p.ask(ctx, func(leader *kgo.Broker) (err error) {
		if start, err = p.listOffset(ctx, leader, first); err == nil {
			end, err = p.listOffset(ctx, leader, latest)
		}
		return err
	})
	return start, end, err
}

func (p *logPartition) listOffset(ctx context.Context, leader *kgo.Broker, which int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = p.topic
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = p.partition, which
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, leader)
	if err != nil {
		return 0, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return 0, kerr.UnknownTopicOrPartition
	}
	got := &resp.Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

// fetch returns records from offset at on, and the offset to fetch after them, which gaps and markers may have moved on.
func (p *logPartition) fetch(ctx context.Context, at int64) (got kgo.FetchPartition, next int64, err error) {
	err = p.ask(ctx, func(leader *kgo.Broker) error {
		raw, err := p.fetchRaw(ctx, leader, at)
		if err != nil {
			return err
		}
		got, next = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: at, IsolationLevel: kgo.ReadUncommitted(), Topic: p.topic, Partition: p.partition,
		}, raw, p.decompressor, nil)
		return nil
	})
	return got, next, err
}

func (p *logPartition) fetchRaw(ctx context.Context, leader *kgo.Broker, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchWait, 1, fetchBytes
	req.SessionEpoch = -1 // no fetch session: each request stands alone
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = p.topic, p.id // the id from version 13 on
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.partition, at, fetchBytes
	t.Partitions = append(t.Partitions, part)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, leader)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, kerr.UnknownTopicOrPartition
	}
	raw := &resp.Topics[0].Partitions[0]
	return raw, kerr.ErrorForCode(raw.ErrorCode)
}
