package consumer

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// newsEvery is how often the ends of the receipt logs are looked at. What others write there, an operator's order to forget
// a job above all, is heard within that time by a task that has nothing to write itself.
const newsEvery = 5 * time.Second

// news tells every machine how far its log goes.
func (c *Consumer) news(ctx context.Context) {
	for sleep(ctx, newsEvery) {
		if c.draining.Load() || !c.lease.valid() {
			continue
		}
		c.mu.Lock()
		hs := make([]*handle, 0, len(c.handles))
		logs := map[string]bool{}
		for _, h := range c.handles {
			hs = append(hs, h)
			logs[h.topic.receipts] = true
		}
		c.mu.Unlock()
		topics := make([]string, 0, len(logs))
		for name := range logs {
			topics = append(topics, name)
		}
		if len(topics) == 0 {
			continue
		}
		ends, err := c.adm.ListEndOffsets(ctx, topics...)
		if err != nil {
			c.complain("list offsets", topics[0], err)
		}
		for _, h := range hs {
			end, ok := ends.Lookup(h.topic.receipts, h.key.partition)
			switch {
			case !ok:
			case end.Err != nil:
				c.watch.suspect(end.Err)
				c.complain("list offsets", end.Topic, end.Err, zap.Int32("partition", end.Partition))
			default:
				h.shard.post(h, func(m *task.Machine, now int64) { m.LogEnd(end.Offset, now) })
			}
		}
	}
}
