package consumer

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// anew lets tasks go that this instance goes on having, and owns them from scratch: their receipt log is another, or lost
// its end, so what they remember is not in it. Running attempts are cancelled; what is settled is written to the log that is
// there now.
func (c *Consumer) anew(ctx context.Context, hs []*handle) {
	c.mu.Lock()
	mine := hs[:0]
	for _, h := range hs {
		if c.handles[h.key] == h && !c.stopping { // else whoever took it out lets it go
			delete(c.handles, h.key)
			mine = append(mine, h)
		}
	}
	c.mu.Unlock()
	if len(mine) == 0 {
		return
	}
	c.letGo(mine)
	end := time.Now().Add(cancelGrace)
	for _, h := range mine { // no key of theirs runs twice, for handlers that return when cancelled
		for !c.idle(h) && time.Now().Before(end) && sleep(ctx, tryAgain/10) {
			continue
		}
	}
	c.fetch.release(partsOf(mine))
	c.poller.barrier()
	if sleep(ctx, tryAgain) { // whatever is wrong with the log, this does not become a loop
		c.again(mine)
		c.log.Warn("owned anew", zap.Int("tasks", len(mine)))
	}
}

// letGo abandons tasks at once.
func (c *Consumer) letGo(hs []*handle) {
	for _, h := range hs {
		h.stopped.Store(true)
		h.gone.Store(true)
		h.attempts.Load().cancel()
		c.owners.letGo(h)
		c.commits.Release(h.parts...)
		h.shard.post(h, func(m *task.Machine, now int64) { m.Abandon(now); h.shard.finish(h) })
		c.suspects.letGo(h)
	}
}

func (c *Consumer) idle(h *handle) (idle bool) {
	idle = true
	h.shard.ask(h, func(m *task.Machine, _ int64) { idle = m.Idle() })
	return idle
}
