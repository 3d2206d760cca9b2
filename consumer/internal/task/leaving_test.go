package task

import (
	"encoding/binary"
	"testing"

	"github.com/waybill-dev/waybill/job"
)

// Jobs of one class are told apart, and a class is empty again when the last of its jobs is back.
func TestLeaving(t *testing.T) {
	id := func(lane uint64, tail byte) (id job.Identity) {
		binary.BigEndian.PutUint64(id[:], lane)
		id[len(id)-1] = tail
		return id
	}
	a, b, c := id(7, 0), id(7+leavingClasses, 0), id(7, 1)
	entry := func(id job.Identity) *Entry {
		e := &Entry{}
		e.env.Identity = id
		return e
	}
	var l leaving
	check := func(when string, want ...job.Identity) {
		t.Helper()
		for _, x := range []job.Identity{a, b, c, id(8, 0)} {
			has := false
			for _, w := range want {
				has = has || w == x
			}
			if l.has(&x) != has {
				t.Errorf("%s: %x is leaving: %v, want %v", when, x, !has, has)
			}
		}
	}
	check("none")
	l.add(entry(a))
	check("one", a)
	l.add(entry(b))
	l.add(entry(c))
	l.add(entry(c)) // told twice
	check("three of a class", a, b, c)
	l.remove(entry(b))
	l.remove(entry(b))
	check("one is back", a, c)
	l.remove(entry(c))
	check("two are back", a)
	l.remove(entry(a))
	check("all are back")
	if n := *l.mark(&a); n != 0 {
		t.Errorf("%d are counted", n)
	}
}
