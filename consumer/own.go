package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/disk"
)

// A failed step of an ownership is repeated after tryAgain, then after twice that, and so on up to tryAgainMost: what is
// refused for want of a right is refused for hours.
const (
	tryAgain     = 250 * time.Millisecond
	tryAgainMost = 5 * time.Second
)

// pause is how long to wait after so many failures in a row.
func pause(failures int) time.Duration {
	return min(tryAgain<<min(max(failures, 1)-1, 10), tryAgainMost)
}

// own writes the ownership record of a task; the offset at which it lands is the epoch. Without a lease it waits: an instance
// that the group may have expired must not take a task from the one that has it now.
func (c *Consumer) own(h *handle) {
	if !c.lease.valid() {
		c.lease.doubt()
		c.ownLater(h)
		return
	}
	member, generation := c.group.GroupMetadata()
	owner := dedupe.Owner{Instance: c.cfg.Instance, Process: c.process, Member: member, Group: c.cfg.Group, Generation: generation,
		Intake: task.DefaultLimits.Intake()}
	of := dedupe.Place{Cluster: c.cluster, Topic: h.topic.id}
	r := &kgo.Record{Topic: h.topic.receipts, Partition: h.key.partition, Value: dedupe.AppendOwner(nil, &owner),
		Headers: []kgo.RecordHeader{{Key: dedupe.PlaceHeader, Value: dedupe.AppendPlace(nil, of)}}}
	c.writer.Produce(c.writing, r, func(r *kgo.Record, err error) {
		seen := time.Now()
		if err != nil {
			c.watch.suspect(err)
			c.complain("ownership record", r.Topic, err, zap.Int32("partition", r.Partition))
			h.shard.post(h, func(*task.Machine, int64) { c.ownLater(h) })
			return
		}
		offset := r.Offset
		h.shard.post(h, func(m *task.Machine, now int64) { h.ownedAt, h.owns = seen, 0; m.Owned(offset, now) })
	})
}

// ownLater tries again after a while, if the task is still to be owned then. Only its shard calls it.
func (c *Consumer) ownLater(h *handle) {
	h.owns++
	c.later(pause(h.owns), func() {
		h.shard.post(h, func(m *task.Machine, _ int64) {
			if m.Owning() {
				c.own(h)
			}
		})
	})
}

// read feeds a span of the log to a machine, in the background, a few tasks at a time. restoring says that the machine asks its store for
// nothing until then.
func (c *Consumer) read(h *handle, span task.Span, restoring bool) {
	c.spawn(func(ctx context.Context) {
		for failures := 1; !h.gone.Load(); failures++ {
			err := c.readInTurn(ctx, h, span, restoring)
			if err == nil || ctx.Err() != nil {
				return
			}
			if errors.Is(err, dedupe.ErrRecreated) || errors.Is(err, dedupe.ErrTruncated) {
				c.log.Error("the receipt log was deleted and made anew, or lost its end: receipts are lost, jobs that are sent again may run again. The task is owned anew", zap.String("task", h.name()), zap.Error(err))
				c.watch.look()
				c.vault.forget(h)
				c.anew(ctx, []*handle{h})
				return
			}
			if errors.Is(err, disk.ErrDiverged) {
				c.log.Warn("what the disk remembers of a task is not in its receipt log: it lost its end and went on. The task is owned anew, and its log read from the beginning", zap.String("task", h.name()))
				c.vault.forget(h)
				c.anew(ctx, []*handle{h})
				return
			}
			if hopeless(err) {
				c.log.Error("the receipt log cannot be read; the task stays paused (stopped)", zap.String("task", h.name()), zap.Error(err))
				text := fmt.Sprintf("the receipt log %s/%d cannot be read: %v. The task goes on when an operator has mended that and the instance is started again", h.topic.receipts, h.key.partition, err)
				h.shard.post(h, func(m *task.Machine, now int64) { m.HoldFor(task.Stopped, text, now) })
				return
			}
			c.watch.suspect(err)
			c.complain("restore", h.topic.receipts, err, zap.Int32("partition", h.key.partition))
			if !sleep(ctx, pause(failures)) {
				return
			}
		}
	})
}

// errStore is what a store said that could not take an entry.
var errStore = errors.New("the receipt store failed")

// hopeless reports whether reading the log again cannot help: only a newer program or an operator can.
func hopeless(err error) bool {
	var version *dedupe.VersionError
	return errors.As(err, &version) || errors.Is(err, dedupe.ErrMalformed) || errors.Is(err, errStore)
}

// readsAtOnce is how many logs are read at a time, and briefSpan how many offsets are few: those have as many places of their own.
const (
	readsAtOnce = 4
	briefSpan   = 256
)

// readInTurn reads when one of the few places is free, and gives it back between tries: a log whose leader is away must
// not keep the others' from being read. Nor must one that takes a minute keep a task from its work that has little to read.
func (c *Consumer) readInTurn(ctx context.Context, h *handle, span task.Span, restoring bool) error {
	places := c.restores
	if span.To >= 0 && span.To-span.From <= briefSpan {
		places = c.briefs
	}
	return inTurn(ctx, places, func() error { return c.readOnce(ctx, h, span, restoring) })
}

// inTurn reads when one of the places is free.
func inTurn(ctx context.Context, places chan struct{}, read func() error) error {
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
		return read()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Consumer) readOnce(ctx context.Context, h *handle, span task.Span, restoring bool) error {
	if span.To < 0 {
		ends, err := c.adm.ListEndOffsets(ctx, h.topic.receipts)
		if err != nil {
			return err
		}
		end, ok := ends.Lookup(h.topic.receipts, h.key.partition)
		if !ok || end.Err != nil {
			return errors.Join(errors.New("the end of the receipt log is not known"), end.Err)
		}
		span.To = end.Offset
	}
	from := span.From
	if h.shelf != nil && !h.shelf.verified {
		from = max(0, from-1) // the last entry that the disk has: is it still the one that is there?
	}
	f := feed{c: c, ctx: ctx, h: h, direct: restoring && h.shelf != nil}
	err := c.reader.Read(ctx, h.topic.receipts, h.key.partition, from, span.To, func(e *dedupe.Entry) error {
		if e.Owner != nil && e.Offset == span.To-1 && !h.ownedAt.IsZero() {
			c.clock.sample(e.Time, h.ownedAt)
		}
		return f.add(e)
	})
	if last := f.end(); err == nil {
		err = last
	}
	if err == nil {
		if h.shelf != nil {
			h.shelf.verified = true
		}
		h.shard.ask(h, func(m *task.Machine, now int64) { m.ReadDone(now) })
	}
	return err
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
