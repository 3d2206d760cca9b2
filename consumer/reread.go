package consumer

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/internal/partition"
)

// What is read again of job topics lies in memory beside what the group's client fetches of them, so it is little: that many
// bytes at once, which become at most so many once they are decompressed and one batch, in so many tasks at a time.
const (
	rereadBytes   = 1 << 20
	rereadOpen    = 4 << 20
	rereadsAtOnce = 2
)

// reread reads what a machine has set aside of its job topic, and gives it all that one fetch brings: other records too, in the
// background, until that has succeeded or the task is let go. A topic made anew is not read: its id is another, and the watcher
// sees to the task.
func (c *Consumer) reread(h *handle, at task.Offset) {
	c.spawn(func(ctx context.Context) {
		r := partition.Reader{Client: c.writer, Topic: at.Topic, Partition: h.key.partition, ID: h.topic.id, Committed: true, Bytes: rereadBytes}
		for failures := 1; !h.gone.Load(); failures++ {
			err := c.rereadInTurn(ctx, h, &r, at.At)
			if err == nil || ctx.Err() != nil {
				return
			}
			c.watch.suspect(err)
			c.complain(fetchTrouble, at.Topic, err, zap.Int32("partition", h.key.partition))
			if !sleep(ctx, pause(failures)) {
				return
			}
		}
	})
}

// rereadInTurn reads when one of the few places is free, and gives it back between tries.
func (c *Consumer) rereadInTurn(ctx context.Context, h *handle, r *partition.Reader, at int64) error {
	return inTurn(ctx, c.rereads, func() error {
		r.Decompressor = &bounded{inner: c.inflater.inner, left: rereadOpen}
		return c.rereadOnce(ctx, h, r, at)
	})
}

func (c *Consumer) rereadOnce(ctx context.Context, h *handle, r *partition.Reader, at int64) error {
	got, next, err := r.Fetch(ctx, at)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		start, _, err := r.Bounds(ctx)
		if err == nil && start <= at {
			err = kerr.OffsetOutOfRange
		}
		if err != nil {
			return err
		}
		h.shard.ask(h, func(m *task.Machine, now int64) { m.Vanished(start, now) })
		return nil
	}
	if err != nil {
		return err
	}
	large := (*kgo.ErrDecompressTooLarge)(nil)
	if errors.As(got.Err, &large) && large.Offset <= next { // it was filed when it was first met
		next = max(next, large.NextOffset)
	} else if next <= at {
		return errors.Join(errNothingRead, got.Err)
	}
	h.shard.ask(h, func(m *task.Machine, now int64) { h.shard.readmit(m, at, got.Records, next, now) })
	return nil
}

// errNothingRead is about a fetch below the end of a partition that brought nothing.
var errNothingRead = errors.New("nothing could be read again")

// readmit gives a machine what was read again. It takes few of many, which must not keep the memory of the others: those it may take
// are copies.
func (s *shard) readmit(m *task.Machine, from int64, in []*kgo.Record, next, now int64) {
	for _, r := range in {
		if m.IsAside(r.Offset) {
			s.records = append(s.records, laidOut(apart(r)))
		} else {
			s.records = append(s.records, task.Record{Offset: r.Offset})
		}
	}
	m.Reread(from, s.records, next, now)
	s.took()
}

// bounded opens the batches of one fetch until they are large enough together. The client takes one that was left closed for
// damage, and hands over what stands before it.
type bounded struct {
	inner kgo.Decompressor // bounds one batch
	left  int
}

// Decompress implements kgo.Decompressor.
func (b *bounded) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if b.left <= 0 {
		return nil, errOpened
	}
	out, err := b.inner.Decompress(src, codec)
	if codec != kgo.CodecNone {
		b.left -= len(out)
	}
	return out, err
}
