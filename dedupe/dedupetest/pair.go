package dedupetest

import (
	"bytes"
	"fmt"
	"reflect"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/refold"
	"github.com/waybill-dev/waybill/job"
)

// widest is the widest bucket a store may be opened with for this suite.
const widest = time.Hour

// pair is a store beside the plain fold of the same log.
type pair struct {
	store dedupe.Store
	plain *refold.Fold
	log   []dedupe.Entry
	jobs  []job.Identity // those that are looked up after each entry
}

// apply writes an entry in the wire format, reads it twice, and folds one into the store and one into the plain fold.
// Then it spoils the memory of the one the store was given.
func (p *pair) apply(offset int64, at time.Time, owner *dedupe.Owner, segment *dedupe.Segment) error {
	var value []byte
	if owner != nil {
		value = dedupe.AppendOwner(nil, owner)
	} else {
		value = dedupe.AppendSegment(nil, segment)
	}
	mine, err := dedupe.Decode(bytes.Clone(value))
	if err != nil {
		return err
	}
	mine.Offset, mine.Time = offset, at
	placed(&mine, owner)
	if n := len(p.log); n == 0 || offset > p.log[n-1].Offset {
		p.log = append(p.log, mine)
	}
	p.plain.Apply(&mine)

	e, err := dedupe.Decode(value)
	if err != nil {
		return err
	}
	e.Offset, e.Time = offset, at
	placed(&e, owner)
	if err := p.store.Apply(&e); err != nil {
		return err
	}
	for i := range value {
		value[i] = 0xee
	}
	if e.Owner != nil {
		*e.Owner = dedupe.Owner{Instance: "spoiled"}
	} else {
		for _, list := range [][]dedupe.Receipt{e.Segment.Receipts, e.Segment.Marks} {
			for i := range list {
				list[i] = dedupe.Receipt{State: dedupe.Done, Gen: 1 << 30}
			}
		}
		clear(e.Segment.Frontiers)
		clear(e.Segment.Forget)
	}
	e = dedupe.Entry{}
	return p.compare()
}

// expire forgets in both. Where the store has a choice, the plain fold follows it.
func (p *pair) expire(before time.Time) error {
	p.store.Expire(before)
	for _, id := range p.jobs {
		last := p.plain.Last(id)
		if last.IsZero() || !last.Before(before) {
			continue
		}
		if _, kept := p.store.Get(id); !kept || last.Before(before.Add(-widest)) {
			p.plain.Forget(id)
		}
	}
	return p.compare()
}

// compare holds the store against the plain fold.
func (p *pair) compare() error {
	known := 0
	for _, id := range p.jobs {
		got, ok := p.store.Get(id)
		want, wantOK := p.plain.Get(id)
		if wantOK {
			known++
		}
		if ok != wantOK || !reflect.DeepEqual(got, want) {
			return fmt.Errorf("job %v\nstore has %v %+v\n the log says %v %+v", id, ok, got, wantOK, want)
		}
	}
	if got := p.store.Len(); got != known {
		return fmt.Errorf("store knows %d jobs, the log %d", got, known)
	}
	if err := p.unfinished(); err != nil {
		return err
	}
	got, want := p.store.Position(), p.plain.Position()
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("store is at %+v\nthe log at %+v", got, want)
	}
	clear(got.Frontiers) // the caller's own
	if again := p.store.Position(); !reflect.DeepEqual(again, want) {
		return fmt.Errorf("changing the frontiers of a Position changed the store's: %+v", again)
	}
	return nil
}

// unfinished holds what the store iterates over against the naive fold.
func (p *pair) unfinished() error {
	told := map[job.Identity]int{}
	var wrong error
	p.store.Unfinished(func(r dedupe.Receipt) {
		told[r.Identity]++
		if want, ok := p.plain.Get(r.Identity); !ok || !reflect.DeepEqual(r, want) {
			wrong = fmt.Errorf("unfinished job %v\nstore tells %+v\nthe log says %v %+v", r.Identity, r, ok, want)
		}
	})
	if wrong != nil {
		return wrong
	}
	for _, id := range p.jobs {
		r, ok := p.plain.Get(id)
		want := 0
		if ok && (r.State < dedupe.Expired || r.State == dedupe.Dead && r.Code == job.CodeHolding) {
			want = 1
		}
		if told[id] != want {
			return fmt.Errorf("the store tells %d times, not %d, of job %v among the unfinished: %+v", told[id], want, id, r)
		}
		delete(told, id)
	}
	if len(told) > 0 {
		return fmt.Errorf("the store tells of unfinished jobs that nobody knows: %v", told)
	}
	return nil
}

// placed gives an ownership record what the log has in a header.
func placed(e *dedupe.Entry, owner *dedupe.Owner) {
	if owner != nil && e.Owner != nil {
		e.Owner.Of = owner.Of
	}
}
