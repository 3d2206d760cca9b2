package consumer

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/retrytopics"
)

// topic is a job topic and the engine topics that belong to it, as found at start.
type topic struct {
	name        string
	id          dedupe.TopicID
	defaultKind string
	spread      uint32 // so that partitions of several topics fall on different shards
	partitions  int32  // of the job topic
	layout      int32  // partitions that every engine topic has
	tiers       []tier // every tier ever made, read until drained
	targets     []task.Tier
	receipts    string
	letters     string
	letterParts atomic.Int32
}

type tier struct {
	name  string
	id    dedupe.TopicID
	delay time.Duration
}

func (t *topic) tier(name string) *tier {
	for i := range t.tiers {
		if t.tiers[i].name == name {
			return &t.tiers[i]
		}
	}
	return nil
}

// ids are those of the job topic and its tiers.
func (t *topic) ids() []dedupe.TopicID {
	out := []dedupe.TopicID{t.id}
	for i := range t.tiers {
		out = append(out, t.tiers[i].id)
	}
	return out
}

// all is every topic the group reads for this job topic.
func (t *topic) all() []string {
	out := []string{t.name}
	for i := range t.tiers {
		out = append(out, t.tiers[i].name)
	}
	return out
}

func itoa(n int) string { return strconv.Itoa(n) }

// owners maps partitions to the handle that reads them; reads are lock-free.
type owners struct{ sync.Map }

func (o *owners) letGo(h *handle) {
	for _, p := range h.parts {
		o.CompareAndDelete(p, h)
	}
}

// prepare checks, or makes, the topics and learns their ids.
func (c *Consumer) prepare(ctx context.Context) error {
	ever, err := c.setUp(ctx)
	if err != nil {
		return err
	}
	meta, err := c.adm.Metadata(ctx)
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	found := meta.Topics
	c.cluster = meta.Cluster
	for _, t := range c.cfg.topics() {
		made, err := c.topology(t, ever[t.Name], found)
		if err != nil {
			return err
		}
		c.topics[t.Name] = made
		for _, name := range made.all() {
			c.primary[name] = made.name
		}
	}
	for name, d := range found {
		if c.concerns(name) && d.Err == nil {
			c.setTopicID(name, d.ID)
		}
	}
	return c.sizes(ctx)
}

func (c *Consumer) topology(t Topic, ever []time.Duration, found kadm.TopicDetails) (*topic, error) {
	d := found[t.Name]
	if d.Err != nil || len(d.Partitions) == 0 {
		return nil, errors.Join(fmt.Errorf("topic %s is missing", t.Name), d.Err)
	}
	h := fnv.New32a()
	h.Write([]byte(t.Name))
	made := &topic{name: t.Name, id: dedupe.TopicID(d.ID), defaultKind: t.DefaultKind, spread: h.Sum32(),
		partitions: int32(len(d.Partitions)), layout: int32(len(d.Partitions)),
		receipts: retrytopics.ReceiptTopic(t.Name, c.cfg.Group), letters: retrytopics.DeadLetterTopic(t.Name, c.cfg.Group)}
	made.layout = min(made.layout, int32(len(found[made.receipts].Partitions)))
	made.letterParts.Store(int32(max(1, len(found[made.letters].Partitions))))
	for _, delay := range c.plan.Tiers() {
		made.targets = append(made.targets, task.Tier{Topic: retrytopics.TierTopic(t.Name, c.cfg.Group, delay), Delay: delay})
	}
	for _, delay := range mergeTiers(c.plan.Tiers(), ever) {
		name := retrytopics.TierTopic(t.Name, c.cfg.Group, delay)
		td, ok := found[name]
		if !ok { // a tier of old whose topic was deleted once it was drained
			continue
		}
		made.tiers = append(made.tiers, tier{name, dedupe.TopicID(td.ID), delay})
		made.layout = min(made.layout, int32(len(td.Partitions)))
	}
	return made, nil
}

func mergeTiers(a, b []time.Duration) (out []time.Duration) {
	seen := map[time.Duration]bool{}
	for _, d := range append(append(out, a...), b...) {
		if !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}

// concerns reports whether a topic is one of the group's.
func (c *Consumer) concerns(name string) bool {
	switch name {
	case retrytopics.AuditTopic(c.cfg.Group), retrytopics.ControlTopic(c.cfg.Group), retrytopics.StatusTopic(c.cfg.Group):
		return true
	}
	for _, t := range c.topics {
		if name == t.receipts || name == t.letters {
			return true
		}
	}
	return c.primary[name] != ""
}

// sizes learns how large a batch each topic takes.
func (c *Consumer) sizes(ctx context.Context) error {
	var names []string
	for _, t := range c.topics {
		names = append(append(names, t.receipts, t.letters), t.all()...)
	}
	configs, err := c.adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return fmt.Errorf("describe topics: %w", err)
	}
	for _, rc := range configs {
		for _, kv := range rc.Configs {
			if n, err := strconv.ParseInt(kv.MaybeValue(), 10, 32); kv.Key == "max.message.bytes" && err == nil {
				c.maxBytes[rc.Name] = int32(n)
			}
		}
	}
	return nil
}

// primaryOf is the job topic that a topic belongs to. Tiers are recognised by the shape of their names, not by the
// configuration: during a rolling deploy the leader of the group may be an older instance that never heard of a new tier.
func (c *Consumer) primaryOf(name string) string {
	if t, ok := c.primary[name]; ok {
		return t
	}
	for t := range c.topics {
		if _, ok := retrytopics.TierOf(name, t, c.cfg.Group); ok {
			return t
		}
	}
	return name
}
