// Package partition asks the leader of one partition for what stands in it: its bounds, and its records from an offset on. It
// speaks the protocol itself, because a consumer tells neither the offset after a gap nor a topic made anew, and has offset
// resets to be kept from.
//
// The receipt log is read with it, and what the engine has set aside of a job topic. It keeps no position, never waits for what is
// not written yet, and never decides what a missing offset means.
package partition

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrRecreated says that the topic was deleted and made again since it was first asked for.
var ErrRecreated = errors.New("the topic was made anew")

// Reader asks for one partition. Topic and Client must be set. It is not safe for concurrent use.
type Reader struct {
	Client       *kgo.Client
	Topic        string
	Partition    int32
	ID           [16]byte         // of the topic; zero: as it is when first asked for
	Committed    bool             // without what stands in transactions that are open or were aborted
	Bytes        int32            // of one fetch; the first batch comes whole, however large
	Decompressor kgo.Decompressor // nil: the client's default
	Opening      func()           // called when a fetch has come, before its batches are opened; nil: nothing

	known  bool
	leader int32 // once known
}

// Patience is how many tries without progress a read may take before it gives up: about seven seconds.
const Patience = 10

const (
	fetchWait  = 500 // milliseconds; a fetch below the end of the log has something to return at once
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// Wait is the pause before the tries-th try after the first.
func Wait(ctx context.Context, tries int) error {
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
func (p *Reader) ask(ctx context.Context, f func(leader *kgo.Broker) error) error {
	for tries := 1; ; tries++ {
		err := p.find(ctx)
		if err == nil {
			err = f(p.Client.Broker(int(p.leader)))
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.known = false
		if tries == Patience || !passing(err) {
			return err
		}
		if err := Wait(ctx, tries); err != nil {
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
func (p *Reader) find(ctx context.Context) error {
	if p.known {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(p.Topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, p.Client)
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
	if p.ID != ([16]byte{}) && p.ID != found.TopicID {
		return fmt.Errorf("%w: id %x became %x", ErrRecreated, p.ID, found.TopicID)
	}
	p.ID = found.TopicID
	for i := range found.Partitions {
		if f := &found.Partitions[i]; f.Partition == p.Partition {
			if f.Leader < 0 {
				return kerr.LeaderNotAvailable
			}
			p.leader, p.known = f.Leader, true
			return nil
		}
	}
	return kerr.UnknownTopicOrPartition
}

// Bounds is the first offset of the log and the one after the last that consumers may see.
func (p *Reader) Bounds(ctx context.Context) (start, end int64, err error) {
	const first, latest = -2, -1 // the protocol's names for the two ends
	err = p.ask(ctx, func(leader *kgo.Broker) (err error) {
		if start, err = p.listOffset(ctx, leader, first); err == nil {
			end, err = p.listOffset(ctx, leader, latest)
		}
		return err
	})
	return start, end, err
}

func (p *Reader) listOffset(ctx context.Context, leader *kgo.Broker, which int64) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = p.Topic
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.Timestamp = p.Partition, which
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

// Fetch returns records from offset at on, and the offset to fetch after them, which gaps and markers may have moved on.
func (p *Reader) Fetch(ctx context.Context, at int64) (got kgo.FetchPartition, next int64, err error) {
	err = p.ask(ctx, func(leader *kgo.Broker) error {
		raw, err := p.fetchRaw(ctx, leader, at)
		if err != nil {
			return err
		}
		isolation := kgo.ReadUncommitted()
		if p.Committed {
			isolation = kgo.ReadCommitted()
		}
		if p.Opening != nil {
			p.Opening()
		}
		if p.Decompressor == nil {
			p.Decompressor = kgo.DefaultDecompressor()
		}
		got, next = kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
			Offset: at, IsolationLevel: isolation, Topic: p.Topic, Partition: p.Partition,
		}, raw, p.Decompressor, nil)
		return nil
	})
	return got, next, err
}

func (p *Reader) fetchRaw(ctx context.Context, leader *kgo.Broker, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = fetchWait, 1, p.Bytes
	if p.Committed {
		req.IsolationLevel = 1
	}
	req.SessionEpoch = -1 // no fetch session: each request stands alone
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = p.Topic, p.ID // the id from version 13 on
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Partition, at, p.Bytes
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
