package dlq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// receipts are what the receipt logs say of the jobs of some letters: folded for those jobs alone, a partition when it is
// first asked for.
type receipts struct {
	c          *Client
	log        string
	partitions int // of the log; 0 when it does not exist, and then nothing is known
	jobs       map[job.Identity]bool
	stores     map[int32]dedupe.Store
}

// receipts prepares to answer for the jobs of places, and for others that are noted before they are asked for.
func (c *Client) receipts(ctx context.Context, places []*place) (*receipts, error) {
	k := &receipts{c: c, log: retrytopics.ReceiptTopic(c.topic, c.group), jobs: map[job.Identity]bool{}, stores: map[int32]dedupe.Store{}}
	for _, p := range places {
		k.jobs[p.key.identity] = true
	}
	var err error
	if k.partitions, err = c.partitionCount(ctx, k.log); errors.Is(err, kerr.UnknownTopicOrPartition) {
		return k, nil
	}
	return k, err
}

func (k *receipts) close() {
	for _, s := range k.stores {
		_ = s.Close()
	}
}

// get is what is known of a job of one partition; the zero Receipt when nothing is.
func (k *receipts) get(ctx context.Context, partition int32, id job.Identity) (dedupe.Receipt, error) {
	if int(partition) >= k.partitions || !k.jobs[id] {
		return dedupe.Receipt{}, nil
	}
	store := k.stores[partition]
	if store == nil {
		store = dedupe.NewMemory(time.Hour)
		k.stores[partition] = store
		err := dedupe.NewLogReader(k.c.opts).Read(ctx, k.log, partition, 0, -1, func(e *dedupe.Entry) error { return store.Apply(k.only(e)) })
		if err != nil {
			return dedupe.Receipt{}, fmt.Errorf("what is known of the jobs: %w", err)
		}
	}
	r, _ := store.Get(id)
	return r, nil
}

// only is what an entry says of the jobs that are asked for.
func (k *receipts) only(e *dedupe.Entry) *dedupe.Entry {
	if e.Segment == nil {
		return e
	}
	take := func(list []dedupe.Receipt) (out []dedupe.Receipt) {
		for i := range list {
			if k.jobs[list[i].Identity] {
				out = append(out, list[i])
			}
		}
		return out
	}
	s := *e.Segment
	s.Receipts, s.Marks = take(s.Receipts), take(s.Marks)
	return &dedupe.Entry{Offset: e.Offset, Time: e.Time, Segment: &s}
}

// overtaken says why a redrive of l would be skipped, or would collide, given what the receipt log knows; empty when it
// would run.
func (k *receipts) overtaken(ctx context.Context, l *Letter, newID string) (string, error) {
	if newID != "" {
		id := job.IdentityOf(l.Kind, l.Key, newID)
		r, err := k.get(ctx, l.Origin.Partition, id)
		if err != nil || r.State == dedupe.StateNone {
			return "", err
		}
		return fmt.Sprintf("a job %s/%s is known already (%s); choose another id", l.Kind, newID, r.State), nil
	}
	r, err := k.get(ctx, l.Origin.Partition, l.Identity)
	if err != nil {
		return "", err
	}
	switch {
	case r.State == dedupe.StateNone:
		return "", nil
	case r.Repeats && r.Origin > l.Origin.Offset && r.State == dedupe.Done:
		return fmt.Sprintf("done since, and with it all that was enqueued of it up to offset %d", r.Origin), nil
	case r.Repeats && r.Origin > l.Origin.Offset:
		return fmt.Sprintf("the job was enqueued again since, at offset %d", r.Origin), nil
	case r.Repeats && r.Origin < l.Origin.Offset:
		return "", nil
	case r.State == dedupe.Done:
		return fmt.Sprintf("already done: its receipt is of generation %d; to repeat the job, redrive it under a new id", r.Gen), nil
	case r.Gen > l.Generation:
		return fmt.Sprintf("generation %d of it has begun (%s); redrive that one's letter if it dies too", r.Gen, r.State), nil
	}
	return "", nil
}
