package task

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// all is what a window holds from the frontier on.
func (w *window) all() (out []slot) {
	for i := w.head; i < w.size(); i++ {
		out = append(out, w.at(i))
	}
	return out
}

// FuzzWindow takes a window through pushes, settlements in any order, records set aside and taken back, and frontiers, beside a
// plain list that does the same.
func FuzzWindow(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, seed, kind uint64) {
		r := rand.New(rand.NewPCG(seed, kind))
		var w window
		var plain []slot // from the frontier on
		var from uint64  // index of its first
		offset, seq, limit := int64(r.IntN(1000)), uint64(0), uint64(0)
		gap := []int64{1, 2, 1, 60}[kind%4]
		for range 50 {
			for range r.IntN(3000) {
				if offset += 1 + r.Int64N(gap); w.push(offset) != from+uint64(len(plain)) {
					t.Fatal("another index")
				}
				plain = append(plain, slot{offset: offset})
			}
			for range r.IntN(3000) {
				i := r.IntN(len(plain) + 1)
				if kind&4 != 0 {
					i = min(i, r.IntN(200)) // near the frontier
				}
				if i == len(plain) {
					continue
				}
				s := &plain[i]
				switch {
				case s.seq == asideSlot:
					s.seq = 0
				case s.seq == 0 && r.IntN(3) == 0:
					s.seq = asideSlot
				case s.seq == 0:
					seq++
					s.seq = seq
				default:
					continue
				}
				w.settle(from+uint64(i), s.seq)
			}
			limit = max(limit, seq-min(seq, r.Uint64N(100)))
			w.advance(limit)
			for len(plain) > 0 && plain[0].seq != 0 && plain[0].seq <= limit {
				plain = plain[1:]
				from++
			}
			sameWindow(t, &w, plain, limit)
		}
	})
}

// sameWindow compares the two; of what is settled in a segment only that it is.
func sameWindow(t *testing.T, w *window, plain []slot, limit uint64) {
	t.Helper()
	got := w.all()
	if len(got) != len(plain) || w.len() != len(plain) {
		t.Fatalf("%d slots, not %d", len(got), len(plain))
	}
	for i, s := range plain {
		if got[i].offset != s.offset || got[i] != s && !(got[i].done(limit) && s.done(limit)) {
			t.Fatalf("slot %d is %v, not %v", i, got[i], s)
		}
	}
	if at, ok := w.first(); ok != (len(plain) > 0) || ok && at != plain[0].offset {
		t.Fatalf("the frontier is at %d, %v", at, ok)
	}
	open := 0
	for _, c := range w.chunks {
		if c.slots != nil {
			open++
		}
	}
	if open != w.open {
		t.Fatalf("%d chunks are open, not %d", open, w.open)
	}
	for i := 0; i < len(plain); i += 1 + len(plain)/7 {
		if at := w.find(plain[i].offset); at != w.head+i || w.find(plain[i].offset-1) > at {
			t.Fatalf("offset %d found at %d, not %d", plain[i].offset, at, w.head+i)
		}
	}
}

// A window above one unfinished record takes an eighth of the memory once what was done is in segments, whatever is set aside.
func TestOldSlotsArePacked(t *testing.T) {
	var w window
	const n = 1_000_000
	for i := range int64(n) {
		if index := w.push(i); i > 0 {
			w.settle(index, []uint64{uint64(i), asideSlot}[i%2])
		}
		if i%5000 == 0 {
			w.advance(uint64(i))
		}
	}
	w.advance(n)
	if w.len() != n || w.bytes() > 3*n {
		t.Errorf("%d slots in %d bytes", w.len(), w.bytes())
	}
	w.settle(0, n)
	for i := 1; i < n; i += 2 {
		w.settle(uint64(i), n)
	}
	w.advance(n)
	if w.len() != 0 || w.open != 0 || len(slices.Clip(w.chunks)) != 0 {
		t.Errorf("%d slots and %d chunks are left", w.len(), len(w.chunks))
	}
}
