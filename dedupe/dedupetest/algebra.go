package dedupetest

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
)

// algebra is a way to merge receipts and what they make stale. Tests of this suite plant mistakes in it.
type algebra struct {
	join  func(a, b dedupe.Receipt) dedupe.Receipt
	stale func(r dedupe.Receipt, gen, hop uint32) bool
}

// everyReceipt is one receipt of each state, generation and hop, up to small bounds, each with an origin of its own, and
// the receipt that knows nothing.
func everyReceipt() []dedupe.Receipt {
	all := []dedupe.Receipt{{}}
	for gen := range uint32(3) {
		for hop := range uint32(4) {
			for s := dedupe.Retrying; s <= dedupe.Done; s++ {
				all = append(all, dedupe.Receipt{State: s, Gen: gen, Hop: hop, Origin: int64(len(all))})
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
				if l, r := a.join(a.join(x, y), z), a.join(x, a.join(y, z)); l.Origin != r.Origin || l.State != r.State {
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
	switch c := slices.Compare(height(x), height(y)); {
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
	for gen := range uint32(4) {
		for hop := range uint32(5) {
			if a.stale(x, gen, hop) && !a.stale(xy, gen, hop) {
				return fmt.Errorf("revived: generation %d hop %d is stale by %+v, alive again by %+v", gen, hop, x, xy)
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
		}
	}
	return nil
}
