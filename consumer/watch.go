package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/retrytopics"
)

// How often the group's topics are compared with those the instance began with: as a rule, while something is wrong with
// one, and at most, whatever happens.
const (
	lookEvery  = 30 * time.Second
	lookFaulty = 2 * time.Second
	lookAtMost = 250 * time.Millisecond
)

// TopicFault is a topic of the group that is not as it must be.
type TopicFault struct {
	Topic  string      `json:"topic"`
	Reason task.Reason `json:"reason"` // missing, recreated or layout
	Since  time.Time   `json:"since"`
	Text   string      `json:"text"` // what it means and what ends it
}

// watcher notices topics that are deleted, made anew under their name, or get more partitions. No error of a client says so
// for sure: one that a broker does not know may be one it has not heard of yet, and another topic of the same name is
// reached silently by every request that names it. Topic ids tell.
//
// A topic that is read stops the partitions concerned, and no other; one made anew has other jobs, so nothing about it is
// decided here (I16), save for a tier, whose new incarnation is read from its start. Topics that are only written to are
// taken up again by themselves when they exist.
type watcher struct {
	c    *Consumer
	wake chan struct{}

	mu     sync.Mutex
	faults map[string]TopicFault
}

func newWatcher(c *Consumer) *watcher {
	return &watcher{c: c, wake: make(chan struct{}, 1), faults: map[string]TopicFault{}}
}

// suspect has the topics looked at if err may mean that one is gone or another; any goroutine may call it.
func (w *watcher) suspect(err error) {
	if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID) {
		w.look()
	}
}

func (w *watcher) look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// list are the faults at present, by topic.
func (w *watcher) list() []TopicFault {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := []TopicFault{}
	for _, f := range w.faults {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b TopicFault) int { return strings.Compare(a.Topic, b.Topic) })
	return out
}

// withStopped adds the topics that tasks have stopped at for a reason of their own: an instance that began after a topic was
// made anew knows it from the receipt log, and not from the topic's id.
func withStopped(faults []TopicFault, tasks []TaskStatus) []TopicFault {
	for _, t := range tasks {
		for _, s := range t.Sources {
			for _, p := range s.Pauses {
				if p.Reason != task.Recreated || slices.ContainsFunc(faults, func(f TopicFault) bool { return f.Topic == s.Topic }) {
					continue
				}
				faults = append(faults, TopicFault{Topic: s.Topic, Reason: p.Reason, Since: p.Since, Text: p.Text})
			}
		}
	}
	slices.SortFunc(faults, func(a, b TopicFault) int { return strings.Compare(a.Topic, b.Topic) })
	return faults
}

func (w *watcher) fault(topic string) (TopicFault, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f, ok := w.faults[topic]
	return f, ok
}

func (w *watcher) run(ctx context.Context) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.wake:
		}
		w.round(ctx)
		if !sleep(ctx, lookAtMost) {
			return
		}
		every := lookEvery
		for _, f := range w.list() {
			if f.Reason != task.Layout {
				every = lookFaulty
			}
		}
		timer.Reset(every)
	}
}

// round looks at all topics once.
func (w *watcher) round(ctx context.Context) {
	c := w.c
	var names []string
	for _, t := range c.topics {
		names = append(append(names, t.receipts, t.letters), t.all()...)
	}
	group := []string{retrytopics.AuditTopic(c.cfg.Group), retrytopics.ControlTopic(c.cfg.Group), retrytopics.StatusTopic(c.cfg.Group)}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	found, err := c.adm.ListTopics(ctx, append(names, group...)...)
	if err != nil {
		c.complain("look at the topics", c.cfg.Group, err)
		return
	}
	for _, name := range group {
		w.compare(name, found, task.Missing, "it does not exist; `waybill setup apply` makes it anew", nil)
	}
	for _, t := range c.topics {
		w.topic(t, found)
	}
}

// topic looks at one job topic and what belongs to it.
func (w *watcher) topic(t *topic, found kadm.TopicDetails) {
	c := w.c
	w.compare(t.letters, found, task.Missing, "dead letters cannot be filed: the topic does not exist; `waybill setup apply` makes it anew. A job that is to be filed holds up its task until then",
		func() { t.letterParts.Store(int32(max(1, len(found[t.letters].Partitions)))) })
	w.compare(t.receipts, found, task.Missing, "the receipt log does not exist, so no task of "+t.name+" may finish a job; `waybill setup apply` makes it anew. What it knew is lost: jobs that are sent again may run again",
		func() {
			c.spawn(func(ctx context.Context) { c.anew(ctx, c.handlesOf(t)) })
		})
	w.compare(t.name, found, task.Missing, "the job topic does not exist; jobs in its tiers go on. Make it again, and see `recreated`", nil)
	for i := range t.tiers {
		tier := &t.tiers[i]
		w.compare(tier.name, found, task.Missing, "the tier does not exist, and the copies that stood in it are lost; jobs that fail hold up their task. `waybill setup apply` makes it anew, and it is taken up by itself",
			func() { w.adopt(t, tier, found[tier.name].ID) })
	}
	w.counts(t, found)
	w.pause(t)
}

// compare notes whether a topic is there and is the one that was there at the start, and calls anew once when it is
// another. Without anew the fault of a topic that is read stands until the instance ends.
func (w *watcher) compare(name string, found kadm.TopicDetails, missing task.Reason, text string, anew func()) {
	c := w.c
	d, there := found[name]
	switch id := c.topicID(name); {
	case !there || errors.Is(d.Err, kerr.UnknownTopicOrPartition):
		w.set(TopicFault{Topic: name, Reason: missing, Text: text})
	case d.Err != nil: // no news
	case id == [16]byte{}: // made since
		c.setTopicID(name, d.ID)
		w.clear(name, task.Missing)
	case id == [16]byte(d.ID):
		w.clear(name, task.Missing)
	default:
		w.recreated(name, dedupe.TopicID(id), dedupe.TopicID(d.ID), anew)
	}
}

// recreated is about a topic whose name another one has now.
func (w *watcher) recreated(name string, was, is dedupe.TopicID, anew func()) {
	c := w.c
	if t := c.topics[name]; t != nil { // the jobs in it are others: an operator must say where to begin
		w.set(TopicFault{Topic: name, Reason: task.Recreated, Text: fmt.Sprintf(
			"the topic was deleted and made anew (its id was %s and is %s), so no offset of the group means anything in it; its partitions stay paused. Stop the group, set its offset in the new topic by hand (--to-earliest for all of it) and start it again%s", was, is, c.kinds.InNewTopic(t.receipts))})
		return
	}
	c.log.Error("a topic was deleted and made anew; what was in it is lost. It is taken up again", zap.String("topic", name), zap.Stringer("was", was), zap.Stringer("is", is))
	c.audit(audit.Entry{Time: time.Now(), Who: c.cfg.Instance, What: audit.Recreated, Why: "its id changed",
		Details: map[string]any{"topic": name, "was": was.String(), "is": is.String()}})
	c.setTopicID(name, is)
	c.writer.PurgeTopicsFromProducing(name) // the client holds on to the old id and fails every record
	w.clear(name, task.Missing)
	if anew != nil {
		anew()
	}
}

// adopt begins to read a tier that was made anew. The client has to forget the old one, which makes it rejoin the group:
// the tasks of the job topic are let go and owned again, from the new tier's start.
func (w *watcher) adopt(t *topic, tier *tier, is kadm.TopicID) {
	c := w.c
	c.mu.Lock()
	tier.id = dedupe.TopicID(is)
	c.mu.Unlock()
	for _, h := range c.handlesOf(t) {
		h.shard.post(h, func(m *task.Machine, now int64) { m.HoldTopic(tier.name, task.Recreated, true, "", now) })
	}
	c.group.PurgeTopicsFromConsuming(tier.name)
	c.group.AddConsumeTopics(tier.name)
}

// counts looks at how many partitions there are.
func (w *watcher) counts(t *topic, found kadm.TopicDetails) {
	if f, faulty := w.fault(t.name); faulty && f.Reason != task.Layout {
		return
	}
	if n := int32(len(found[t.name].Partitions)); n > t.layout {
		w.set(TopicFault{Topic: t.name, Reason: task.Layout, Text: layoutText(t.name, n, t.layout)})
	}
	for _, name := range append(t.all()[1:], t.receipts) {
		if _, faulty := w.fault(name); faulty {
			continue
		}
		if n, main := len(found[name].Partitions), len(found[t.name].Partitions); n > main && main > 0 {
			w.set(TopicFault{Topic: name, Reason: task.Layout, Text: fmt.Sprintf(
				"it has %d partitions and its job topic %s has %d: those beyond are not read, and Waybill writes nothing there", n, t.name, main)})
		}
	}
}

func layoutText(topic string, has, layout int32) string {
	return fmt.Sprintf("topic %s has %d partitions and group's tiers and receipt log are laid out for %d: order and dedupe end where the count changes, so partitions from %d on stay paused (layout) until the group is grown (docs/edge.md)",
		topic, has, layout, layout)
}

// set notes a fault; the first time it is logged.
func (w *watcher) set(f TopicFault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, had := w.faults[f.Topic]
	if had && old.Reason == f.Reason {
		return
	}
	f.Since = time.Now()
	w.faults[f.Topic] = f
	w.c.log.Error("topic "+f.Reason.String(), zap.String("topic", f.Topic), zap.String("text", f.Text))
}

// clear ends a fault of that reason.
func (w *watcher) clear(topic string, r task.Reason) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f, had := w.faults[topic]; had && f.Reason == r {
		delete(w.faults, topic)
		w.c.log.Info("topic is there again", zap.String("topic", topic))
	}
}

// pause tells the tasks of a job topic what is wrong with the topics they read, and with their log.
func (w *watcher) pause(t *topic) {
	for _, h := range w.c.handlesOf(t) {
		w.tell(h)
	}
}

// tell sets and lifts what the faults mean for one task.
func (w *watcher) tell(h *handle) {
	log, noLog := w.fault(h.topic.receipts)
	for _, name := range h.topic.all() {
		f, faulty := w.fault(name)
		missing := faulty && f.Reason == task.Missing
		text := f.Text
		if !missing && noLog && log.Reason == task.Missing {
			missing, text = true, log.Text
		}
		w.c.settleCommits(h, name, !faulty || f.Reason == task.Layout)
		h.shard.post(h, func(m *task.Machine, now int64) {
			m.HoldTopic(name, task.Missing, missing, name+": "+text, now)
			if faulty && f.Reason == task.Recreated {
				m.HoldTopic(name, task.Recreated, true, name+": "+f.Text, now)
			}
		})
	}
}

// settleCommits ends committing for the partition of a topic that is gone or another by now, and begins again where it was
// a false alarm: an old offset must never be committed to a new topic.
func (c *Consumer) settleCommits(h *handle, topic string, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handles[h.key] != h {
		return
	}
	for _, p := range h.parts {
		switch {
		case p.Topic != topic || on == !h.mute[topic]:
		case on:
			delete(h.mute, topic)
			c.commits.Hold(p, h.member)
		default:
			if h.mute == nil {
				h.mute = map[string]bool{}
			}
			h.mute[topic] = true
			c.commits.Release(p)
		}
	}
}

// handlesOf are the tasks of a job topic that are held.
func (c *Consumer) handlesOf(t *topic) (hs []*handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.handles {
		if h.topic == t {
			hs = append(hs, h)
		}
	}
	return hs
}

func (c *Consumer) topicID(name string) [16]byte {
	c.idMu.RLock()
	defer c.idMu.RUnlock()
	return c.ids[name]
}

func (c *Consumer) setTopicID(name string, id [16]byte) {
	c.idMu.Lock()
	defer c.idMu.Unlock()
	c.ids[name] = id
}
