package dedupetest

import (
	"fmt"
	"reflect"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/refold"
	"github.com/waybill-dev/waybill/job"
)

// algebra is a way to merge receipts and what they make stale. Tests of this suite plant mistakes in it.
type algebra struct {
	join    func(a, b dedupe.Receipt) dedupe.Receipt
	stale   func(r dedupe.Receipt, gen, hop uint32) bool
	staleAt func(r dedupe.Receipt, origin int64, gen, hop uint32) bool
}

// everyReceipt is one receipt of each state, generation and hop, up to small bounds, the marks of jobs that were found
// started, the same of two enqueues of a job that may be enqueued again, and the receipt that knows nothing. KeyHash tells
// them apart.
func everyReceipt() []dedupe.Receipt {
	all := []dedupe.Receipt{{}}
	for gen := range uint32(3) {
		for hop := range uint32(4) {
			for s := dedupe.Retrying; s <= dedupe.Done; s++ {
				r := dedupe.Receipt{State: s, Gen: gen, Hop: hop, Origin: int64(len(all)), KeyHash: uint64(len(all))}
				if all = append(all, r); s == dedupe.Started {
					r.Code, r.KeyHash = job.CodeSuspect, uint64(len(all))
					all = append(all, r)
				}
				if gen < 2 && hop < 2 {
					for origin := range int64(2) {
						r.Repeats, r.Origin, r.KeyHash = true, origin, uint64(len(all))
						all = append(all, r)
					}
				}
			}
		}
	}
	return all
}

// check returns the first law that does not hold.
func (a algebra) check() error {
	all := everyReceipt()
	for _, x := range all {
		if !reflect.DeepEqual(a.join(x, x), x) {
			return fmt.Errorf("joining twice changes %+v", x)
		}
		for _, y := range all {
			if err := a.checkPair(x, y); err != nil {
				return err
			}
			for _, z := range all {
				if l, r := a.join(a.join(x, y), z), a.join(x, a.join(y, z)); l.KeyHash != r.KeyHash {
					return fmt.Errorf("grouping matters: %+v, %+v, %+v gives %+v or %+v", x, y, z, l, r)
				}
			}
		}
	}
	return nil
}

func (a algebra) checkPair(x, y dedupe.Receipt) error {
	xy, yx := a.join(x, y), a.join(y, x)
	want := x
	switch c := refold.Compare(x, y); {
	case c < 0:
		want = y
	case c == 0:
		if !reflect.DeepEqual(yx, y) {
			return fmt.Errorf("of the equal %+v and %+v the first must win", y, x)
		}
		yx = xy
	}
	if !reflect.DeepEqual(xy, want) {
		return fmt.Errorf("the maximum of %+v and %+v is not %+v", x, y, xy)
	}
	if !reflect.DeepEqual(xy, yx) {
		return fmt.Errorf("order matters: %+v, %+v gives %+v or %+v", x, y, xy, yx)
	}
	if x.Repeats != y.Repeats { // the kind was given a window between: what was before it does not count
		return a.checkStale(x)
	}
	for gen := range uint32(4) {
		for hop := range uint32(5) {
			for origin := range int64(3) {
				if a.staleAt(x, origin, gen, hop) && !a.staleAt(xy, origin, gen, hop) {
					return fmt.Errorf("revived: generation %d hop %d of the enqueue at %d is stale by %+v, alive again by %+v", gen, hop, origin, x, xy)
				}
			}
		}
	}
	return a.checkStale(x)
}

// checkStale compares with the rule of the design, section 7, as a table of words.
func (a algebra) checkStale(x dedupe.Receipt) error {
	for gen := range uint32(4) {
		for hop := range uint32(5) {
			known, done := x.State != dedupe.StateNone, x.State == dedupe.Done
			final := done || x.State == dedupe.Dead || x.State == dedupe.Discarded || x.State == dedupe.Expired
			older, same := gen < x.Gen, gen == x.Gen
			want := known && (done || older || same && (final || x.Hop > hop))
			if got := a.stale(x, gen, hop); got != want {
				return fmt.Errorf("generation %d hop %d is stale by %+v: %v", gen, hop, x, got)
			}
			for origin := range int64(3) {
				want := want
				if x.Repeats && origin != x.Origin {
					want = origin < x.Origin
				}
				if got := a.staleAt(x, origin, gen, hop); got != want {
					return fmt.Errorf("generation %d hop %d of the enqueue at %d is stale by %+v: %v", gen, hop, origin, x, got)
				}
			}
		}
	}
	return nil
}
