package consumer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dedupe/disk"
)

func onDisk(dir string) func(*consumer.Config) {
	return func(cfg *consumer.Config) { cfg.Dir = dir }
}

// readFrom watches the lowest offset at which the receipt log of a partition is fetched.
func (r *rig) readFrom(partition int32) (lowest func() int64) {
	r.t.Helper()
	topics, err := r.admin.ListTopics(r.t.Context(), topicName+"."+groupName+".receipts")
	if err != nil {
		r.t.Fatal(err)
	}
	var id [16]byte
	for _, d := range topics {
		id = d.ID
	}
	var mu sync.Mutex
	low := int64(-1)
	r.cluster.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		for _, t := range kreq.(*kmsg.FetchRequest).Topics {
			for _, p := range t.Partitions {
				if mu.Lock(); t.TopicID == id && p.Partition == partition && (low < 0 || p.FetchOffset < low) {
					low = p.FetchOffset
				}
				mu.Unlock()
			}
		}
		return nil, nil, false
	})
	return func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return low
	}
}

// feed puts jobs from, from+1, ... to-1 of one partition.
func (r *rig) feed(from, to int) {
	for n := from; n < to; n++ {
		r.put(0, fmt.Sprint("job-", n), "x")
	}
	time.Sleep(settled)
}

// again puts all those jobs a second time: none may run.
func (r *rig) again(to int) {
	r.t.Helper()
	r.feed(0, to)
	r.expectRuns("job-", to)
}

func TestDiskReadsTheTailOnly(t *testing.T) {
	dir := t.TempDir()
	within(t, func(r *rig) {
		i := r.start("a", onDisk(dir))
		r.feed(0, 20)
		i.clean()
		end := int64(len(r.values(topicName + "." + groupName + ".receipts")))
		lowest := r.readFrom(0)
		i = r.start("a", onDisk(dir))
		r.again(20)
		if low := lowest(); low < 1 || low > end {
			t.Errorf("the log was read from offset %d on, of %d records", low, end)
		}
		r.feed(20, 30)
		r.again(30)
		i.clean()
	})
}

// A process that is killed has written nothing of what it held in memory: the log has it.
func TestDiskAfterAKill(t *testing.T) {
	dir, image := t.TempDir(), filepath.Join(t.TempDir(), "image")
	within(t, func(r *rig) {
		i := r.start("a", onDisk(dir))
		r.feed(0, 10)
		i.clean()
		i = r.start("a", onDisk(dir))
		r.feed(10, 30)
		if err := os.CopyFS(image, os.DirFS(dir)); err != nil { // what a kill leaves
			t.Fatal(err)
		}
		i.clean()
		lowest := r.readFrom(0)
		i = r.start("b", onDisk(image))
		r.again(30)
		if low := lowest(); low < 1 {
			t.Errorf("the log was read from offset %d on", low)
		}
		i.clean()
	})
}

// A task that goes to another instance and comes back is read from where it left.
func TestDiskKeepsWhatWentElsewhere(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	within(t, func(r *rig) {
		a := r.start("a", onDisk(dirs[0]))
		r.feed(0, 20)
		b := r.start("b", onDisk(dirs[1]))
		r.again(20)
		a.clean()
		time.Sleep(settled)
		r.feed(20, 40)
		lowest := r.readFrom(0)
		a = r.start("a", onDisk(dirs[0]))
		b.clean()
		time.Sleep(settled)
		r.again(40)
		if low := lowest(); low < 1 {
			t.Errorf("the log was read from offset %d on", low)
		}
		a.clean()
	})
}

// Damage is found when it is read; the receipts are read from the log again, and nothing runs twice.
func TestDiskDamaged(t *testing.T) {
	for _, at := range []int{60, 200, 400, 700, 1000, -60} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			dir := t.TempDir()
			within(t, func(r *rig) {
				i := r.start("a", onDisk(dir))
				r.feed(0, 30)
				i.clean()
				paths, _ := filepath.Glob(filepath.Join(dir, "receipts-*", "*.sst"))
				for _, p := range paths {
					b, err := os.ReadFile(p)
					if err != nil {
						t.Fatal(err)
					}
					b[(at+len(b))%len(b)] ^= 0x40
					if err := os.WriteFile(p, b, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				i = r.start("a", onDisk(dir))
				r.again(30)
				r.feed(30, 40)
				r.expectRuns("job-", 40)
				i.clean()
				if aside, _ := filepath.Glob(filepath.Join(dir, "aside-*", "REASON")); len(aside) != 1 {
					t.Errorf("moved aside: %v; logged: %v", aside, i.logged("store"))
				}
				i = r.start("a", onDisk(dir))
				r.again(40)
				i.clean()
			})
		})
	}
}

// A receipt log made anew is another log: what the disk has of the old one is not used.
func TestDiskOfAnotherLog(t *testing.T) {
	dir := t.TempDir()
	within(t, func(r *rig) {
		i := r.start("a", onDisk(dir))
		r.feed(0, 10)
		i.clean()
		topic := topicName + "." + groupName + ".receipts"
		if _, err := r.admin.DeleteTopics(r.t.Context(), topic); err != nil {
			t.Fatal(err)
		}
		i = r.start("a", onDisk(dir))
		r.feed(10, 20)
		r.expectRuns("job-", 20)
		r.feed(10, 20)
		r.expectRuns("job-", 20)
		i.clean()
	}, kfake.DefaultNumPartitions(4))
}

func TestDiskInUse(t *testing.T) {
	dir := t.TempDir()
	within(t, func(r *rig) {
		a := r.start("a", onDisk(dir))
		b := r.launch("b", onDisk(dir))
		if err := <-b.done; !errors.Is(err, disk.ErrInUse) || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v", err)
		}
		r.feed(0, 3)
		r.expectRuns("job-", 3)
		a.clean()
	})
}

// storage is what the tasks' sources are paused for by reason storage, and whether all are.
func (i *instance) storage() (said []string, all bool) {
	all = true
	for _, task := range i.tasks() {
		for _, s := range task.Sources {
			n := len(said)
			for _, p := range s.Pauses {
				if p.Reason.String() == "storage" {
					said = append(said, p.Text)
				}
			}
			all = all && len(said) > n
		}
	}
	return said, all && len(said) > 0
}

// While the disk is full the tasks are paused and say what to do; they go on by themselves when there is room, and no job
// runs twice.
func TestDiskFull(t *testing.T) {
	const plenty = 1 << 40
	var free atomic.Uint64
	full := func(dir string) func(*consumer.Config) {
		return func(cfg *consumer.Config) {
			cfg.Dir = dir
			*cfg = consumer.WithDisk(*cfg, func(d *disk.Config) {
				d.FlushAt, d.Free = 5, func(string) (uint64, error) { return free.Load(), nil }
			})
		}
	}
	for _, c := range []struct {
		name   string
		before uint64 // room at the start
		ran    int    // of 20 jobs, while there is room
	}{{"at the start", 0, 0}, {"later", plenty, 20}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			within(t, func(r *rig) {
				free.Store(c.before)
				i := r.start("a", full(dir))
				r.feed(0, 20)
				r.expectRuns("job-", c.ran)
				free.Store(0)
				r.feed(20, 30) // may run: it is what makes a flush due
				ran := len(r.attempts("job-"))
				r.feed(30, 50)
				r.expectRuns("job-", ran)
				said, all := i.storage()
				if !all || !strings.Contains(said[0], "make room") || !strings.Contains(said[0], dir) {
					t.Errorf("paused: %v, %q", all, said)
				}
				free.Store(plenty)
				time.Sleep(settled)
				r.again(50)
				if said, _ := i.storage(); len(said) > 0 {
					t.Errorf("with room: %q", said)
				}
				i.clean()
				i = r.start("a", full(dir))
				r.again(50)
				i.clean()
			})
		})
	}
}

// An instance that is stopped while the disk is full loses nothing: the next one reads the tail of the log.
func TestDiskStoppedWhileFull(t *testing.T) {
	dir := t.TempDir()
	within(t, func(r *rig) {
		var free atomic.Uint64
		free.Store(1 << 40)
		i := r.start("a", onDisk(dir), func(cfg *consumer.Config) {
			*cfg = consumer.WithDisk(*cfg, func(d *disk.Config) {
				d.FlushAt, d.Free = 5, func(string) (uint64, error) { return free.Load(), nil }
			})
		})
		r.feed(0, 20)
		free.Store(0)
		r.feed(20, 30)
		i.clean()
		i = r.start("a", onDisk(dir))
		r.again(30)
		i.clean()
	})
}
