// Package asis reads a directory of receipts (consumer.Config.Dir) as it stands, by other code than the store that wrote it:
// a check on that store, not a way to it. Of dedupe/disk it shares the format alone (docs/store.md).
//
// It reads every receipt of a task into memory, some 250 bytes a job, changes nothing, and takes the directory's lock meanwhile: an
// instance that runs has it. `waybill receipt verify --dir` holds what it finds against the log. Nothing that runs jobs may import it.
package asis

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Dir is an open directory. One goroutine at a time may use it; Close it.
type Dir struct {
	path string
	lock interface{ Close() error }
	peb  *pebble.DB
	m    manifest
}

// manifest is what is read of the one in force.
type manifest struct {
	Version  int
	Cluster  string
	Bucket   int64
	Segments []segment
	Tasks    []task
}

type segment struct {
	No     uint32
	Bucket int64
	Order  uint64
}

type task struct {
	Num           uint32
	Job, Log      dedupe.TopicID
	Partition     int32
	Next, Epoch   int64
	Owner         []byte
	OwnerOf       dedupe.Place `json:"owner_of"`
	FrontierEpoch int64        `json:"frontier_epoch"`
	Of            dedupe.Place
	Release       dedupe.Release
	Frontiers     []dedupe.Frontier
	Expired       []struct {
		Limit int64
		Below uint64
	}
	Forgotten []struct {
		Job   job.Identity
		Round uint64
	}
}

// Task is what a directory has of one task.
type Task struct {
	Position dedupe.Position
	Jobs     map[job.Identity]dedupe.Receipt
	// Expired is the time before which the store may have forgotten what was appended; zero: nothing was forgotten.
	Expired time.Time
}

// ErrInUse says that an instance has the directory.
var ErrInUse = errors.New("the directory is in use by an instance: stop it first")

// Open opens a directory for reading.
func Open(path string) (d *Dir, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("receipts in %s: %w", path, err)
		}
	}()
	lock := filepath.Join(path, "LOCK")
	if _, err := os.Stat(lock); err != nil {
		return nil, fmt.Errorf("it is no directory of receipts (Config.Dir): %w", err)
	}
	d = &Dir{path: path}
	if d.lock, err = vfs.Default.Lock(lock); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	newest, err := newestIn(path)
	if err == nil {
		d.peb, err = pebble.Open(newest, &pebble.Options{ReadOnly: true, Logger: silent{}})
	}
	if err == nil {
		err = d.manifest()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// newestIn is the database in force: the one with the greatest number.
func newestIn(path string) (string, error) {
	found, err := filepath.Glob(filepath.Join(path, "receipts-*"))
	best := 0
	for _, f := range found {
		if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(f), "receipts-")); err == nil {
			best = max(best, n)
		}
	}
	if err == nil && best == 0 {
		err = errors.New("there is no database in it")
	}
	return filepath.Join(path, fmt.Sprint("receipts-", best)), err
}

// silent keeps Pebble from printing; what fails is returned.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, a ...any) {
	panic(fmt.Sprintf(format, a...))
}

// Close gives the directory back.
func (d *Dir) Close() error {
	var err error
	if d.peb != nil {
		err = d.peb.Close()
	}
	return errors.Join(err, d.lock.Close())
}

// Cluster is the id of the Kafka cluster whose logs the directory has.
func (d *Dir) Cluster() string { return d.m.Cluster }

// manifest reads the last key of all.
func (d *Dir) manifest() error {
	it, err := d.peb.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { _ = it.Close() }()
	if !it.Last() { // nothing was ever written
		return it.Error()
	}
	if k := it.Key(); len(k) != 5 || k[4] != 4 {
		return fmt.Errorf("the last key is no manifest: %x", k)
	}
	if err := json.Unmarshal(it.Value(), &d.m); err != nil {
		return fmt.Errorf("the manifest does not decode: %w", err)
	}
	if d.m.Version != 1 {
		return fmt.Errorf("it has format version %d, and this program reads 1", d.m.Version)
	}
	return nil
}

// Task reads all that the directory has of a task, which is named by the ids of its job topic and of its receipt log; nil when
// there is nothing.
func (d *Dir) Task(jobs, log dedupe.TopicID, partition int32) (*Task, error) {
	i := slices.IndexFunc(d.m.Tasks, func(t task) bool { return t.Job == jobs && t.Log == log && t.Partition == partition })
	if i < 0 {
		return nil, nil
	}
	l := &d.m.Tasks[i]
	e, err := dedupe.Decode(l.Owner)
	if err != nil || e.Owner == nil {
		return nil, errors.Join(errors.New("the owner does not decode"), err)
	}
	e.Owner.Of = l.OwnerOf
	t := &Task{Jobs: map[job.Identity]dedupe.Receipt{}, Position: dedupe.Position{Next: l.Next, Epoch: l.Epoch, Owner: *e.Owner, FrontierEpoch: l.FrontierEpoch,
		Of: l.Of, Release: l.Release, Frontiers: map[dedupe.TopicID]int64{}}}
	for _, f := range l.Frontiers {
		t.Position.Frontiers[f.Topic] = f.Offset
	}
	for _, m := range l.Expired {
		if at := time.Unix(0, m.Limit*d.m.Bucket); at.After(t.Expired) {
			t.Expired = at
		}
	}
	return t, d.read(l, t)
}

// read walks through the segments in the order in which they were written; of a job the last receipt counts.
func (d *Dir) read(l *task, t *Task) error {
	in := slices.Clone(d.m.Segments)
	slices.SortFunc(in, func(a, b segment) int { // by bucket, since a job only moves to later ones
		return slices.Compare([]int64{a.Bucket, int64(a.Order), int64(a.No)}, []int64{b.Bucket, int64(b.Order), int64(b.No)})
	})
	for _, s := range in {
		from := binary.BigEndian.AppendUint32(append(binary.BigEndian.AppendUint32(nil, s.No), 1), l.Num)
		to := binary.BigEndian.AppendUint32(append(binary.BigEndian.AppendUint32(nil, s.No), 1), l.Num+1)
		it, err := d.peb.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
		if err != nil {
			return err
		}
		for it.First(); it.Valid() && err == nil; it.Next() {
			var r dedupe.Receipt
			if r, err = parse(it.Key(), it.Value()); err == nil && !l.gone(&s, r.Identity) {
				t.Jobs[r.Identity] = r
			}
		}
		if err = errors.Join(err, it.Error(), it.Close()); err != nil {
			return fmt.Errorf("segment %d: %w", s.No, err)
		}
	}
	return nil
}

// gone reports whether a receipt of a segment is expired, or of a job that was ordered to be forgotten after it.
func (l *task) gone(s *segment, id job.Identity) bool {
	for _, m := range l.Expired {
		if s.Bucket < m.Limit && s.Order < m.Below {
			return true
		}
	}
	for _, f := range l.Forgotten {
		if f.Job == id && s.Order <= f.Round {
			return true
		}
	}
	return false
}

// parse reads a receipt: 4 bytes segment, a byte, 4 bytes task, 16 bytes identity; and then state and flags, key hash, digest, when it
// was last appended, origin, what the flags announce, and the result.
func parse(key, value []byte) (r dedupe.Receipt, err error) {
	const flagHop, flagGen, flagAttempt, flagCode, flagRepeats = 3, 4, 5, 6, 7
	if len(key) != 25 || len(value) < 21 {
		return r, fmt.Errorf("a receipt of %d and %d bytes", len(key), len(value))
	}
	copy(r.Identity[:], key[9:])
	flags := value[0]
	has := func(bit int) bool { return flags>>bit&1 == 1 }
	r.State, r.Repeats, r.Attempt = dedupe.State(flags&7), has(flagRepeats), 1
	r.KeyHash = binary.LittleEndian.Uint64(value[1:9])
	r.Digest = binary.LittleEndian.Uint64(value[9:17])
	r.At = binary.LittleEndian.Uint32(value[17:21])
	rest := value[21:]
	origin, n := binary.Varint(rest)
	bad := n <= 0
	r.Origin, rest = origin, rest[max(n, 0):]
	number := func() uint32 {
		v, n := binary.Uvarint(rest)
		bad = bad || n <= 0 || v>>32 != 0
		rest = rest[max(n, 0):]
		return uint32(v)
	}
	if has(flagHop) {
		r.Hop = number()
	}
	if has(flagGen) {
		r.Gen = number()
	}
	if has(flagAttempt) {
		r.Attempt = number()
	}
	if has(flagCode) {
		if bad = bad || len(rest) == 0; !bad {
			r.Code, rest = job.Code(rest[0]), rest[1:]
		}
	}
	if bad {
		return r, fmt.Errorf("the receipt of %v does not decode", r.Identity)
	}
	if len(rest) > 0 {
		r.Result = slices.Clone(rest)
	}
	return r, nil
}
