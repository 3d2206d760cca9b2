package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
)

const tryAgain = 250 * time.Millisecond // before a failed step of an ownership is repeated

// own writes the ownership record of a task; the offset at which it lands is the epoch.
func (c *Consumer) own(h *handle) {
	member, generation := c.group.GroupMetadata()
	owner := dedupe.Owner{Instance: c.cfg.Instance, Process: c.process, Member: member, Group: c.cfg.Group, Generation: generation,
		Intake: int64(task.DefaultLimits.Records)}
	r := &kgo.Record{Topic: h.topic.receipts, Partition: h.key.partition, Value: dedupe.AppendOwner(nil, &owner)}
	c.writer.Produce(c.writing, r, func(r *kgo.Record, err error) {
		seen := time.Now()
		if err != nil {
			c.watch.suspect(err)
			c.complain("ownership record", zap.String("topic", r.Topic), zap.Int32("partition", r.Partition), zap.Error(err))
			c.later(tryAgain, func() {
				h.shard.post(h, func(m *task.Machine, now int64) {
					if m.Owning() {
						c.own(h)
					}
				})
			})
			return
		}
		offset := r.Offset
		h.shard.post(h, func(m *task.Machine, now int64) { h.ownedAt = seen; m.Owned(offset, now) })
	})
}

// read feeds a span of the log to a machine, in the background, a few tasks at a time.
func (c *Consumer) read(h *handle, span task.Span) {
	c.spawn(func(ctx context.Context) {
		for !h.gone.Load() {
			err := c.readInTurn(ctx, h, span)
			if err == nil || ctx.Err() != nil {
				return
			}
			if errors.Is(err, dedupe.ErrRecreated) || errors.Is(err, dedupe.ErrTruncated) {
				c.log.Error("the receipt log was deleted and made anew, or lost its end: receipts are lost, jobs that are sent again may run again. The task is owned anew", zap.String("task", h.name()), zap.Error(err))
				c.watch.look()
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
			c.complain("restore", zap.String("task", h.name()), zap.Error(err))
			if !sleep(ctx, tryAgain) {
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

// readInTurn reads when one of the few places is free, and gives it back between tries: a log whose leader is away must
// not keep the others' from being read.
func (c *Consumer) readInTurn(ctx context.Context, h *handle, span task.Span) error {
	select {
	case c.restores <- struct{}{}:
		defer func() { <-c.restores }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return c.readOnce(ctx, h, span)
}

func (c *Consumer) readOnce(ctx context.Context, h *handle, span task.Span) error {
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
	var batch []*dedupe.Entry
	var failed error
	hand := func() {
		entries := batch
		batch = nil
		h.shard.ask(h, func(m *task.Machine, now int64) {
			if err := m.Entries(entries); err != nil {
				failed = fmt.Errorf("%w: %w", errStore, err)
			}
		})
	}
	err := c.reader.Read(ctx, h.topic.receipts, h.key.partition, span.From, span.To, func(e *dedupe.Entry) error {
		if e.Owner != nil && e.Offset == span.To-1 && !h.ownedAt.IsZero() {
			c.clock.sample(e.Time, h.ownedAt)
		}
		if batch = append(batch, e); len(batch) == 128 {
			hand()
		}
		return failed
	})
	if hand(); err == nil {
		err = failed
	}
	if err == nil {
		h.shard.ask(h, func(m *task.Machine, now int64) { m.ReadDone(now) })
	}
	return err
}

// prover proves membership for tasks that ask, and looks up where their partitions start: one heartbeat and one look at
// the cluster for all that wait.
type prover struct {
	c    *Consumer
	asks chan *handle
}

func (p *prover) ask(h *handle) {
	select {
	case p.asks <- h:
	default: // full: never block a shard
		p.c.spawn(func(ctx context.Context) {
			select {
			case p.asks <- h:
			case <-ctx.Done():
			}
		})
	}
}

func (p *prover) run(ctx context.Context) {
	var waiting []*handle
	for {
		if len(waiting) == 0 {
			select {
			case h := <-p.asks:
				waiting = append(waiting, h)
			case <-ctx.Done():
				return
			}
		}
		for more := true; more; {
			select {
			case h := <-p.asks:
				waiting = append(waiting, h)
			default:
				more = false
			}
		}
		waiting = p.prove(ctx, waiting)
		if len(waiting) > 0 && !sleep(ctx, tryAgain) {
			return
		}
	}
}

// prove returns the handles that must be proved again because the cluster did not answer.
func (p *prover) prove(ctx context.Context, hs []*handle) []*handle {
	live := hs[:0]
	for _, h := range hs {
		if !h.gone.Load() {
			live = append(live, h)
		}
	}
	if len(live) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	member, err := p.heartbeat(ctx)
	if err == nil && member == "" {
		for _, h := range live {
			h.shard.post(h, func(m *task.Machine, now int64) { m.Proved(false, nil, now) })
		}
		return nil
	}
	var at places
	if err == nil {
		at, err = p.c.places(ctx, live)
	}
	if err != nil {
		p.c.complain("membership proof", zap.Error(err))
		return live
	}
	for _, h := range live {
		starts, mine := p.c.starts(&at, h), h.member == member
		h.shard.post(h, func(m *task.Machine, now int64) { m.Proved(mine, starts, now) })
	}
	return nil
}

// heartbeat returns the member id under which the group accepts us, empty when it does not.
func (p *prover) heartbeat(ctx context.Context) (string, error) {
	member, generation := p.c.group.GroupMetadata()
	if member == "" || generation < 0 {
		return "", errors.New("not in the group at the moment")
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = p.c.cfg.Group, member, generation
	if p.c.cfg.StaticID != "" {
		req.InstanceID = &p.c.cfg.StaticID
	}
	resp, err := req.RequestWith(ctx, p.c.group)
	if err != nil {
		return "", err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case err == nil, errors.Is(err, kerr.RebalanceInProgress):
		return member, nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID):
		return "", nil
	default: // a generation just passed: look again
		return "", err
	}
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
