package consumer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
)

// taskKey names a task: a partition of a job topic.
type taskKey struct {
	topic     string
	partition int32
}

// lineBytes is what two cores cannot write to at once, twice over since lines are fetched in pairs.
const lineBytes = 128

// handle is one ownership of one task: its machine, and what other goroutines may know of it.
type handle struct {
	key    taskKey
	topic  *topic
	shard  *shard
	member string // of the group, when the task was assigned

	m *task.Machine // the shard's alone

	shelf *shelf // nil: its receipts are in memory alone

	_        [lineBytes]byte // what workers ask before each job lies apart from what the shard writes after each batch
	attempts atomic.Pointer[attempts]
	turn     atomic.Uint32 // the machine's: what was offered before does not start any more
	stopped  atomic.Bool   // no attempt starts any more
	gone     atomic.Bool   // let go: nothing more is asked for it
	_        [lineBytes]byte

	drained chan struct{}      // closed by the shard when the machine said Drained
	ownedAt time.Time          // the shard's: when the ownership record was acked
	owns    int                // the shard's: ownership records refused in a row
	leased  bool               // the shard's: what the machine was last told
	done    bool               // the shard's: drained is closed
	parts   []commit.Partition // guarded by Consumer.mu
	load    load
	answers answers
	mute    map[string]bool // guarded by Consumer.mu: topics in which nothing is committed
}

func (h *handle) name() string { return h.key.topic + "/" + itoa(int(h.key.partition)) }

// answers is how writes ended, on their way to the machine. A produce request brings hundreds of them one by one: they go
// together, and the shard looks at the task once for all.
type answers struct {
	mu   sync.Mutex
	list []task.Answer

	spare []task.Answer // the shard's
}

// answer tells the machine how a write ended. Any goroutine may call it.
func (h *handle) answer(w *task.Write, res task.WriteResult) {
	a := &h.answers
	a.mu.Lock()
	a.list = append(a.list, task.Answer{Write: w, Result: res})
	first := len(a.list) == 1
	a.mu.Unlock()
	if first { // else an input that takes them all is on its way
		h.shard.post(h, h.answered)
	}
}

func (h *handle) answered(m *task.Machine, now int64) {
	a := &h.answers
	a.mu.Lock()
	list := a.list
	a.list = a.spare
	a.mu.Unlock()
	m.Written(list, now)
	clear(list)
	a.spare = list[:0]
}

// attempts is the context under which the attempts of a handle run; replaced when a lost lease comes back.
type attempts struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func newAttempts(h *handle) *attempts {
	ctx, cancel := context.WithCancel(job.WithKeeper(context.Background(), keeper{h}))
	return &attempts{ctx, cancel}
}

// gate is asked by the pools before each attempt.
func (c *Consumer) gate(e *task.Entry, now time.Time) (context.Context, bool) {
	h := e.Machine().Ref().(*handle)
	if h.stopped.Load() || h.turn.Load() != e.Turn() || !c.lease.validAt(now) {
		return nil, false
	}
	return h.attempts.Load().ctx, true
}

// maxChain is how many jobs of a hot key go to a worker at once, at most.
const maxChain = 1024
