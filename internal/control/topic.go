package control

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/retrytopics"
)

// ReadLayout reads the control topic of a group to its end, with a client of its own made from opts. A control topic that
// is missing or says nothing yields an empty layout.
func ReadLayout(ctx context.Context, opts []kgo.Opt, group string) (Layout, error) {
	topic := retrytopics.ControlTopic(group)
	opts = append(append([]kgo.Opt{}, opts...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return Layout{}, err
	}
	defer cl.Close()
	fail := func(err error) (Layout, error) {
		return Layout{}, fmt.Errorf("read the layout from topic %s: %w", topic, err)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return fail(err)
	}
	end, ok := ends.Lookup(topic, 0)
	if !ok || errors.Is(end.Err, kerr.UnknownTopicOrPartition) {
		return Layout{}, nil
	}
	if end.Err != nil {
		return fail(end.Err)
	}
	var last []byte
	for at := int64(0); at < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fail(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			at = r.Offset + 1
			if string(r.Key) == LayoutKey {
				last = r.Value
			}
		})
	}
	if last == nil {
		return Layout{}, nil
	}
	l, err := DecodeLayout(last)
	if err != nil {
		return fail(err)
	}
	return l, nil
}

// writeRounds is how often WriteLayout merges anew after another writer came between.
const writeRounds = 5

// WriteLayout merges add into the layout and returns the whole. Two instances that start with different tiers at the same
// time could each overwrite the other's: so the topic is read again after the write until it holds what was added.
func WriteLayout(ctx context.Context, opts []kgo.Opt, group string, add Layout) (Layout, error) {
	topic := retrytopics.ControlTopic(group)
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(5))...)
	if err != nil {
		return Layout{}, err
	}
	defer cl.Close()
	for range writeRounds {
		l, err := ReadLayout(ctx, opts, group)
		if err != nil {
			return Layout{}, err
		}
		if l.Has(add) {
			return l, nil
		}
		l.Topics = maps.Clone(l.Topics)
		for name, t := range add.Topics {
			l.Add(name, t.Partitions, add.Tiers(name))
		}
		value, err := l.encode()
		if err != nil {
			return Layout{}, err
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(LayoutKey), Value: value}).FirstErr(); err != nil {
			return Layout{}, fmt.Errorf("write the layout to topic %s: %w", topic, err)
		}
	}
	return Layout{}, fmt.Errorf("the layout in topic %s was overwritten %d times in a row by other instances; start this one again", topic, writeRounds)
}
