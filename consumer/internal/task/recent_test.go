package task

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// TestRecentIsAMap holds the index to a map of joined receipts, over several segments, with identities that repeat and that
// differ in their last bytes only.
func TestRecentIsAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var r recent
	for segment := range 20 {
		n := rnd.IntN(700)
		r.reserve(n / 2)
		model := map[job.Identity]dedupe.Receipt{}
		var order []dedupe.Receipt
		for i := range n {
			x := dedupe.Receipt{Identity: identityOf(uint32(rnd.IntN(400))), Hop: uint32(rnd.IntN(3)), State: dedupe.Retrying, Attempt: uint32(i)}
			r.add(x)
			order = append(order, x)
			if old, ok := model[x.Identity]; ok {
				x = dedupe.Join(old, x)
			}
			model[x.Identity] = x
		}
		if len(order) > 0 && !reflect.DeepEqual(r.list, order) {
			t.Fatalf("segment %d: the list is not what was added, in its order", segment)
		}
		for i := range uint32(400) {
			got, want := r.get(new(identityOf(i))), model[identityOf(i)]
			if got == nil && want.State == dedupe.StateNone {
				continue
			}
			if got == nil || !reflect.DeepEqual(*got, want) {
				t.Fatalf("segment %d: job %d: got %+v, want %+v", segment, i, got, want)
			}
		}
		taken := r.list
		r.reset()
		if len(taken) != n || r.list != nil || n > 0 && taken[0].State == dedupe.StateNone {
			t.Fatalf("segment %d: a reset spoiled the list that was taken", segment)
		}
	}
}

func identityOf(n uint32) (id job.Identity) {
	binary.BigEndian.PutUint32(id[12:], n)
	binary.BigEndian.PutUint32(id[4:], n/7)
	return id
}
