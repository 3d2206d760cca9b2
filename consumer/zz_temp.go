package consumer

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/retrytopics"
)

func (c *Consumer) setUp(ctx context.Context) (map[string][]time.Duration, error) {
	for _, t := range c.cfg.topics() {
		c.adm.CreateTopic(ctx, int32(c.cfg.Partitions), -1, nil, t.Name)
		for _, e := range retrytopics.EngineTopics(t.Name, c.cfg.Group, c.cfg.Tiers) {
			c.adm.CreateTopic(ctx, int32(c.cfg.Partitions), -1, nil, e)
		}
	}
	c.adm.CreateTopic(ctx, 1, -1, nil, retrytopics.AuditTopic(c.cfg.Group))
	return nil, nil
}
