package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/disk"
	"github.com/waybill-dev/waybill/internal/inject"
)

// vault keeps the receipts of the tasks on disk, where Config.Dir says so: one database for the instance. A task waits
// (reason storage) while there is none. One that failed is closed, which moves it aside, and all tasks are owned anew: their
// receipts are read from the logs again.
type vault struct {
	c   *Consumer
	cfg disk.Config

	mu      sync.Mutex
	db      *disk.DB             // nil: not open, see text
	text    string               // why the tasks wait
	waiting map[*handle]struct{} // for db
	full    bool                 // the tasks were told that the disk is
}

// lookAtDisk is how often the vault looks whether the disk is full, has room again or can be opened again.
const lookAtDisk = 500 * time.Millisecond

const diskTrouble = "storage"

// shelf is one task's place in the vault. Its shard fills it before the machine asks for anything.
type shelf struct {
	dedupe.Store // an empty one until the task was placed
	db           *disk.DB
	key          disk.Key
	verified     bool // the reads': the log goes on where the disk remembers it to end
}

// newStore is where the machine of a task keeps its receipts; sh is nil when that is memory.
func (c *Consumer) newStore() (store dedupe.Store, sh *shelf) {
	memory := dedupe.NewMemory(c.bucket())
	if c.vault == nil {
		return memory, nil
	}
	sh = &shelf{Store: memory}
	return sh, sh
}

// bucket is the width of expiry buckets.
func (c *Consumer) bucket() time.Duration { return c.cfg.Window / 8 }

// open opens the database. It returns an error only when nothing but a person can help; while the disk is full or does not
// answer, the tasks wait and run tries again.
func (v *vault) open(ctx context.Context) error {
	c := v.c
	v.cfg = disk.Config{Dir: c.cfg.Dir, Cluster: c.cluster, Bucket: c.bucket(), Turn: c.turns, Logger: c.log.Named("disk")}
	if c.cfg.disk != nil {
		c.cfg.disk(&v.cfg)
	}
	inject.Disk(ctx, &v.cfg)
	err := v.try()
	if errors.Is(err, disk.ErrInUse) {
		return fmt.Errorf("Dir: %w", err)
	}
	return nil
}

// try opens the database if there is none, and hands it to the tasks that wait.
func (v *vault) try() error {
	db, err := disk.Open(v.cfg)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.text = fmt.Sprintf("the receipts cannot be kept in Config.Dir: %v. It is tried again; make room, or mend what it says", err)
		v.c.complain(diskTrouble, v.cfg.Dir, err)
		return err
	}
	v.db, v.text = db, ""
	for h := range v.waiting {
		h.shard.post(h, func(m *task.Machine, now int64) { v.c.assign(h, m, now) })
	}
	clear(v.waiting)
	return nil
}

// assign begins the ownership of a task, as soon as its receipts have a place. Its shard calls it.
func (c *Consumer) assign(h *handle, m *task.Machine, now int64) {
	if h.shelf != nil && !m.Gone() {
		ready, text := c.vault.place(h)
		if m.Hold(task.Storage, false, now); text != "" {
			m.HoldFor(task.Storage, text, now)
		}
		if !ready {
			return
		}
	}
	m.Assign(now)
}

// place gives a task its store. ready is false while there is none: assign is called again then. text says why the task must
// not read.
func (v *vault) place(h *handle) (ready bool, text string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.db == nil {
		v.waiting[h] = struct{}{}
		return false, v.text
	}
	s := h.shelf
	s.key = disk.Key{Job: h.topic.id, Log: v.c.topicID(h.topic.receipts), Partition: h.key.partition}
	s.Store, s.db = v.db.Task(s.key), v.db
	if v.full {
		text = v.fullText()
	}
	return true, text
}

func (v *vault) fullText() string {
	return fmt.Sprintf("the disk of Config.Dir (%s) is full: make room there; it goes on by itself", v.cfg.Dir)
}

// forget drops what is kept of a task whose log is not the one it was.
func (v *vault) forget(h *handle) {
	if h.shelf != nil && h.shelf.db != nil {
		h.shelf.db.Forget(h.shelf.key)
	}
}

// failed reports whether what the machine of h decided may rest on receipts that could not be read.
func (h *handle) failed() bool {
	return h.shelf != nil && h.shelf.db != nil && h.shelf.db.Failed() != nil
}

// run watches the database until the instance ends.
func (v *vault) run(ctx context.Context) {
	for sleep(ctx, lookAtDisk) {
		v.mu.Lock()
		db := v.db
		v.mu.Unlock()
		switch {
		case db == nil:
			_ = v.try() // the error is in the status
		case db.Failed() != nil:
			v.begin(ctx, db)
		default:
			v.tell(db.Full())
		}
	}
}

// begin takes a failed database out of service and begins again: every task is owned anew.
func (v *vault) begin(ctx context.Context, db *disk.DB) {
	c := v.c
	err := db.Failed()
	c.complain(diskTrouble, v.cfg.Dir, err)
	v.mu.Lock()
	v.db, v.full = nil, false
	v.text = fmt.Sprintf("the receipts kept in Config.Dir could not be read (%v): they are moved aside and read from the log again", err)
	v.mu.Unlock()
	c.mu.Lock()
	hs := make([]*handle, 0, len(c.handles))
	for _, h := range c.handles {
		hs = append(hs, h)
	}
	c.mu.Unlock()
	c.anew(ctx, hs)
	if err := db.Close(); err != nil {
		c.log.Error("the receipt store that failed cannot be put away", zap.Error(err))
	}
	_ = v.try()
}

// tell pauses the tasks while the disk is full. What runs may end: its receipts have room in memory.
func (v *vault) tell(full bool) {
	c := v.c
	if full {
		c.complain(diskTrouble, v.cfg.Dir, disk.ErrFull)
	}
	v.mu.Lock()
	news := full != v.full
	v.full = full
	v.mu.Unlock()
	if !news {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.handles {
		h.shard.post(h, func(m *task.Machine, now int64) {
			if !full {
				m.Hold(task.Storage, false, now)
				return
			}
			m.HoldFor(task.Storage, v.fullText(), now)
		})
	}
}

// close gives the directory back. The shards have ended, and run too.
func (v *vault) close() {
	if v.db == nil {
		return
	}
	if err := v.db.Close(); err != nil { // a cache: what it lacks is read from the log again
		v.c.log.Error("the receipt store did not close", zap.Error(err))
	}
}
