package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-dev/waybill/dedupe"
)

const (
	lockFile   = "LOCK"
	current    = "receipts-" // and a number: Pebble's directory
	ingestFile = "ingest-"   // and a number: a file on its way into Pebble's
	probeBytes = 1 << 20     // more than Pebble writes to open a directory
	cacheBytes = 16 << 20    // index blocks, and receipts that are asked for again
)

// Open opens the receipts in a directory, or begins new ones. What is there and cannot be used, because it is damaged, of another
// cluster, format or bucket width, is moved aside with the reason in a file, and everything is read from the logs again. Other errors
// need somebody to act: ErrInUse, ErrFull, or what the file system says.
func Open(cfg Config) (*DB, error) {
	cfg = cfg.withDefaults()
	db, err := open(cfg)
	if cfg.noSpace(err) && !errors.Is(err, ErrFull) {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	if err != nil {
		return nil, fmt.Errorf("disk: %s: %w", cfg.Dir, err)
	}
	return db, nil
}

func open(cfg Config) (db *DB, err error) {
	if cfg.Dir == "" {
		return nil, errors.New("Dir is empty")
	}
	if err := cfg.fs.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, err
	}
	if cfg.short(0) { // Pebble would not fail, but hang
		return nil, fmt.Errorf("%w: less than %d MiB are free", ErrFull, cfg.Reserve>>20)
	}
	lock, err := cfg.fs.Lock(cfg.fs.PathJoin(cfg.Dir, lockFile))
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	names, err := cfg.fs.List(cfg.Dir)
	if err != nil {
		return nil, err
	}
	number := 1
	for _, n := range names {
		if i, err := strconv.Atoi(strings.TrimPrefix(n, current)); err == nil && strings.HasPrefix(n, current) {
			number = max(number, i)
		}
		if strings.HasPrefix(n, ingestFile) { // a crash left it
			_ = cfg.fs.Remove(cfg.fs.PathJoin(cfg.Dir, n))
		}
	}
	if err := cfg.probe(); err != nil {
		return nil, err
	}
	path := func() string { return cfg.fs.PathJoin(cfg.Dir, current+strconv.Itoa(number)) }
	db, err = cfg.open(path())
	if err == nil || errors.Is(err, fs.ErrPermission) || cfg.noSpace(err) {
		return db.owning(lock), err
	}
	if err := cfg.moveAside(path(), err); err != nil {
		return nil, err
	}
	number++
	db, err = cfg.open(path())
	return db.owning(lock), err
}

// owning begins the life of an open DB.
func (db *DB) owning(lock interface{ Close() error }) *DB {
	if db == nil {
		return nil
	}
	db.lock = lock
	db.w.db, db.merger.db = db, db
	go db.run()
	return db
}

// open opens one directory of Pebble.
func (cfg Config) open(path string) (*DB, error) {
	logger := &fatal{log: cfg.Logger}
	db := &DB{cfg: cfg, log: cfg.Logger, fs: cfg.fs, path: path, absent: make(absent, absentPlaces), tasks: map[Key]*task{},
		kick: make(chan struct{}, 1), stop: make(chan struct{}), end: make(chan struct{}), moved: make(chan struct{})}
	db.limit.Store(dedupe.NoBucket)
	db.swept = dedupe.NoBucket
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	options := &pebble.Options{FS: cfg.fs, Cache: cache, Logger: logger, DisableWAL: true, MemTableSize: 256 << 10, MaxOpenFiles: 1000,
		FormatMajorVersion: pebble.FormatFlushableIngestExcises, DisableAutomaticCompactions: true, DisableTableStats: true}
	options.EventListener = &pebble.EventListener{
		DataCorruption:  func(i pebble.DataCorruptionInfo) { db.fail(fmt.Errorf("%s is damaged: %w", i.Path, i.Details)) },
		BackgroundError: func(err error) { logger.Errorf("%v", err) },
	}
	err := guard(func() (err error) {
		db.peb, err = pebble.Open(path, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	fail := db.fail
	logger.fail.Store(&fail)
	if err := guard(db.restore); err != nil {
		db.failed.CompareAndSwap(nil, &failure{err})
		_ = db.closeEngine()
		return nil, err
	}
	return db, nil
}

// restore reads the manifest in force and what stays in memory of the segments it names, and removes what it does not name.
func (db *DB) restore() error {
	numbers, err := db.numbers()
	if err != nil {
		return err
	}
	db.front.blind = none
	db.front.publish()
	if len(numbers) == 0 {
		db.seed = [2]uint64{rand.Uint64(), rand.Uint64()}
		db.nextTask = 1
		return nil
	}
	db.next = slices.Max(numbers)
	v, c, err := db.peb.Get(prefix(db.next, kindManifest))
	if err != nil {
		return fmt.Errorf("the manifest cannot be read: %w", err)
	}
	m, err := parseManifest(v)
	if err = errors.Join(err, c.Close()); err != nil {
		return err
	}
	switch {
	case m.Cluster != db.cfg.Cluster && m.Cluster != "" && db.cfg.Cluster != "":
		return fmt.Errorf("the directory holds receipts of cluster %s, and this is cluster %s", m.Cluster, db.cfg.Cluster)
	case m.Bucket != int64(db.cfg.Bucket):
		return fmt.Errorf("the directory has expiry buckets of %d s, and %v are asked for: the window was changed", m.Bucket/1e9, db.cfg.Bucket)
	}
	db.seed, db.nextTask = m.Seed, m.NextTask
	db.round.Store(m.Round)
	for i := range m.Segments {
		l := &m.Segments[i]
		if !slices.Contains(numbers, l.No) {
			return fmt.Errorf("segment %d is missing", l.No)
		}
		s, err := db.load(l)
		if err != nil {
			return err
		}
		db.segs = append(db.segs, s)
	}
	slices.SortFunc(db.segs, older)
	for i := range m.Tasks {
		if err := db.remember(&m.Tasks[i]); err != nil {
			return err
		}
	}
	if err := db.loadFront(m, numbers); err != nil {
		return err
	}
	db.front.publish()
	return db.clean(numbers)
}

// remember makes a task of its line.
func (db *DB) remember(l *taskLine) error {
	s, err := l.state()
	if err != nil {
		return err
	}
	t := db.newTask(Key{l.Job, l.Log, l.Partition}, l.Num)
	t.durable = s
	t.pos, t.last, t.expired, t.forgotten = s.pos.Clone(), s.last, s.expired, maps.Clone(s.forgotten)
	for b, n := range s.live {
		t.live[b] = n
		t.jobs += n
	}
	t.look(t.view.Load().active, nil, 0, db.segs)
	db.tasks[t.key] = t
	return nil
}

// numbers are those of all segments and manifests that are on disk, in force or not.
func (db *DB) numbers() (out []uint32, err error) {
	it, err := db.peb.NewIter(nil)
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; {
		if len(it.Key()) < 5 {
			return nil, errors.Join(errors.New("a key is too short"), it.Close())
		}
		no := binary.BigEndian.Uint32(it.Key())
		out = append(out, no)
		ok = it.SeekGE(prefix(no+1, 0))
	}
	return out, it.Close()
}

// clean excises what a crash left: what no manifest names any more, or not yet. The manifest in force stays.
func (db *DB) clean(numbers []uint32) error {
	for _, no := range numbers {
		if slices.ContainsFunc(db.segs, func(s *segment) bool { return s.no == no }) ||
			slices.ContainsFunc(db.front.all, func(g *generation) bool { return g.saved.no == no }) {
			continue
		}
		if no == db.next {
			db.inForce = no
			continue
		}
		if err := db.excise(no, no); err != nil {
			return err
		}
	}
	return nil
}

// moveAside renames a directory that cannot be used, says why in a file in it, and removes those moved aside before.
func (cfg Config) moveAside(path string, reason error) error {
	base := cfg.fs.PathBase(path)
	to := cfg.fs.PathJoin(cfg.Dir, "aside-"+base)
	names, err := cfg.fs.List(cfg.Dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, "aside-") {
			_ = cfg.fs.RemoveAll(cfg.fs.PathJoin(cfg.Dir, n))
		}
	}
	if err := cfg.fs.Rename(path, to); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; it cannot be moved aside: %w. Delete the directory by hand: it is read from the receipt logs again", reason, err)
	}
	cfg.Logger.Sugar().Errorf("the receipts kept in %s cannot be used and were moved to %s; they are read from the receipt logs again: %v", path, to, reason)
	if f, err := cfg.fs.Create(cfg.fs.PathJoin(to, "REASON"), "unspecified"); err == nil { // best effort: it is for people
		_, _ = f.Write(append([]byte(reason.Error()), '\n'))
		_ = f.Close()
	}
	return nil
}

// probe writes and removes a file: a quota is not in what the file system says is free, and Pebble does not take the lack of room well.
func (cfg Config) probe() error {
	path := cfg.fs.PathJoin(cfg.Dir, ingestFile+"probe")
	f, err := cfg.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close(), cfg.fs.Remove(path))
}

// short reports whether the file system has less free space than the reserve and need more bytes.
func (cfg Config) short(need uint64) bool {
	free, err := cfg.Free(cfg.Dir)
	return err == nil && free < cfg.Reserve+need
}
