// Package topics reads whole topics and committed offsets of a finished or running test run into the plain records package
// checker judges. It is the checker's only room with a Kafka client, for tests, tools and drivers; it never writes, never
// joins a group, and decodes nothing.
package topics

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/checker"
)

// Reader keeps what it has read and reads on from there. A run whose tiers are trimmed as they are consumed is read now
// and then while it goes on; what is trimmed between two reads is missing, and Fill says so. For one goroutine.
type Reader struct {
	opts    []kgo.Opt
	client  *kgo.Client // for admin requests; each Read consumes with a client of its own
	names   []string
	next    checker.Offsets
	from    checker.Offsets
	ends    checker.Offsets
	ids     map[string][16]byte
	records map[string][]checker.Record
}

// NewReader reads the named topics over a cluster reached by opts (seed brokers, dialer, TLS, SASL). A name that does not
// exist makes Read fail. Close it after use.
func NewReader(opts []kgo.Opt, names ...string) (*Reader, error) {
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	return &Reader{
		opts: opts, client: client, names: names,
		next: checker.Offsets{}, from: checker.Offsets{}, ends: checker.Offsets{}, ids: map[string][16]byte{}, records: map[string][]checker.Record{},
	}, nil
}

// Of lists the topics of job topics in the roles the checker reads: themselves, their tiers and their dead letters. Add their receipt logs to
// have those judged too.
func Of(jobs []checker.JobTopic) (names []string) {
	for _, j := range jobs {
		names = append(names, j.Topic)
		for _, t := range j.Tiers {
			names = append(names, t.Topic)
		}
		if j.DeadLetters != "" {
			names = append(names, j.DeadLetters)
		}
	}
	return names
}

// Close ends the reader's connections. What was read stays.
func (r *Reader) Close() { r.client.Close() }

// Read reads on up to what is committed now: the ends of the logs, less open transactions. It blocks until it is there or ctx
// ends; after an error it may be called again and goes on where it stopped.
func (r *Reader) Read(ctx context.Context) error {
	for {
		until, err := r.list(ctx)
		if err == nil {
			err = r.consume(ctx, until)
		}
		// trimmed between listing and fetching: list again, the start has moved
		if !errors.Is(err, kerr.OffsetOutOfRange) || ctx.Err() != nil {
			return err
		}
	}
}

// list finds how far each partition with unread records is to be read, and notes what is gone before it was read.
func (r *Reader) list(ctx context.Context) (until checker.Offsets, err error) {
	admin := kadm.NewClient(r.client)
	starts, err1 := admin.ListStartOffsets(ctx, r.names...)
	stable, err2 := admin.ListCommittedOffsets(ctx, r.names...)
	ends, err3 := admin.ListEndOffsets(ctx, r.names...)
	if err := errors.Join(err1, err2, err3, starts.Error(), stable.Error(), ends.Error()); err != nil {
		return nil, fmt.Errorf("list offsets: %w", err)
	}
	if len(r.ids) == 0 {
		details, err := admin.ListTopics(ctx, r.names...)
		if err != nil {
			return nil, fmt.Errorf("list topics: %w", err)
		}
		for name, d := range details {
			r.ids[name] = d.ID
		}
	}
	for _, name := range r.names {
		if r.records[name] == nil {
			r.records[name] = []checker.Record{} // an empty topic was read too
		}
	}
	until = checker.Offsets{}
	ends.Each(func(o kadm.ListedOffset) { r.ends.Set(o.Topic, o.Partition, o.Offset) })
	starts.Each(func(o kadm.ListedOffset) {
		if o.Offset > r.next.At(o.Topic, o.Partition, 0) {
			r.from.Set(o.Topic, o.Partition, o.Offset)
			r.next.Set(o.Topic, o.Partition, o.Offset)
		}
		end, ok := stable.Lookup(o.Topic, o.Partition)
		if next := r.next.At(o.Topic, o.Partition, 0); ok && next < end.Offset {
			until.Set(o.Topic, o.Partition, end.Offset)
		}
	})
	return until, nil
}

// consume reads each partition of until from where the last read stopped. Aborted records are left out by the client;
// control records are kept only to see the end of a log that ends with one.
func (r *Reader) consume(ctx context.Context, until checker.Offsets) error {
	from := make(map[string]map[int32]kgo.Offset)
	left := 0
	for topic, partitions := range until {
		from[topic] = make(map[int32]kgo.Offset)
		for p := range partitions {
			from[topic][p] = kgo.NewOffset().At(r.next.At(topic, p, 0))
			left++
		}
	}
	if left == 0 {
		return nil
	}
	client, err := kgo.NewClient(append(r.opts[:len(r.opts):len(r.opts)], kgo.ConsumePartitions(from), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))...)
	if err != nil {
		return fmt.Errorf("read topics: %w", err)
	}
	defer client.Close()
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 { // what mends itself the client keeps to itself
			return fmt.Errorf("read %s/%d: %w", errs[0].Topic, errs[0].Partition, errs[0].Err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			end, before := until[p.Topic][p.Partition], r.next.At(p.Topic, p.Partition, 0)
			for _, rec := range p.Records {
				r.take(rec, end)
			}
			if before < end && r.next.At(p.Topic, p.Partition, 0) >= end {
				left--
			}
		})
	}
	return nil
}

// take keeps one record below end.
func (r *Reader) take(rec *kgo.Record, end int64) {
	if rec.Offset >= end || rec.Offset < r.next.At(rec.Topic, rec.Partition, 0) {
		return
	}
	r.next.Set(rec.Topic, rec.Partition, rec.Offset+1)
	if rec.Attrs.IsControl() {
		return
	}
	headers := make([]checker.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = checker.Header(h)
	}
	r.records[rec.Topic] = append(r.records[rec.Topic], checker.Record{
		Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp,
		Key: rec.Key, Value: rec.Value, Headers: headers,
	})
}

// Fill puts what was read so far into in: Topics, TopicIDs, From and Ends. They are shared with the reader, not copied.
func (r *Reader) Fill(in *checker.Input) {
	in.Topics, in.TopicIDs, in.From, in.Ends = r.records, r.ids, r.from, r.ends
}

// Committed is what a group has committed for the reader's topics. A group that does not exist has committed nothing.
func (r *Reader) Committed(ctx context.Context, group string) (checker.Offsets, error) {
	responses, err := kadm.NewClient(r.client).FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("committed offsets of %s: %w", group, err)
	}
	mine := make(map[string]bool, len(r.names))
	for _, name := range r.names {
		mine[name] = true
	}
	committed := checker.Offsets{}
	var failed error
	responses.Each(func(o kadm.OffsetResponse) {
		switch {
		case !mine[o.Topic]:
		case o.Err != nil:
			failed = errors.Join(failed, fmt.Errorf("committed offset of %s/%d: %w", o.Topic, o.Partition, o.Err))
		case o.At >= 0:
			committed.Set(o.Topic, o.Partition, o.At)
		}
	})
	return committed, failed
}
