package inspect

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Copies are jobs of one key in the retry tiers that are not settled.
type Copies struct {
	Count int       `json:"count"`
	First string    `json:"first"` // KIND/ID of the one that is due first
	Due   time.Time `json:"due"`   // of that; the next look at it, if it runs later than that

	job Job
}

// KeyWaits is what waits of one key.
type KeyWaits struct {
	Job    Job     // to ask about: the first in the job topic, else the copy that is due first
	Copies *Copies // without that job; nil for none
}

// Key looks for what waits of a key: the first job in the job topic that is not settled, and copies in the tiers. The former
// comes first, since it holds up what stands behind it, and copies let others pass. It is nil when nothing waits. Of j the
// topic, the partition and the key matter.
func (r *Reader) Key(ctx context.Context, j Job) (*KeyWaits, error) {
	store := dedupe.NewMemory(time.Hour)
	defer func() { _ = store.Close() }()
	p, err := r.foldAll(ctx, j, store)
	if err != nil {
		return nil, err
	}
	var head *Job
	err = r.scan(ctx, j.Topic, j.Partition, p.from, p.to, func(rec *kgo.Record) error {
		x := decoded(rec, job.TrustJob)
		if known, _ := store.Get(x.Identity); !bytes.Equal(rec.Key, j.Key) || known.Stale(0, 0) {
			return nil
		}
		head = named(j, x)
		return ErrEnough
	})
	if err != nil && !errors.Is(err, ErrEnough) {
		return nil, err
	}
	copies, err := r.copies(ctx, j, store)
	switch {
	case err != nil:
		return nil, err
	case head != nil:
		return &KeyWaits{*head, first(copies)}, nil
	case len(copies) > 0:
		return &KeyWaits{copies[0].job, first(copies[1:])}, nil
	}
	return nil, nil
}

// named is the job of a record, with the place of j.
func named(j Job, x *job.Envelope) *Job {
	j.Kind, j.ID = x.WireKind, x.ID
	return &j
}

// first are the copies as one.
func first(copies []Copies) *Copies {
	if len(copies) == 0 {
		return nil
	}
	c := copies[0]
	c.Count = len(copies)
	return &c
}

// copies are the unsettled records of a key in the tiers, by when they are due.
func (r *Reader) copies(ctx context.Context, j Job, store dedupe.Store) ([]Copies, error) {
	tiers, found, err := r.tiers(ctx, j.Topic)
	if err != nil {
		return nil, err
	}
	var out []Copies
	for _, s := range tiers {
		e := found[s.topic][j.Partition]
		err := r.scan(ctx, s.topic, j.Partition, max(e.start, e.committed), e.end, func(rec *kgo.Record) error {
			x := decoded(rec, job.TrustCopy)
			if known, _ := store.Get(x.Identity); x.Fault != "" || !bytes.Equal(x.Key, j.Key) || known.Stale(x.Generation, x.Hop) {
				return nil
			}
			at := named(j, x)
			out = append(out, Copies{First: at.Kind + "/" + at.ID, Due: rec.Timestamp.Add(x.Delay).UTC(), job: *at})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b Copies) int { return a.Due.Compare(b.Due) })
	return out, nil
}
