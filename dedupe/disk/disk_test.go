package disk

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/dedupetest"
	"github.com/waybill-dev/waybill/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustOpen(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func keyNumber(n int) Key {
	return Key{Job: dedupe.TopicID{byte(n), byte(n >> 8)}, Log: dedupe.TopicID{1}, Partition: int32(n)}
}

// flushing is a store that writes everything it was given before it answers: nothing it says comes from memory.
type flushing struct {
	dedupe.Store
	db *DB
	t  *testing.T
}

func (f flushing) Apply(e *dedupe.Entry) error {
	err := f.Store.Apply(e)
	if ferr := f.db.Flush(context.Background()); ferr != nil {
		f.t.Error(ferr)
	}
	return err
}

func TestConforms(t *testing.T) {
	for _, c := range []struct {
		name    string
		flushAt int
		flush   bool
	}{{"in memory", 1 << 20, false}, {"written now and then", 3, false}, {"written at once", 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			db := mustOpen(t, Config{Dir: "db", FlushAt: c.flushAt, MergeAt: 6, Crowd: 1, fs: vfs.NewMem()})
			n := 0
			dedupetest.Run(t, func(t *testing.T) dedupe.Store {
				n++
				s := db.Task(keyNumber(n)) // all tasks share the segments
				if c.flush {
					return flushing{s, db, t}
				}
				return s
			})
			if err := db.Failed(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", db.Stats())
		})
	}
}

func identityOf(n int) job.Identity { return job.IdentityOf("k", nil, fmt.Sprint(n)) }

var noon = time.Unix(1_750_000_000, 0)

// A job is known at every moment while it moves from memory to disk, and while segments become one.
func TestKnownWhileItMoves(t *testing.T) {
	db := mustOpen(t, Config{Dir: "db", FlushAt: 1 << 20, MergeAt: 64, Crowd: 1, fs: vfs.NewMem()})
	s := db.Task(keyNumber(1))
	for i := range 1000 {
		apply(t, s, int64(i), noon, i, i+1)
		flushed := make(chan error, 1)
		go func() { flushed <- db.Flush(t.Context()) }()
		for done := false; !done; {
			select {
			case err := <-flushed:
				if done = true; err != nil {
					t.Fatal(err)
				}
			default:
			}
			if _, ok := s.Get(identityOf(i)); !ok {
				t.Fatalf("job %d is not known", i)
			}
			if _, ok := s.Get(identityOf(i / 2)); !ok {
				t.Fatalf("job %d is not known while %d is written", i/2, i)
			}
		}
	}
}

// A job that is forgotten and done again in one entry is known, also when the freeze of its table has begun at that moment.
func TestForgottenAndDoneAgain(t *testing.T) {
	db := mustOpen(t, Config{Dir: "db", fs: vfs.NewMem()})
	s := db.Task(keyNumber(1))
	apply(t, s, 0, noon, 0, 10)
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	apply(t, s, 1, noon, 10, 20) // for a flush to be due
	task, id, was := db.tasks[keyNumber(1)], identityOf(5), db.round.Load()
	task.mu.Lock() // as Apply does
	db.urgent()
	for db.round.Load() == was && db.Failed() == nil {
		runtime.Gosched()
	}
	active := task.view.Load().active
	task.forgetJob(active, &id)
	task.join(active, []dedupe.Receipt{{Identity: id, State: dedupe.Done, Attempt: 1, Origin: 5}}, dedupe.BucketOf(noon, db.cfg.Bucket), dedupe.Stamp(noon))
	task.mu.Unlock()
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	knows(t, s, 0, 20, 30)
}
