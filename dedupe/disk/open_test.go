package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
)

// apply folds a segment of receipts of jobs from, from+1, ... to-1.
func apply(t testing.TB, s dedupe.Store, offset int64, at time.Time, from, to int) {
	t.Helper()
	seg := &dedupe.Segment{}
	for n := from; n < to; n++ {
		seg.Receipts = append(seg.Receipts, dedupe.Receipt{Identity: identityOf(n), State: dedupe.Done, Attempt: 1, Origin: int64(n)})
	}
	if err := s.Apply(&dedupe.Entry{Offset: offset, Time: at, Segment: seg}); err != nil {
		t.Fatal(err)
	}
}

// knows checks that of the jobs below most exactly those from from to to are known.
func knows(t testing.TB, s dedupe.Store, from, to, most int) {
	t.Helper()
	for n := range most {
		r, ok := s.Get(identityOf(n))
		if ok != (n >= from && n < to) || ok && r.Origin != int64(n) {
			t.Fatalf("job %d: %v, %+v", n, ok, r)
		}
	}
	if s.Len() != to-from {
		t.Fatalf("%d jobs known, want %d", s.Len(), to-from)
	}
}

func TestReopenRemembersAll(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Cluster: "c", FlushAt: 50}
	db := mustOpen(t, cfg)
	s := db.Task(keyNumber(1))
	owner := dedupe.Owner{Instance: "i\xff", Process: "p", Generation: 7, Intake: 9}
	if err := s.Apply(&dedupe.Entry{Offset: 3, Time: noon, Owner: &owner}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		apply(t, s, int64(4+i), noon.Add(time.Duration(i)*time.Hour), 20*i, 20*i+20)
	}
	s.Expire(noon.Add(3 * time.Hour))
	was := s.Position()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, cfg).Task(keyNumber(1))
	knows(t, s, 60, 400, 400)
	if got := s.Position(); got.Next != was.Next || got.Owner != owner || got.Epoch != 3 {
		t.Errorf("position %+v, was %+v", got, was)
	}
}

func TestTasksAreApart(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), FlushAt: 10}
	db := mustOpen(t, cfg)
	a, b := db.Task(keyNumber(1)), db.Task(keyNumber(2))
	apply(t, a, 0, noon, 0, 30)
	apply(t, b, 0, noon, 20, 60)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	knows(t, a, 0, 30, 80)
	knows(t, b, 20, 60, 80)
	again := db.Task(keyNumber(1)) // somebody else's now
	if err := a.Apply(&dedupe.Entry{Offset: 1, Segment: &dedupe.Segment{}}); !errors.Is(err, dedupe.ErrClosed) {
		t.Errorf("the store that was taken away says %v", err)
	}
	knows(t, again, 0, 30, 80)
	db.Forget(keyNumber(1))
	knows(t, db.Task(keyNumber(1)), 0, 0, 80)
	knows(t, b, 20, 60, 80)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, cfg)
	knows(t, db.Task(keyNumber(1)), 0, 0, 80)
	knows(t, db.Task(keyNumber(2)), 20, 60, 80)
}

// What no open task needs is not kept for ever.
func TestTasksThatWentElsewhereExpire(t *testing.T) {
	db := mustOpen(t, Config{Dir: t.TempDir(), FlushAt: 10})
	gone, here := db.Task(keyNumber(1)), db.Task(keyNumber(2))
	apply(t, gone, 0, noon, 0, 100)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	here.Expire(noon.Add(5 * time.Hour))
	for db.Stats().Segments > 0 || db.Stats().Jobs > 0 {
		time.Sleep(time.Millisecond) // the worker's
	}
	if got := db.Task(keyNumber(1)).Position(); got.Next != 0 {
		t.Errorf("position %+v", got)
	}
}

func TestAnotherLogDiverges(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	db := mustOpen(t, cfg)
	apply(t, db.Task(keyNumber(1)), 5, noon, 0, 10)
	_ = db.Close()
	for _, c := range []struct {
		from, to int
		want     error
	}{{0, 10, nil}, {0, 9, dedupe.ErrClosed}} {
		db := mustOpen(t, cfg)
		seg := &dedupe.Segment{}
		for n := c.from; n < c.to; n++ {
			seg.Receipts = append(seg.Receipts, dedupe.Receipt{Identity: identityOf(n), State: dedupe.Done, Attempt: 1, Origin: int64(n)})
		}
		err := db.Task(keyNumber(1)).Apply(&dedupe.Entry{Offset: 5, Time: noon, Segment: seg})
		if (err != nil) != (c.want != nil) || err != nil && !errors.Is(err, ErrDiverged) {
			t.Errorf("%d to %d: %v", c.from, c.to, err)
		}
		_ = db.Close()
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	cfg := Config{Dir: t.TempDir()}
	mustOpen(t, cfg)
	if _, err := Open(cfg); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestNoRight(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write anywhere")
	}
	dir := t.TempDir()
	_ = os.Chmod(dir, 0o500)
	if _, err := Open(Config{Dir: filepath.Join(dir, "x")}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// written is a directory with 100 jobs of one task in several segments.
func written(t *testing.T) Config {
	cfg := Config{Dir: t.TempDir(), Cluster: "c", FlushAt: 10}
	db := mustOpen(t, cfg)
	s := db.Task(keyNumber(1))
	for i := range 10 {
		apply(t, s, int64(i), noon, 10*i, 10*i+10)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func tables(t *testing.T, cfg Config) []string {
	paths, err := filepath.Glob(filepath.Join(cfg.Dir, current+"*", "*.sst"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	return paths
}

// Whatever is wrong with a directory, it is moved aside with the reason, and the DB begins empty.
func TestMovedAside(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		spoil        func(t *testing.T, cfg *Config)
	}{
		{"another cluster", "cluster", func(_ *testing.T, cfg *Config) { cfg.Cluster = "d" }},
		{"another window", "window", func(_ *testing.T, cfg *Config) { cfg.Bucket = time.Minute }},
		{"missing tables", "", func(t *testing.T, cfg *Config) {
			for _, p := range tables(t, *cfg) {
				_ = os.Remove(p)
			}
		}},
		{"torn tables", "", func(t *testing.T, cfg *Config) {
			for _, p := range tables(t, *cfg) {
				_ = os.Truncate(p, 100)
			}
		}},
		{"a torn manifest of the engine", "", func(t *testing.T, cfg *Config) {
			paths, _ := filepath.Glob(filepath.Join(cfg.Dir, current+"*", "MANIFEST*"))
			for _, p := range paths {
				flip(t, p, 9)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := written(t)
			c.spoil(t, &cfg)
			for range 3 { // also when it is moved aside again and again
				db, err := Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				knows(t, db.Task(keyNumber(1)), 0, 0, 100)
				_ = db.Close()
			}
			reasons, _ := filepath.Glob(filepath.Join(cfg.Dir, "aside-*", "REASON"))
			if len(reasons) != 1 {
				t.Fatalf("reasons: %v", reasons)
			}
			if b, _ := os.ReadFile(reasons[0]); !strings.Contains(string(b), c.reason) {
				t.Errorf("the reason is %q", b)
			}
		})
	}
}

func flip(t *testing.T, path string, at int) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at%len(b)] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A flipped bit is found, by Open or when it is read; what is damaged is never answered from, and the next Open begins anew.
func TestFlippedBits(t *testing.T) {
	for at := 0; at < 6000; at += 97 {
		cfg := written(t)
		for _, p := range tables(t, cfg) {
			flip(t, p, at)
		}
		db, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := db.Task(keyNumber(1))
		if s.Position().Next > 0 {
			for n := range 100 {
				r, ok := s.Get(identityOf(n))
				if db.Failed() != nil {
					break
				}
				if !ok || r.Origin != int64(n) || r.State != dedupe.Done {
					t.Fatalf("bit %d: job %d is %v, %+v", at, n, ok, r)
				}
			}
		}
		if db.Failed() != nil && s.Apply(&dedupe.Entry{Offset: 99, Segment: &dedupe.Segment{}}) != nil {
			t.Error("a failed DB takes what it cannot keep, as memory would")
		}
		failed := db.Failed()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if failed != nil {
			db := mustOpen(t, cfg)
			knows(t, db.Task(keyNumber(1)), 0, 0, 100)
			_ = db.Close()
		}
	}
}
