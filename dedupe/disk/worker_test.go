package disk

import (
	"slices"
	"testing"
)

// What goes in one step never spans what is in force.
func TestAdjoining(t *testing.T) {
	for _, c := range []struct {
		trash   []uint32
		segs    []uint32
		inForce uint32
		want    []int // so many at a time
	}{
		{[]uint32{1}, nil, 2, []int{1}},
		{[]uint32{5, 1, 3}, nil, 9, []int{3}},
		{[]uint32{1, 3, 5, 7}, []uint32{4, 8}, 9, []int{2, 2}},
		{[]uint32{1, 3, 5}, []uint32{2, 4}, 9, []int{1, 1, 1}},
		{[]uint32{3, 5}, []uint32{1, 2, 7}, 8, []int{2}},
		{[]uint32{8, 10}, []uint32{3}, 9, []int{1, 1}},
	} {
		db := &DB{trash: slices.Clone(c.trash), inForce: c.inForce}
		for _, no := range c.segs {
			db.segs = append(db.segs, &segment{no: no})
		}
		var got []int
		for len(db.trash) > 0 {
			n := db.adjoining()
			for _, no := range append(c.segs, c.inForce) {
				if no >= db.trash[0] && no <= db.trash[n-1] {
					t.Errorf("%+v: %d is in force, and would go with %v", c, no, db.trash[:n])
				}
			}
			got, db.trash = append(got, n), db.trash[n:]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}
