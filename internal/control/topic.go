package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/retrytopics"
)

// ReadLayout reads the control topic of a group to its end, with a client of its own made from opts. A control topic that
// is missing or says nothing yields an empty layout.
//
// Every record of the layout counts, not only the newest: a writer that had not seen another's may have overwritten it.
// Tiers are only ever added, so their union is what is true; of partition counts the newest is.
func ReadLayout(ctx context.Context, opts []kgo.Opt, group string) (Layout, error) {
	all, newest, err := read(ctx, opts, retrytopics.ControlTopic(group))
	if err != nil {
		return Layout{}, fmt.Errorf("read the layout from topic %s: %w", retrytopics.ControlTopic(group), err)
	}
	all.split = !newest.Has(all)
	return all, nil
}

// read returns the union of all layout records, and the newest of them.
func read(ctx context.Context, opts []kgo.Opt, topic string) (all, newest Layout, err error) {
	var broken error // the newest record does not decode; what an older one says that does not is superseded anyway
	err = scan(ctx, opts, topic, func(r *kgo.Record) {
		if string(r.Key) != LayoutKey {
			return
		}
		l, err := DecodeLayout(r.Value)
		if broken = err; err != nil {
			return
		}
		newest = l
		for name, t := range l.Topics {
			all.Add(name, t.Partitions, l.Tiers(name))
		}
	})
	return all, newest, errors.Join(err, broken)
}

// scan hands each every record that the control topic holds when it is called. A missing topic holds none.
//
// The end is always reached: the last record of a compacted log is the newest of its key, which compaction keeps, and
// nobody writes tombstones or transactions there.
func scan(ctx context.Context, opts []kgo.Opt, topic string, each func(*kgo.Record)) error {
	adm, err := kadm.NewOptClient(opts...)
	if err != nil {
		return err
	}
	defer adm.Close()
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	start, found := starts.Lookup(topic, 0)
	end, ok := ends.Lookup(topic, 0)
	if !found || !ok || errors.Is(end.Err, kerr.UnknownTopicOrPartition) {
		return ignoreMissing(errors.Join(starts.Error(), ends.Error()))
	}
	if err := errors.Join(start.Err, end.Err); err != nil || start.Offset >= end.Offset {
		return err
	}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(start.Offset)}}))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for at := start.Offset; at < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if at = r.Offset + 1; r.Offset < end.Offset {
				each(r)
			}
		})
	}
	return nil
}

// ignoreMissing is err, unless that says that there is no such topic.
func ignoreMissing(err error) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return err
}

// writeRounds is how often WriteLayout merges anew after another writer came between.
const writeRounds = 5

// WriteLayout merges add into the layout and returns the whole. Two instances that start with different tiers at the same
// time could each overwrite the other's: so the topic is read again after the write, until its newest record holds what
// was added and what every other record holds.
func WriteLayout(ctx context.Context, opts []kgo.Opt, group string, add Layout) (Layout, error) {
	topic := retrytopics.ControlTopic(group)
	cl, err := kgo.NewClient(append(append([]kgo.Opt{}, opts...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(5))...)
	if err != nil {
		return Layout{}, err
	}
	defer cl.Close()
	for round := 0; ; round++ {
		l, err := ReadLayout(ctx, opts, group)
		if err != nil {
			return Layout{}, err
		}
		if l.Has(add) && !l.split {
			return l, nil
		}
		if round == writeRounds {
			return Layout{}, fmt.Errorf("the layout in topic %s was overwritten %d times in a row by other instances; start this one again", topic, writeRounds)
		}
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
}
