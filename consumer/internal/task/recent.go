package task

import (
	"math/rand/v2"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// recent is receipts that are not yet in the store: a list in the order of settling, which is what a segment takes, and where
// in it a job is found. The index has four bytes a slot, since a receipt is large and the list lives for a tick only: a map of
// receipts cost more to fill and to empty than the whole rest of settling.
type recent struct {
	list   []dedupe.Receipt
	joined []dedupe.Receipt // of each job that has several in list: what they come to
	slots  []int32          // open addressing; 0 is empty, n leads to list[n-1], -n to joined[n-1]
}

const leastSlots = 64

// recentSeed keeps who chooses ids from choosing slots.
var recentSeed = rand.Uint64()

// reserve makes room for n receipts in an empty list.
func (r *recent) reserve(n int) {
	if r.list == nil {
		r.list = make([]dedupe.Receipt, 0, n)
	}
}

// add appends a receipt.
func (r *recent) add(x dedupe.Receipt) {
	r.list = append(r.list, x)
	if 2*len(r.list) > len(r.slots) {
		r.grow()
	}
	slot := r.slot(&x.Identity)
	switch at := *slot; {
	case at == 0:
		*slot = int32(len(r.list))
	case at > 0:
		r.joined = append(r.joined, dedupe.Join(r.list[at-1], x))
		*slot = -int32(len(r.joined))
	default:
		r.joined[-at-1] = dedupe.Join(r.joined[-at-1], x)
	}
}

// get is what the receipts of a job come to, nil when there are none. It is valid until the next add.
func (r *recent) get(id *job.Identity) *dedupe.Receipt {
	if len(r.list) == 0 {
		return nil
	}
	return r.at(*r.slot(id))
}

func (r *recent) at(slot int32) *dedupe.Receipt {
	switch {
	case slot > 0:
		return &r.list[slot-1]
	case slot < 0:
		return &r.joined[-slot-1]
	}
	return nil
}

// slot is where a job is found, or where it belongs. There is one, since half of the slots are empty at least.
func (r *recent) slot(id *job.Identity) *int32 {
	mask := len(r.slots) - 1
	for i := int((identityLane(*id)^recentSeed)*0x9E3779B97F4A7C15>>32) & mask; ; i = (i + 1) & mask {
		if x := r.at(r.slots[i]); x == nil || x.Identity == *id {
			return &r.slots[i]
		}
	}
}

func (r *recent) grow() {
	old := r.slots
	r.slots = make([]int32, max(leastSlots, 2*len(old)))
	for _, at := range old {
		if at != 0 {
			*r.slot(&r.at(at).Identity) = at
		}
	}
}

// reset forgets the receipts. The list is left to whoever has it.
func (r *recent) reset() {
	r.list = nil
	clear(r.joined)
	r.joined = r.joined[:0]
	clear(r.slots)
}
