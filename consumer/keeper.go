package consumer

import (
	"context"
	"errors"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
)

// errLookAgain sends an attempt back that has not begun.
var errLookAgain = errors.New("others wrote of the job before its attempt began")

// keeper makes progress of a handle's attempts durable: it waits while the shard has it written to the receipt log.
type keeper struct{ h *handle }

// Keep implements job.Keeper.
func (k keeper) Keep(ctx context.Context, m *job.Message, state []byte) error {
	return k.put(ctx, m, &task.Keep{Receipt: task.Progress(m, state)})
}

// Start implements job.Keeper.
func (k keeper) Start(ctx context.Context, m *job.Message) error {
	return k.put(ctx, m, &task.Keep{Receipt: task.StartMark(m), Mark: true})
}

func (k keeper) put(ctx context.Context, m *job.Message, keep *task.Keep) error {
	h := k.h.of(m)
	if h == nil { // let go
		<-ctx.Done()
		return ctx.Err()
	}
	answer := make(chan task.Kept, 1)
	keep.Answer = func(k task.Kept) { answer <- k }
	h.shard.post(h, func(m *task.Machine, now int64) { m.Keep(keep, now) })
	select {
	case k := <-answer:
		switch k {
		case task.Durable:
			return nil
		case task.LookAgain:
			return errLookAgain
		}
	case <-h.shard.end:
	case <-ctx.Done():
		return ctx.Err()
	}
	<-ctx.Done() // whoever lets a task go cancels its attempts, and a deadline they have too: it is no failure of the job
	return ctx.Err()
}

// of is the handle that a job of a batch belongs to: a batch runs under the context of its first.
func (h *handle) of(m *job.Message) *handle {
	c := h.shard.c
	key := taskKey{c.primaryOf(m.Topic), m.Partition}
	if key == h.key {
		return h
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.handles[key]
}
