package disk

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-dev/waybill/internal/storeload"
)

// What is covered ends before the first round of which some receipt is in no generation that was written.
func TestFrontCovers(t *testing.T) {
	gen := func(from, to uint64, s saved) *generation {
		g := newGeneration(1, from)
		g.to.Store(to)
		g.saved = s
		return g
	}
	for name, c := range map[string]struct {
		all     []*generation
		blind   rounds
		covered uint64
	}{
		"nothing yet":              {nil, none, 9},
		"all of it":                {[]*generation{gen(1, 4, saved{1, 4}), gen(5, 9, saved{2, 9})}, none, 9},
		"the last is not written":  {[]*generation{gen(1, 4, saved{1, 4}), gen(5, 9, saved{})}, none, 4},
		"the last went on":         {[]*generation{gen(1, 4, saved{1, 4}), gen(5, 9, saved{2, 7})}, none, 7},
		"one between":              {[]*generation{gen(5, 7, saved{}), gen(1, 9, saved{2, 9})}, none, 4},
		"not read yet":             {[]*generation{gen(1, 9, saved{1, 9})}, rounds{3, 5}, 2},
		"never covered, no rounds": {[]*generation{gen(1, 9, saved{})}, none, 0},
	} {
		f := front{all: c.all, blind: c.blind}
		if _, covered := f.lines(9); covered != c.covered {
			t.Errorf("%s: rounds up to %d are covered, not %d", name, covered, c.covered)
		}
	}
}

// A directory that an earlier program wrote names no generations.
func TestFrontOfAnEarlierProgram(t *testing.T) {
	db := &DB{}
	if err := db.loadFront(&manifest{Round: 7}, nil); err != nil || db.front.blind != (rounds{1, 7}) {
		t.Errorf("%v, %v", db.front.blind, err)
	}
	if from, to := func() (uint64, uint64) { db.front.publish(); return db.front.look(1) }(); from != 1 || to != 7 {
		t.Errorf("rounds %d to %d may have a receipt, not 1 to 7", from, to)
	}
}

// After Close the front is there at once; after a crash all but what came since is, and that is read. Nothing known is ever excluded.
func TestFrontStays(t *testing.T) {
	const n, flush = 3 * worthSaving, 1 << 12
	mem := vfs.NewCrashableMem()
	cfg := Config{Dir: "db", FlushAt: flush, Crowd: 1000, fs: mem}
	db := open1(t, cfg)
	_, tasks := loaded(db, 0)
	l := storeload.New(tasks, 0, func(ctx context.Context) error { return db.Room(ctx) })
	if err := l.Fill(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	known := func(db *DB, to int) {
		t.Helper()
		for i, s := range tasks {
			tasks[i] = db.Task(s.(*store).t.key)
		}
		for i := range to {
			if _, ok := tasks[i/storeload.Batch%len(tasks)].Get(storeload.Identity(i)); !ok {
				t.Fatalf("job %d of %d is not known", i, to)
			}
		}
	}

	db = open1(t, cfg)
	if s := db.front.shown.Load(); !s.blind.empty() || len(s.gens) == 0 {
		t.Errorf("%d generations, blind %v", len(s.gens), s.blind)
	}
	known(db, n)
	if err := l.Fill(t.Context(), n+4*flush); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: randomSource()})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.fs = crashed
	db = open1(t, cfg)
	if s := db.front.shown.Load(); len(s.gens) == 0 || !s.blind.empty() && s.blind.from == 1 {
		t.Errorf("after a crash: %d generations, blind %v", len(s.gens), s.blind)
	}
	known(db, l.Next)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func open1(t *testing.T, cfg Config) *DB {
	t.Helper()
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
