package disk

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/dedupe"
)

// DB keeps the receipts of an instance's tasks. Its methods are safe for concurrent use.
type DB struct {
	cfg    Config
	log    *zap.Logger
	fs     vfs.FS
	lock   io.Closer
	path   string // of Pebble's directory in cfg.Dir
	peb    *pebble.DB
	seed   [2]uint64
	absent absent

	hot    atomic.Int64  // weight of the active tables
	round  atomic.Uint64 // of the newest freeze
	limit  atomic.Int64  // the highest bucket below which a task has forgotten
	failed atomic.Pointer[failure]
	full   atomic.Bool
	dirty  atomic.Bool // a task was forgotten: a manifest is due
	hurry  atomic.Bool // somebody waits in Flush

	kick chan struct{}
	stop chan struct{}
	end  chan struct{}

	// the worker's
	w, merger writer
	front     front    // any task's goroutine asks it
	owed      int      // receipts to be merged before the next flush
	held      bool     // a frozen round waits to be written
	swept     int64    // limit at the last sweep
	inForce   uint32   // number of the manifest
	trash     []uint32 // numbers to be excised

	mu       sync.Mutex
	closed   bool
	tasks    map[Key]*task
	segs     []*segment // in order
	next     uint32     // number of the next segment
	nextTask uint32
	moved    chan struct{} // closed and made anew when a round was written, or the DB became full, failed or closed
}

type failure struct{ err error }

// Task opens the receipts of a task: what was applied to it before, in this process or an earlier one. Whoever had it open has
// it no longer: Apply of that store returns dedupe.ErrClosed. The store is one goroutine's at a time, and both must be the same
// goroutine's if the other is still in use; while it asks for nothing but Position and Len, another one may call Apply. Closing it keeps what
// it knows.
//
// Where a read fails, Get finds nothing: check Failed before acting on what was not found. A DB that is closed serves no Apply.
func (db *DB) Task(k Key) dedupe.Store {
	db.mu.Lock()
	defer db.mu.Unlock()
	t := db.tasks[k]
	if t == nil {
		t = db.newTask(k, db.nextTask)
		db.nextTask++
		if !db.closed {
			db.tasks[k] = t
		}
	}
	s := &store{t}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !db.closed {
		t.open, t.unproven = s, true
	}
	return s
}

// Forget drops what is known of a task: it is another one's, or its log is not what it was. A store open for it is closed.
func (db *DB) Forget(k Key) {
	db.mu.Lock()
	defer db.mu.Unlock()
	t := db.tasks[k]
	if t == nil {
		return
	}
	delete(db.tasks, k)
	t.mu.Lock()
	t.open = nil
	db.hot.Add(-int64(t.weight))
	t.weight = 0
	t.mu.Unlock()
	db.dirty.Store(true)
	db.nudge()
}

// Failed is nil as long as the DB can be relied on. It does not recover: what answers it gave since may be wrong, and all
// of it must be closed and opened again, which moves the directory aside.
func (db *DB) Failed() error {
	if f := db.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// Full reports whether the file system has less free space than the reserve. Nothing is written then, what is applied stays in
// memory; the caller should apply no more than it must. It ends by itself when there is room.
func (db *DB) Full() bool { return db.full.Load() }

// Room waits until more receipts may be applied without gathering in memory: the pace of who applies a whole log. It returns
// an error when ctx ends or the DB has failed or was closed.
func (db *DB) Room(ctx context.Context) error {
	return db.await(ctx, func() (bool, error) {
		return db.hot.Load() <= int64(db.cfg.FlushAt+db.cfg.FlushAt/2) && !db.Full(), nil
	})
}

// await asks done whenever something may have changed, until it says so or has an error, the DB has failed or was closed, or
// ctx ends.
func (db *DB) await(ctx context.Context, done func() (bool, error)) error {
	for {
		db.mu.Lock()
		moved, closed := db.moved, db.closed
		db.mu.Unlock()
		if closed {
			return dedupe.ErrClosed
		}
		if err := db.Failed(); err != nil {
			return err
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stats is what a DB keeps.
type Stats struct {
	Jobs        int    // of all tasks
	Segments    int    // on disk
	Receipts    int    // in segments, those that newer ones have replaced included
	Memory      int64  // receipts, or what weighs as much, in active tables
	Disk        uint64 // bytes
	Compactions int64  // of Pebble: none is wanted
}

// Stats may be asked for at any time before Close.
func (db *DB) Stats() (s Stats) {
	db.mu.Lock()
	for _, t := range db.tasks {
		t.mu.Lock()
		s.Jobs += t.jobs
		t.mu.Unlock()
	}
	for _, g := range db.segs {
		s.Segments++
		s.Receipts += g.count
	}
	closed := db.closed
	db.mu.Unlock()
	s.Memory = db.hot.Load()
	if !closed {
		m := db.peb.Metrics()
		s.Disk, s.Compactions = m.DiskSpaceUsage(), m.Compact.Count
	}
	return s
}

// Flush writes what is in memory, and returns when it is durable, or why it cannot be.
func (db *DB) Flush(ctx context.Context) error {
	return db.await(ctx, func() (bool, error) {
		switch {
		case db.Full():
			return false, ErrFull
		case db.settled():
			return true, nil
		}
		db.urgent()
		return false, nil
	})
}

// settled reports whether everything applied is on disk.
func (db *DB) settled() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, t := range db.tasks {
		t.mu.Lock()
		behind := t.durable.pos.Next != t.pos.Next
		t.mu.Unlock()
		if behind {
			return false
		}
	}
	return true
}

// Close writes what is in memory and gives the directory back. A DB that has failed moves the directory aside instead, unless it
// failed for want of room. What could not be written is in the logs.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	for _, t := range db.tasks {
		t.mu.Lock()
		t.open = nil
		t.mu.Unlock()
	}
	db.progress()
	db.mu.Unlock()
	close(db.stop)
	<-db.end
	err := db.closeEngine()
	if f := db.Failed(); f != nil && !db.cfg.noSpace(f) { // what was written before the disk was full is whole, as after a crash
		err = db.cfg.moveAside(db.path, f)
	}
	if lerr := db.lock.Close(); err == nil {
		err = lerr
	}
	if err != nil {
		return fmt.Errorf("disk: %s: %w", db.cfg.Dir, err)
	}
	return nil
}

// closePatience is how long Pebble may take to close after something went wrong, when it may hang for ever.
const closePatience = time.Second

// closeEngine closes Pebble. One that has failed, or cannot be read, is left to itself where it does not close: its locks may be
// held by a goroutine that ended.
func (db *DB) closeEngine() error {
	closed := make(chan error, 1)
	go func() { closed <- guard(db.peb.Close) }() // joined below, unless Pebble hangs
	var patience <-chan time.Time
	if db.Failed() != nil {
		patience = time.After(closePatience)
	}
	select {
	case err := <-closed:
		return err
	case <-patience:
		db.log.Error("the receipt store does not close; it is left as it is", zap.String("dir", db.path))
		return nil
	}
}

// fail makes the DB unusable. The first error counts.
func (db *DB) fail(err error) {
	if db.failed.CompareAndSwap(nil, &failure{err}) {
		db.log.Error("the receipt store failed", zap.String("dir", db.cfg.Dir), zap.Error(err))
		db.nudge()
	}
}

// grow counts what a task applied.
func (db *DB) grow(weight int) {
	if db.hot.Add(int64(weight)) >= int64(db.cfg.FlushAt) {
		db.nudge()
	}
}

// expire tells the worker how far tasks forget.
func (db *DB) expire(limit int64) {
	for {
		was := db.limit.Load()
		if limit <= was {
			return
		}
		if db.limit.CompareAndSwap(was, limit) {
			db.nudge()
			return
		}
	}
}

// nudge wakes the worker.
func (db *DB) nudge() {
	select {
	case db.kick <- struct{}{}:
	default:
	}
}

// number is a number that no segment had before. The worker's, or Open's.
func (db *DB) number() uint32 {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.next++
	return db.next
}

// progress wakes those that wait in Room and Flush. The caller holds db.mu.
func (db *DB) progress() {
	close(db.moved)
	db.moved = make(chan struct{})
}

// show gives every task a view of the segments as they are now. The caller holds db.mu; each is called with the task's lock held
// and says what stays frozen. It is one step: a Get in between must not see a view that has what is flushed neither here nor there.
func (db *DB) show(segs []*segment, each func(t *task, frozen *dedupe.Table) *dedupe.Table) {
	slices.SortFunc(segs, older)
	db.segs = segs
	for _, t := range db.tasks {
		t.mu.Lock()
		v := t.view.Load()
		frozen := v.frozen
		if each != nil {
			frozen = each(t, frozen)
		}
		t.look(v.active, frozen, v.round, segs)
		t.mu.Unlock()
	}
}
