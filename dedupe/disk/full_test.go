package disk

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// filling is a file system on which there is no room from one operation on, until there is.
type filling struct {
	from atomic.Int64 // operations that still succeed
	full atomic.Bool
}

// fs is a file system in memory that does so.
func (f *filling) fs(mem *vfs.MemFS) vfs.FS {
	return errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFilePreallocate,
			errorfs.OpLink, errorfs.OpMkdirAll, errorfs.OpReuseForWrite, errorfs.OpFileFlush:
		default: // what needs no room
			return nil
		}
		if f.full.Load() && f.from.Add(-1) < 0 {
			return syscall.ENOSPC
		}
		return nil
	}))
}

// begins says after how many operations the room ends.
func (f *filling) begins(after int) {
	f.from.Store(int64(after))
	f.full.Store(true)
}

// ended reports whether there was not enough room, and makes some.
func (f *filling) ended() bool {
	f.full.Store(false)
	return f.from.Load() < 0
}

// Below the reserve nothing is written, all is known, and what waits goes on when there is room.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 40)
		cfg := Config{Dir: "db", FlushAt: 10, Reserve: 1 << 20, Free: func(string) (uint64, error) { return free.Load(), nil }, fs: vfs.NewMem()}
		db := mustOpen(t, cfg)
		s := db.Task(keyNumber(1))
		apply(t, s, 0, noon, 0, 10)
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		free.Store(1<<20 + 500)
		for i := range 5 {
			apply(t, s, int64(1+i), noon, 10+10*i, 20+10*i)
		}
		synctest.Wait()
		if !db.Full() || db.Failed() != nil {
			t.Fatalf("full %v, failed %v", db.Full(), db.Failed())
		}
		if err := db.Flush(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("Flush says %v", err)
		}
		knows(t, s, 0, 60, 80)
		went := make(chan error, 1)
		go func() { went <- db.Room(t.Context()) }()
		time.Sleep(time.Minute)
		select {
		case err := <-went:
			t.Fatalf("Room returned %v while the disk was full", err)
		default:
		}
		if n := db.Stats().Segments; n != 1 {
			t.Errorf("%d segments, below the reserve", n)
		}
		free.Store(1 << 40)
		if err := <-went; err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		knows(t, s, 0, 60, 80)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		knows(t, mustOpen(t, cfg).Task(keyNumber(1)), 0, 60, 80)
	})
}

// A DB that is closed while the disk is full keeps what was written before; the log has the rest.
func TestCloseWhileFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(1 << 40)
		cfg := Config{Dir: "db", FlushAt: 10, Free: func(string) (uint64, error) { return free.Load(), nil }, fs: vfs.NewMem()}
		db := mustOpen(t, cfg)
		s := db.Task(keyNumber(1))
		apply(t, s, 0, noon, 0, 10)
		if err := db.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		free.Store(0)
		apply(t, s, 1, noon, 10, 30)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(cfg); !errors.Is(err, ErrFull) {
			t.Fatalf("Open says %v", err)
		}
		free.Store(1 << 40)
		s = mustOpen(t, cfg).Task(keyNumber(1))
		if next := s.Position().Next; next != 1 {
			t.Fatalf("position %d", next)
		}
		knows(t, s, 0, 10, 40)
	})
}

// Where a write finds no room, at whatever step, nothing hangs, nothing is lost, and all goes on when there is room.
func TestNoRoomAtEachWrite(t *testing.T) {
	failed, steps, stride := 0, 0, 1
	if testing.Short() {
		stride = 11
	}
	for ended := true; ended; steps += stride {
		synctest.Test(t, func(t *testing.T) {
			mem, disk := vfs.NewMem(), &filling{}
			cfg := Config{Dir: "db", FlushAt: 20, MergeAt: 100, Crowd: 1, fs: disk.fs(mem)}
			db := mustOpen(t, cfg)
			s := db.Task(keyNumber(1))
			const entries, each = 30, 10
			at := func(i int) time.Time { return noon.Add(time.Duration(i) * 20 * time.Minute) }
			disk.begins(steps)
			for i := range entries {
				apply(t, s, int64(i), at(i), each*i, each*i+each)
				time.Sleep(time.Millisecond)
			}
			s.Expire(at(9))
			time.Sleep(time.Minute)
			if db.Failed() == nil {
				knows(t, s, 9*each, entries*each, entries*each)
			}
			was := db.Full() || db.Failed() != nil
			ended = disk.ended()
			if ended && !was {
				t.Errorf("no room from step %d on: neither full nor failed", steps)
			}
			time.Sleep(time.Minute)
			if db.Failed() != nil { // the caller's part: close, open, and read the tail of the log
				failed++
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = mustOpen(t, cfg)
				s = db.Task(keyNumber(1))
				for i := int(s.Position().Next); i < entries; i++ {
					apply(t, s, int64(i), at(i), each*i, each*i+each)
				}
				s.Expire(at(9))
			}
			if db.Full() {
				t.Errorf("no room from step %d on: full for ever", steps)
			}
			if err := db.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			knows(t, s, 9*each, entries*each, entries*each)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			knows(t, mustOpen(t, cfg).Task(keyNumber(1)), 9*each, entries*each, entries*each)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d steps, %d of them the engine's own", steps, failed)
}

// Open finds out that there is no room before the engine does, whatever the file system says is free, and all that was there is
// there when there is room.
func TestOpenOnAFullDisk(t *testing.T) {
	for _, known := range []int{0, 50} {
		for steps := range 4 { // makes the directory, makes, writes and syncs a file
			synctest.Test(t, func(t *testing.T) {
				mem, disk := vfs.NewMem(), &filling{}
				cfg := Config{Dir: "db", FlushAt: 10, fs: disk.fs(mem)}
				if known > 0 {
					db := mustOpen(t, cfg)
					apply(t, db.Task(keyNumber(1)), 0, noon, 0, known)
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
				}
				disk.begins(steps)
				if _, err := Open(cfg); !errors.Is(err, ErrFull) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("no room from step %d on: %v", steps, err)
				}
				disk.ended()
				knows(t, mustOpen(t, cfg).Task(keyNumber(1)), 0, known, 60)
				if names, _ := mem.List("db"); len(names) != 2 {
					t.Errorf("no room from step %d on: %q", steps, names)
				}
			})
		}
	}
}
