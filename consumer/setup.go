package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/internal/setup"
)

// setUp checks the group's topics, makes them if the configuration says so, and returns the tiers each ever had.
func (c *Consumer) setUp(ctx context.Context) (ever map[string][]time.Duration, err error) {
	opts := append(append([]kgo.Opt{}, c.base...), c.cfg.Opts...)
	want := c.want()
	if err := c.permitted(ctx, want, nil); err != nil {
		return nil, err
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
	ever = map[string][]time.Duration{}
	for name := range report.Layout.Topics {
		ever[name] = report.Layout.Tiers(name)
	}
	if err := c.permitted(ctx, want, ever); err != nil { // of what was made just now, and of tiers of old
		return nil, err
	}
	for _, w := range report.Changes {
		c.log.Warn("setup", zap.String("topic", w.Topic), zap.String("text", w.Text))
	}
	return ever, nil
}

// want is what the configuration asks of the cluster; of the topics named, or of all.
func (c *Consumer) want(names ...string) setup.Want {
	want := setup.Want{Group: c.cfg.Group, Tiers: c.cfg.Tiers, Window: c.cfg.Window}
	for _, t := range c.cfg.topics() {
		if len(names) > 0 && !slices.Contains(names, t.Name) {
			continue
		}
		w := setup.TopicWant{Name: t.Name, Replication: c.cfg.Replication}
		if c.cfg.Setup == Create {
			w.Partitions = c.cfg.Partitions
		}
		want.Topics = append(want.Topics, w)
	}
	return want
}

// rights are what this instance needs for one job topic.
func (c *Consumer) rights(name string) []setup.Right {
	ever := map[string][]time.Duration{}
	if t := c.topics[name]; t != nil {
		for i := range t.tiers {
			ever[name] = append(ever[name], t.tiers[i].delay)
		}
	}
	return setup.Rights(setup.Worker, c.want(name), ever)
}

// permitted refuses to start without the rights that a worker needs, all named at once, and says what is lost without the
// others. A producer id is asked for here too: the writing client would never recover from the refusal of its first one.
func (c *Consumer) permitted(ctx context.Context, want setup.Want, ever map[string][]time.Duration) error {
	spare, err := setup.Probe(ctx, c.writer, setup.Rights(setup.Worker, want, ever))
	if err != nil || ever == nil {
		return err
	}
	for _, r := range spare {
		c.log.Warn("a right is missing", zap.Stringer("right", r), zap.String("text", r.For))
	}
	_, _, err = c.writer.ProducerID(ctx)
	return err
}
