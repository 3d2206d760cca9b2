package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/internal/storeload"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// logBatch is how many receipts a segment of a log has that is written for a case: about a tick of a busy task.
const logBatch = storeload.Batch

// knownID is the id of a job that was done before.
func knownID(seq int) string { return fmt.Sprintf("known-%d", seq) }

// known reports whether a job was done before it is sent.
func (l Load) known(seq int) bool { return l.Known > 0 && seq%l.Known == l.Known/2 }

// writeLog makes a group's topics for a job topic and writes its receipt log as an owner would have that has let the tasks go: n
// receipts of jobs that are done, among them, spread evenly, those that the topic's load sends again.
func (e *env) writeLog(ctx context.Context, group string, load Load, n int) error {
	if err := e.setUp(ctx, group, load.Topic); err != nil {
		return err
	}
	began := time.Now()
	again, err := load.receipts()
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(e.opts[:len(e.opts):len(e.opts)], kgo.DefaultProduceTopic(retrytopics.ReceiptTopic(load.Topic, group)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed error // the client calls its promises one after the other
	next := 0
	for p := range partitions {
		put := func(value []byte) {
			cl.Produce(ctx, &kgo.Record{Partition: int32(p), Value: value}, func(_ *kgo.Record, err error) { failed = errors.Join(failed, err) })
		}
		put(dedupe.AppendOwner(nil, &dedupe.Owner{Instance: "bench", Process: "bench", Member: "bench", Group: group}))
		own, list := max(n/partitions, len(again[p])), make([]dedupe.Receipt, 0, logBatch)
		for i := range own {
			if every := own / max(1, len(again[p])); len(again[p]) > 0 && i%every == 0 {
				list, again[p] = append(list, again[p][0]), again[p][1:]
			} else {
				list = append(list, dedupe.Receipt{Identity: storeload.Identity(next), State: dedupe.Done, Attempt: 1, Origin: int64(i), KeyHash: uint64(next), Digest: uint64(next)})
			}
			next++
			if last := i == own-1; last || len(list) == logBatch {
				s := dedupe.Segment{Receipts: list} // the owner's record is the first of the log
				if last {
					s.Release = dedupe.Released
				}
				put(dedupe.AppendSegment(nil, &s))
				list = list[:0]
			}
		}
	}
	if err := errors.Join(cl.Flush(ctx), failed); err != nil {
		return fmt.Errorf("write the receipt log of %s: %w", group, err)
	}
	e.say("%d receipts written in %.1f s", next, time.Since(began).Seconds())
	return nil
}

// setUp makes what a group needs for its job topics.
func (e *env) setUp(ctx context.Context, group string, topics ...string) error {
	want := setup.Want{Group: group}
	for _, t := range topics {
		want.Topics = append(want.Topics, setup.TopicWant{Name: t})
	}
	report, err := setup.Plan(ctx, e.admin, e.opts, want)
	if err != nil {
		return err
	}
	return setup.Apply(ctx, e.admin, e.opts, report)
}

// receipts are those of the load's jobs that were done before, by partition.
func (l Load) receipts() (out [partitions][]dedupe.Receipt, err error) {
	if l.Known == 0 {
		return out, nil
	}
	payloads := newValues(l.withDefaults())
	l.order(func(seq, key int) bool {
		if !l.known(seq) {
			return true
		}
		var payload []byte
		if payload, err = payloads.of(seq); err != nil {
			return false
		}
		k := keyOf(key)
		p := partitionOf(k, partitions)
		out[p] = append(out[p], dedupe.Receipt{Identity: job.IdentityOf(KindRaw, k, knownID(seq)), State: dedupe.Done, Attempt: 1,
			KeyHash: job.KeyHash(k), Digest: job.DigestOf(payload)})
		return true
	})
	return out, err
}

// knownJobs is how many of the load's jobs were done before.
func (l Load) knownJobs() (n int) {
	for seq := range l.Jobs {
		if l.known(seq) {
			n++
		}
	}
	return n
}
