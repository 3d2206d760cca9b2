package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/internal/setup"
)

// setUp checks the group's topics, makes them if the configuration says so, and returns the tiers each ever had.
func (c *Consumer) setUp(ctx context.Context) (ever map[string][]time.Duration, err error) {
	opts := append(append([]kgo.Opt{}, c.base...), c.cfg.Opts...)
	want := setup.Want{Group: c.cfg.Group, Tiers: c.cfg.Tiers, Window: c.cfg.Window}
	for _, t := range c.cfg.topics() {
		w := setup.TopicWant{Name: t.Name, Replication: c.cfg.Replication}
		if c.cfg.Setup == Create {
			w.Partitions = c.cfg.Partitions
		}
		want.Topics = append(want.Topics, w)
	}
	report, err := setup.Plan(ctx, c.adm, opts, want)
	if err != nil {
		return nil, err
	}
	if c.cfg.Setup == Create || report.Err() == nil { // then only the layout may be new
		err := setup.Apply(ctx, c.adm, opts, report)
		if errors.Is(err, setup.ErrChanged) { // a job topic was made just now: once more, by what it is
			if report, err = setup.Plan(ctx, c.adm, opts, want); err == nil {
				err = setup.Apply(ctx, c.adm, opts, report)
			}
		}
		if err != nil {
			return nil, err
		}
		if report, err = setup.Plan(ctx, c.adm, opts, want); err != nil {
			return nil, err
		}
	}
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("the topics of group %s are not as they must be:\n%w", c.cfg.Group, err)
	}
	for _, w := range report.Changes {
		c.log.Warn("setup", zap.String("topic", w.Topic), zap.String("text", w.Text))
	}
	ever = map[string][]time.Duration{}
	for name := range report.Layout.Topics {
		ever[name] = report.Layout.Tiers(name)
	}
	return ever, nil
}
