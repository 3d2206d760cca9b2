package disk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// segment is some receipts of some tasks in one bucket, sorted by task and identity, on disk under one number. It never changes.
type segment struct {
	no     uint32
	bucket int64
	order  uint64   // the round in which its newest receipts were frozen
	low    uint64   // that of its oldest
	count  int      // of receipts
	tasks  []uint32 // that have any, in order
	filters
}

func (s *segment) has(num uint32) bool {
	_, ok := slices.BinarySearch(s.tasks, num)
	return ok
}

// older orders segments such that of a job's receipts the newest is in the last one: a job moves to later buckets only.
func older(a, b *segment) int {
	return cmp.Or(cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.order, b.order), cmp.Compare(a.no, b.no))
}

// read looks a receipt up. A read that fails finds nothing and makes the DB fail.
func (db *DB) read(s *segment, num uint32, id *job.Identity, r *dedupe.Receipt) (found bool) {
	if db.failed.Load() != nil {
		return false
	}
	err := guard(func() error {
		k := keyOf(s.no, kindReceipt, num, id)
		v, c, err := db.peb.Get(k[:])
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		r.Identity, found = *id, true
		return errors.Join(decodeValue(v, r), c.Close())
	})
	if err != nil {
		db.fail(fmt.Errorf("segment %d cannot be read: %w", s.no, err))
		return false
	}
	return found
}

// load reads what stays in memory of a segment.
func (db *DB) load(l *segmentLine) (*segment, error) {
	s := &segment{no: l.No, bucket: l.Bucket, order: l.Order, low: l.Low, count: l.Count, tasks: l.Tasks}
	it, err := db.peb.NewIter(&pebble.IterOptions{LowerBound: prefix(l.No, kindFilter), UpperBound: prefix(l.No, kindFilter+1)})
	if err != nil {
		return nil, err
	}
	var packed []byte
	for it.First(); it.Valid(); it.Next() {
		packed = append(packed, it.Value()...)
	}
	if err := it.Close(); err != nil {
		return nil, err
	}
	for len(packed) > 0 || len(s.fuses) == 0 {
		if packed, err = s.filters.take(packed); err != nil {
			return nil, fmt.Errorf("segment %d: %w", l.No, err)
		}
	}
	return s, nil
}

// unfinished calls f with each job of a task that had not ended when the segment was written. A read that fails makes the DB
// fail.
func (db *DB) unfinished(s *segment, num uint32, f func(*job.Identity)) {
	if db.failed.Load() != nil {
		return
	}
	err := guard(func() (err error) {
		low, high := keyOf(s.no, kindUnfinished, num, &job.Identity{}), keyOf(s.no, kindUnfinished, num+1, &job.Identity{})
		it, err := db.peb.NewIter(&pebble.IterOptions{LowerBound: low[:], UpperBound: high[:]})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, it.Close()) }()
		for it.First(); it.Valid(); it.Next() {
			if len(it.Key()) != receiptKey {
				return errValue
			}
			_, id := split(it.Key()[5:])
			f(&id)
		}
		return it.Error()
	})
	if err != nil {
		db.fail(fmt.Errorf("the unfinished jobs of segment %d cannot be read: %w", s.no, err))
	}
}
