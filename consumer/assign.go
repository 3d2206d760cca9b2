package consumer

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
)

// onAssigned takes partitions over. It returns at once, since a slow callback gets a member kicked: everything begins
// paused, and each task starts when its machine says so.
func (c *Consumer) onAssigned(ctx context.Context, cl *kgo.Client, added map[string][]int32) {
	<-c.wired
	// A topic that was purged and added again (watcher.adopt) before the group rebalanced comes back without having gone: what
	// was read of the old one is let go here, as it is where the client says so.
	c.onRevoked(ctx, cl, c.stillHeld(added))
	cl.PauseFetchPartitions(added)
	member, generation := cl.GroupMetadata()
	c.lease.begin(member)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping { // they stay paused until the group is left
		return
	}
	c.joined.Store(true)
	for topic, partitions := range added {
		for _, p := range partitions {
			at := commit.Partition{Topic: topic, Partition: p}
			c.assigned[at] = member
			c.fetch.hold(at)
		}
	}
	for topic, partitions := range added {
		t := c.topics[c.primaryOf(topic)]
		if t == nil { // a leader of another configuration dealt out what we never asked for: paused is right
			c.log.Error("assigned partitions of a topic that is not read here; they stay paused", zap.String("topic", topic))
			continue
		}
		for _, p := range partitions {
			c.begin(t, p, topic, member)
		}
	}
	if c.cfg.StaticID != "" && !c.rebalanced {
		// The broker hands a returning static member its old partitions and asks nobody to plan, so a changed subscription
		// would go unseen.
		c.rebalanced = true
		cl.ForceRebalance()
	}
	c.share()
	c.log.Info("assigned", zap.Int("tasks", len(c.handles)), zap.Int32("generation", generation), zap.Any("added", added))
}

// stillHeld are those of the partitions that nobody has revoked.
func (c *Consumer) stillHeld(partitions map[string][]int32) map[string][]int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := map[string][]int32{}
	for topic, ps := range partitions {
		for _, p := range ps {
			if _, ok := c.assigned[commit.Partition{Topic: topic, Partition: p}]; ok {
				held[topic] = append(held[topic], p)
			}
		}
	}
	return held
}

// begin starts the task of an assigned partition, or adds the partition of a tier to a task that runs. The caller holds c.mu.
func (c *Consumer) begin(t *topic, p int32, topicName, member string) {
	key := taskKey{t.name, p}
	if h := c.handles[key]; h != nil {
		if topicName != t.name {
			c.join(h, topicName)
		}
		return
	}
	if c.assigned[commit.Partition{Topic: t.name, Partition: p}] == "" {
		return // the partition of the job topic comes later
	}
	h := c.newHandle(t, key, member)
	c.handles[key] = h
	c.claim(h, t.name)
	for i := range t.tiers {
		if c.assigned[commit.Partition{Topic: t.tiers[i].name, Partition: p}] != "" {
			c.join(h, t.tiers[i].name)
		}
	}
	beyond := p >= t.layout
	if beyond { // its tiers or its receipt log have no such partition: it is never owned
		c.log.Error("the partition is not in the layout: its tiers or receipt log have fewer partitions; it stays paused (layout)",
			zap.String("topic", t.name), zap.Int32("partition", p), zap.Int32("layout", t.layout))
		c.watch.look()
	}
	h.shard.post(h, func(m *task.Machine, now int64) {
		h.shard.handles[h] = struct{}{}
		if beyond {
			m.HoldFor(task.Layout, layoutText(t.name, p+1, t.layout), now)
			return
		}
		c.assign(h, m, now)
	})
	c.watch.look() // at what is wrong with its topics
}

func (c *Consumer) newHandle(t *topic, key taskKey, member string) *handle {
	h := &handle{key: key, topic: t, member: member, drained: make(chan struct{}), leased: true,
		shard: c.shards[int(uint32(key.partition)+t.spread)%len(c.shards)]}
	h.attempts.Store(newAttempts(h))
	var store dedupe.Store
	store, h.shelf = c.newStore()
	h.m = task.New(task.Config{Topic: t.name, TopicID: t.id, Log: t.receipts, Cluster: c.cluster, Known: t.ids(), Partition: key.partition, Partitions: t.partitions,
		DefaultKind: t.defaultKind, Tiers: t.targets,
		Plan: c.plan, Kinds: c.kinds, Limits: c.limits(), ReadAhead: c.cfg.FetchWait + c.cfg.Tick, StartAtEnd: c.cfg.Start == Latest, KeepUnknown: c.cfg.KeepUnknown,
		Chain: maxChain, Store: store, Tally: h.shard.tally, Ref: h})
	return h
}

// join adds the partition of a tier to a task.
func (c *Consumer) join(h *handle, name string) {
	tier := h.topic.tier(name)
	if tier == nil {
		return
	}
	c.claim(h, name)
	id, delay := tier.id, tier.delay
	h.shard.post(h, func(m *task.Machine, now int64) { m.AddTier(name, id, delay, now) })
	c.watch.look() // at what is wrong with it
}

// claim notes that a partition belongs to a handle, for polls and commits.
func (c *Consumer) claim(h *handle, name string) {
	at := commit.Partition{Topic: name, Partition: h.key.partition}
	h.parts = append(h.parts, at)
	c.owners.Store(at, h)
	c.commits.Hold(at, h.member)
}

// handleOf is the task that reads a partition, nil when it is not ours.
func (c *Consumer) handleOf(topic string, partition int32) *handle {
	if h, ok := c.owners.Load(commit.Partition{Topic: topic, Partition: partition}); ok {
		return h.(*handle)
	}
	return nil
}

func (c *Consumer) commit(h *handle, o task.Offset) {
	c.commits.Set(commit.Partition{Topic: o.Topic, Partition: h.key.partition}, o.At, o.Epoch)
}

// onRevoked drains the tasks of which any partition is given up and returns when they are let go. Other tasks go on.
func (c *Consumer) onRevoked(ctx context.Context, cl *kgo.Client, lost map[string][]int32) {
	if len(lost) == 0 {
		return
	}
	hs := c.forget(lost)
	c.drain(hs)
	c.fetch.release(partsOf(hs))
	c.poller.barrier()
	c.again(hs)
	c.log.Info("revoked", zap.Int("tasks", len(hs)), zap.Any("lost", lost))
}

// onLost lets go at once: the group has already given the tasks away.
func (c *Consumer) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	c.lease.end()
	hs := c.forget(lost)
	c.letGo(hs)
	c.fetch.release(partsOf(hs))
	c.poller.barrier()
	if len(lost) > 0 {
		c.log.Warn("lost", zap.Int("tasks", len(hs)), zap.Any("lost", lost))
	}
}

// forget takes the tasks that lose a partition out of the handles, and the partitions out of what is assigned.
func (c *Consumer) forget(lost map[string][]int32) (hs []*handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for topic, partitions := range lost {
		t := c.topics[c.primaryOf(topic)]
		for _, p := range partitions {
			delete(c.assigned, commit.Partition{Topic: topic, Partition: p})
			if t == nil {
				continue
			}
			key := taskKey{t.name, p}
			if h := c.handles[key]; h != nil {
				delete(c.handles, key)
				hs = append(hs, h)
			}
		}
	}
	return hs
}

// again owns anew what is left of tasks that lost only some partitions: it happens when a tier leaves the subscription.
func (c *Consumer) again(hs []*handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range hs {
		member := c.assigned[commit.Partition{Topic: h.key.topic, Partition: h.key.partition}]
		if member == "" || c.stopping {
			continue
		}
		for _, p := range h.parts {
			if c.assigned[p] != "" {
				c.group.PauseFetchPartitions(map[string][]int32{p.Topic: {p.Partition}})
				c.fetch.hold(p)
			}
		}
		c.begin(h.topic, h.key.partition, h.key.topic, member)
	}
	c.share()
}

// drain lets running attempts end, then cancels them, then lets go: what is settled is durable and committed before, what
// ends later is written to the log as the truth it is.
func (c *Consumer) drain(hs []*handle) {
	for _, h := range hs {
		h.stopped.Store(true)
		h.shard.post(h, func(m *task.Machine, now int64) { m.Revoke(now) })
		c.suspects.letGo(h)
	}
	patience := time.NewTimer(c.cfg.DrainTimeout)
	defer patience.Stop()
	if !waitAll(hs, patience.C) {
		for _, h := range hs {
			h.attempts.Load().cancel()
		}
		patience.Reset(cancelGrace)
		waitAll(hs, patience.C)
	}
	for _, h := range hs {
		h.gone.Store(true)
		h.shard.ask(h, func(m *task.Machine, now int64) { m.Abandon(now); h.shard.finish(h) })
		h.attempts.Load().cancel()
		c.owners.letGo(h)
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushGrace)
	defer cancel()
	if err := c.commits.Flush(ctx, partsOf(hs)...); err != nil {
		c.log.Warn("offsets were not committed before the tasks were let go; the log has them", zap.Error(err))
	}
	for _, h := range hs {
		c.commits.Release(h.parts...)
	}
}

// cancelGrace is how long attempts whose context was cancelled may take to return.
const cancelGrace = 2 * time.Second

func waitAll(hs []*handle, timeout <-chan time.Time) bool {
	for _, h := range hs {
		select {
		case <-h.drained:
		case <-timeout:
			return false
		}
	}
	return true
}

func partsOf(hs []*handle) (out []commit.Partition) {
	for _, h := range hs {
		out = append(out, h.parts...)
	}
	return out
}

// share divides the memory budget among the tasks. The caller holds c.mu.
func (c *Consumer) share() {
	l := c.limits()
	c.taskBytes.Store(int64(l.Bytes))
	c.inflater.careful(l.Bytes / 4) // a task that flows has half of its share free, half of which is headroom
	for _, h := range c.handles {
		h.shard.post(h, func(m *task.Machine, now int64) { m.SetLimits(l, now) })
	}
}

// limits is one task's share of the budget.
func (c *Consumer) limits() task.Limits {
	l := task.DefaultLimits
	l.Records = c.records
	l.Grace, l.Patience = easeMost, c.cfg.FetchWait
	l.Bytes = max(512<<10, c.cfg.Memory/max(1, len(c.handles)))
	return l
}
