package disk

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/dedupetest"
)

// crashing is a store whose process dies now and then: what the disk has synced is opened again, and the log is applied from
// the position it remembers. What happened since then happens again in the same order, expiry included.
type crashing struct {
	dedupe.Store
	t     *testing.T
	cfg   Config
	fs    *vfs.MemFS
	links sync.Mutex
	db    *DB
	every int
	calls int
	past  []happened
}

// happened is an entry applied, in the wire format, or an expiry.
type happened struct {
	offset int64
	at     time.Time
	value  []byte // nil: an expiry of what was before at
	of     dedupe.Place
}

// linking keeps links apart from clones: MemFS takes a lock twice to make one, and a clone that waits for it in between is waited for.
type linking struct {
	vfs.FS
	mu *sync.Mutex
}

func (l linking) Link(from, to string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.FS.Link(from, to)
}

func newCrashing(t *testing.T, every int) *crashing {
	c := &crashing{t: t, cfg: Config{Dir: "db", FlushAt: 3, MergeAt: 8, Crowd: 1}, fs: vfs.NewCrashableMem(), every: every}
	c.open()
	return c
}

func (c *crashing) open() {
	c.cfg.fs = linking{c.fs, &c.links}
	db, err := Open(c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.db, c.Store = db, db.Task(keyNumber(1))
}

func (c *crashing) Apply(e *dedupe.Entry) error {
	h := happened{offset: e.Offset, at: e.Time}
	if e.Owner != nil {
		h.value, h.of = dedupe.AppendOwner(nil, e.Owner), e.Owner.Of
	} else if e.Segment != nil {
		h.value = dedupe.AppendSegment(nil, e.Segment)
	}
	if (e.Owner == nil) != (e.Segment == nil) && e.Offset >= c.Store.Position().Next {
		c.past = append(c.past, h)
	}
	err := c.Store.Apply(e)
	c.crash()
	return err
}

func (c *crashing) Expire(before time.Time) {
	c.past = append(c.past, happened{at: before})
	c.Store.Expire(before)
	c.crash()
}

func (c *crashing) crash() {
	if c.calls++; c.calls%c.every > 0 {
		return
	}
	c.links.Lock()
	image := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * rand.IntN(3), RNG: randomSource()})
	c.links.Unlock()
	_ = c.db.Close()
	c.fs = image
	c.open()
	c.again()
}

// again applies what the disk has not.
func (c *crashing) again() {
	next, from := c.Store.Position().Next, 0
	for i, h := range c.past {
		if h.value != nil && h.offset < next {
			from = i + 1
		}
	}
	for _, h := range c.past[from:] {
		if h.value == nil {
			c.Store.Expire(h.at)
			continue
		}
		e, err := dedupe.Decode(h.value)
		if err != nil {
			c.t.Fatal(err)
		}
		if e.Offset, e.Time = h.offset, h.at; e.Owner != nil {
			e.Owner.Of = h.of
		}
		if err := c.Store.Apply(&e); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *crashing) Close() error { return c.db.Close() }

// TestConformsThroughCrashes: the store is the fold of its log (I13), whenever the process dies.
func TestConformsThroughCrashes(t *testing.T) {
	often := []int{1, 4}
	if testing.Short() { // to open a database under the race detector takes a while
		often = []int{16}
	}
	for _, every := range often {
		t.Run(fmt.Sprint("every ", every), func(t *testing.T) {
			dedupetest.Run(t, func(t *testing.T) dedupe.Store { return newCrashing(t, every) })
		})
	}
}

// TestKilledAtEachStep takes what a power cut would leave before every single operation on the file system, opens it, and
// checks that the disk is a fold of the log up to its position, and after the tail the fold of all of it.
func TestKilledAtEachStep(t *testing.T) {
	type image struct {
		fs *vfs.MemFS
		op string
	}
	var mu sync.Mutex
	var images []image
	var off atomic.Bool
	mem := vfs.NewCrashableMem()
	step := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && !off.Load() {
			c := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: randomSource()})
			mu.Lock()
			images = append(images, image{c, fmt.Sprint(op.Kind, " ", op.Path)})
			mu.Unlock()
		}
		return nil
	})
	cfg := Config{Dir: "db", FlushAt: 20, MergeAt: 100, Crowd: 1, fs: errorfs.Wrap(mem, step)}
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := db.Task(keyNumber(1))
	const entries, each = 30, 10
	at := func(i int) time.Time { return noon.Add(time.Duration(i) * 20 * time.Minute) }
	for i := range entries {
		apply(t, s, int64(i), at(i), each*i-i%3, each*i+each) // some of them for the second time
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i%7 == 6 {
			s.Expire(at(i - 6))
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	off.Store(true)
	t.Logf("%d images", len(images))
	moved := 0
	for _, im := range images {
		cfg.fs = im.fs
		db, err := Open(cfg)
		if err != nil {
			t.Fatalf("before %s: %v", im.op, err)
		}
		if names, _ := im.fs.List("db"); slices.ContainsFunc(names, func(n string) bool { return len(n) > 5 && n[:5] == "aside" }) {
			moved++
		}
		s := db.Task(keyNumber(1))
		next := int(s.Position().Next)
		for n := max(0, each*(next-7)); n < each*next; n++ {
			if r, ok := s.Get(identityOf(n)); !ok || r.Origin != int64(n) {
				t.Fatalf("before %s: at position %d job %d is %v, %+v", im.op, next, n, ok, r)
			}
		}
		for i := next; i < entries; i++ {
			apply(t, s, int64(i), at(i), each*i-i%3, each*i+each)
		}
		s.Expire(at(entries - 1))
		for n := range each * entries {
			if _, ok := s.Get(identityOf(n)); ok != (n >= each*(entries-3)-2) && n >= each*(entries-2) {
				t.Fatalf("before %s: job %d: %v", im.op, n, ok)
			}
		}
		if db.Failed() != nil {
			t.Fatal(db.Failed())
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if moved > len(images)/10 { // the directory is being made
		t.Errorf("%d of %d images were moved aside", moved, len(images))
	}
}

func randomSource() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }
