package disk

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/dedupe"
)

// lookAgain is how often a worker that found the disk full looks for room.
const lookAgain = time.Second

// run is the worker: it writes, merges and expires until the DB is closed.
func (db *DB) run() {
	defer close(db.end)
	var again <-chan time.Time
	for {
		select {
		case <-db.stop:
			db.last()
			return
		case <-db.kick:
		case <-again:
		}
		again = nil
		if !db.work(false) {
			again = time.After(lookAgain)
		}
	}
}

// last writes what is left, if that is possible.
func (db *DB) last() { db.work(true) }

// work does everything there is to do, or returns false: the disk is full, or it failed. all writes what is in memory however
// little it is, and merges nothing.
func (db *DB) work(all bool) bool {
	for db.Failed() == nil {
		did, err := db.step(all)
		switch {
		case err == nil && did:
			db.room()
			continue
		case err == nil && db.Full() && db.cfg.short(0):
			err = ErrFull
		case err == nil:
			db.room()
			return true
		}
		db.w.abandon()
		db.merger.abandon()
		if !errors.Is(err, ErrFull) && !db.cfg.noSpace(err) {
			db.fail(err)
			break
		}
		if !db.full.Swap(true) {
			db.log.Error("the disk is full: receipts stay in memory until there is room", zap.String("dir", db.cfg.Dir), zap.Error(err))
		}
		break
	}
	db.mu.Lock()
	db.progress()
	db.mu.Unlock()
	return false
}

// step does the most urgent thing and reports whether there was any.
func (db *DB) step(all bool) (did bool, err error) {
	if did, err = db.flushIfDue(all); did || err != nil {
		return did, err
	}
	if db.dirty.Load() || db.limit.Load() > db.swept {
		return true, db.sweep()
	}
	if did, err = db.saveFront(all); did || err != nil || all {
		return did, err
	}
	if !db.front.blind.empty() {
		return true, db.fillFront()
	}
	if run := db.mergeable(); run != nil {
		return true, db.merge(run)
	}
	return false, nil
}

// flushIfDue writes a round if enough has come together.
func (db *DB) flushIfDue(all bool) (did bool, err error) {
	if !db.held && db.hot.Load() < int64(db.cfg.FlushAt) && !(all && db.hot.Load() > 0) && !db.hurry.Load() {
		return false, nil
	}
	db.hurry.Store(false)
	return true, db.flush()
}

// flushBetween is for long work, called whenever so many receipts more are done. Between two flushes the work gets on by as much as
// was flushed: where receipts come as fast as they can, flushes alone would leave it no time, and what is not merged makes each look
// dearer.
func (db *DB) flushBetween(done int) error {
	if db.owed -= done; db.owed > 0 && !db.hurry.Load() {
		return nil
	}
	_, err := db.flushIfDue(false)
	return err
}

// urgent asks for a flush of whatever there is.
func (db *DB) urgent() {
	db.hurry.Store(true)
	db.nudge()
}

// noSpace reports whether an error came of a full disk.
func (cfg Config) noSpace(err error) bool {
	return err != nil && (errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT))
}

// room ends being full: something was written, or nothing needs to be and there is room.
func (db *DB) room() {
	if !db.full.Swap(false) {
		return
	}
	db.log.Info("the disk has room again", zap.String("dir", db.cfg.Dir))
	db.mu.Lock()
	db.progress()
	db.mu.Unlock()
}

// flush freezes the active tables, unless a round is still waiting, and writes it: one segment for each bucket.
func (db *DB) flush() error {
	if !db.held {
		db.freeze()
		db.held = true
	}
	tasks, weight := db.frozen()
	db.owed = weight
	if db.cfg.short(uint64(weight * 100)) {
		return ErrFull
	}
	for _, b := range bucketsOf(tasks) {
		if err := db.write(tasks, b); err != nil {
			return err
		}
	}
	return db.ingest(&db.w, true, nil, func(t *task, frozen *dedupe.Table) *dedupe.Table {
		if !t.hasFrozen {
			return frozen
		}
		t.durable, t.frozen, t.hasFrozen = t.frozen, state{}, false
		return nil
	})
}

// bucketsOf are the buckets of which frozen tables have something to write.
func bucketsOf(tasks []*task) (out []int64) {
	for _, t := range tasks {
		out = append(out, t.view.Load().frozen.Buckets()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// freeze begins a round: every task that moved gets an empty active table.
func (db *DB) freeze() {
	db.mu.Lock()
	defer db.mu.Unlock()
	round := db.round.Add(1)
	for _, t := range db.tasks {
		t.mu.Lock()
		t.sealed = round
		if t.pos.Next != t.durable.pos.Next || t.marked {
			t.marked, t.hasFrozen = false, true
			t.frozen = state{pos: t.pos.Clone(), live: cloneLive(t.live), last: t.last, expired: t.expired, forgotten: maps.Clone(t.forgotten)}
			if v := t.view.Load(); v.active.Len() > 0 {
				t.look(dedupe.NewTableFor(db.cfg.Bucket, v.active.Len()), v.active, round, db.segs)
			}
			db.hot.Add(-int64(t.weight))
			t.weight = 0
		}
		t.mu.Unlock()
	}
}

func cloneLive(m map[int64]int) map[int64]int {
	c := make(map[int64]int, len(m))
	for b, n := range m {
		if n != 0 {
			c[b] = n
		}
	}
	return c
}

// frozen are the tasks of the round in the order of their numbers, and how much it is.
func (db *DB) frozen() (tasks []*task, weight int) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, t := range db.tasks {
		if v := t.view.Load(); v.frozen != nil {
			tasks = append(tasks, t)
			weight += v.frozen.Weight()
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int { return int(int64(a.num) - int64(b.num)) })
	return tasks, weight
}

// write makes a segment of what the frozen tables have in one bucket.
func (db *DB) write(tasks []*task, bucket int64) error {
	round := db.round.Load()
	db.w.front = db.front.open(round)
	if err := db.w.begin(bucket, round, round); err != nil {
		return err
	}
	var value []byte
	for _, t := range tasks {
		v := t.view.Load()
		for r := range v.frozen.Sorted(bucket) {
			value = appendValue(value[:0], r)
			if err := db.w.add(t.num, &r.Identity, value, !r.Unfinished()); err != nil {
				return err
			}
		}
	}
	return db.w.end()
}

// ingest takes what was written into force, together with a manifest: flushed says that the frozen round is in it, gone are
// segments that it replaces; each is as for show.
func (db *DB) ingest(w *writer, flushed bool, gone []*segment, each func(t *task, frozen *dedupe.Table) *dedupe.Table) error {
	db.mu.Lock()
	segs := slices.DeleteFunc(slices.Concat(db.segs, w.segs), func(s *segment) bool { return slices.Contains(gone, s) })
	b, err := db.manifest(segs, flushed)
	stale := db.front.stale
	db.mu.Unlock()
	if err != nil {
		return err
	}
	no, err := w.manifest(b)
	if err != nil {
		return err
	}
	if err := guard(func() error { return db.peb.Ingest(bg, w.paths) }); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	w.reset()
	db.mu.Lock()
	for _, s := range gone {
		db.trash = append(db.trash, s.no)
	}
	db.trash, db.front.stale = append(db.trash, stale...), db.front.stale[len(stale):]
	if db.inForce != 0 {
		db.trash = append(db.trash, db.inForce)
	}
	db.inForce = no
	db.show(segs, each)
	db.held = db.held && !flushed
	db.progress()
	db.mu.Unlock()
	db.front.drop(segs)
	for len(db.trash) > 0 {
		n := db.adjoining()
		if err := db.excise(db.trash[0], db.trash[n-1]); err != nil {
			return err
		}
		db.trash = db.trash[n:]
	}
	return nil
}

// adjoining sorts the trash and returns how much of it, from the first on, has nothing in force in between: it goes in one step, since each
// waits for the disk.
func (db *DB) adjoining() int {
	slices.Sort(db.trash)
	first, next := db.trash[0], db.inForce // the lowest number in force above first
	nearer := func(no uint32) {
		if no > first && no < next {
			next = no
		}
	}
	for _, s := range db.segs { // only the worker changes them
		nearer(s.no)
	}
	for _, g := range db.front.all {
		nearer(g.saved.no)
	}
	n, _ := slices.BinarySearch(db.trash, next)
	return max(1, n)
}

// excise drops everything under the numbers from first to last. Reads under way keep what they see.
func (db *DB) excise(first, last uint32) error {
	return guard(func() error {
		return db.peb.Excise(bg, pebble.KeyRange{Start: prefix(first, 0), End: prefix(last+1, 0)})
	})
}

// sweep drops the segments that no task sees any more, and tasks that nobody has open and of which nothing is left. Tasks
// that nobody has open forget as far as the others do. What the tasks have forgotten is made durable first: a crash in between
// must not leave a task at a position at which it still knew what is gone.
func (db *DB) sweep() error {
	limit := db.limit.Load()
	db.mu.Lock()
	for k, t := range db.tasks {
		t.mu.Lock()
		if t.open == nil {
			t.view.Load().active.Expire(limit)
			t.forget(limit)
			if t.jobs == 0 && t.last.Bucket < limit && !t.hasFrozen {
				delete(db.tasks, k)
				db.hot.Add(-int64(t.weight))
				t.weight = 0
			}
		}
		t.mu.Unlock()
	}
	db.mu.Unlock()
	db.dirty.Store(false)
	if err := db.flush(); err != nil {
		db.dirty.Store(true)
		return err
	}
	db.mu.Lock()
	tasks := map[uint32]*task{}
	for _, t := range db.tasks {
		tasks[t.num] = t
	}
	var gone []*segment
	for _, s := range db.segs {
		if !slices.ContainsFunc(s.tasks, func(num uint32) bool { t := tasks[num]; return t != nil && t.sees(s) }) {
			gone = append(gone, s)
		}
	}
	db.mu.Unlock()
	if len(gone) > 0 {
		if err := db.ingest(&db.w, false, gone, nil); err != nil {
			return err // limit is above swept still: it is tried again
		}
	}
	db.swept = limit
	return nil
}

// sees reports whether anything in a segment is visible to a task that has receipts there, now or after a crash.
func (t *task) sees(s *segment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !hides(t.durable.expired, s.bucket, s.order)
}
