package group_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// cluster is a broker in memory and the members of one group, "g", on it.
type cluster struct {
	*ledger
	t    *testing.T
	net  kfake.VirtualNetwork
	fake *kfake.Cluster
}

// start starts a member that consumes topics; opts may be topics and kgo options.
func (c *cluster) start(name string, topicsAndOpts ...any) *kgo.Client {
	c.t.Helper()
	c.join(name)
	opts := []kgo.Opt{
		kgo.ConsumerGroup("g"),
		kgo.Balancers(group.NewBalancer(primaryOf)),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { c.assigned(name, ps) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { c.released(name, ps) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { c.released(name, ps) }),
	}
	var topics []string
	for _, x := range topicsAndOpts {
		switch x := x.(type) {
		case string:
			topics = append(topics, x)
		case kgo.Opt:
			opts = append(opts, x)
		}
	}
	cl := c.client(append(opts, kgo.ConsumeTopics(topics...))...)
	c.t.Cleanup(cl.Close)
	return cl
}

// waitForTasks waits until the members, in the order of their first start, own so many whole tasks. Gone members count 0.
func (c *cluster) waitForTasks(want ...int) {
	c.t.Helper()
	c.waitUntil(fmt.Sprintf("tasks are spread as %v", want), func() bool { return slices.Equal(c.loads(), want) })
}

// checkRevoked checks how many tasks each member had to revoke since this was last asked; those not named, none.
func (c *cluster) checkRevoked(want map[string]int) {
	c.t.Helper()
	for name, tasks := range c.revoked() {
		if len(tasks) != want[name] {
			c.t.Errorf("%s revoked %d tasks (%v), want %d", name, len(tasks), tasks, want[name])
		}
	}
}

// check fails the test for all that was wrong at any time.
func (c *cluster) check() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, wrong := range c.wrongs {
		c.t.Error(wrong)
	}
}

// ledger is who owns what, as told by the callbacks of all members. It notes when a member gets a partition of a task of
// which another still has one.
type ledger struct {
	mu     sync.Mutex
	names  []string                      // in the order of their first start
	owned  map[string]map[partition]bool // by member
	given  map[string]map[partition]bool // tasks revoked since last asked
	split  bool                          // tasks may be split for now, partitions must not
	wrongs []string
}

func newLedger() *ledger {
	return &ledger{owned: map[string]map[partition]bool{}, given: map[string]map[partition]bool{}}
}

func (l *ledger) join(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.names, name) {
		l.names = append(l.names, name)
	}
	l.owned[name], l.given[name] = map[partition]bool{}, map[partition]bool{}
}

// forget ends a member that was closed.
func (l *ledger) forget(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.owned, name)
	delete(l.given, name)
}

func (l *ledger) assigned(name string, topics map[string][]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range flat(topics) {
		for other, owned := range l.owned {
			for q := range owned {
				if other != name && q.task() == p.task() && (q == p || !l.split) {
					l.wrongs = append(l.wrongs, fmt.Sprintf("%s got %v while %s had %v", name, p, other, q))
				}
			}
		}
		l.owned[name][p] = true
	}
}

func (l *ledger) released(name string, topics map[string][]int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range flat(topics) {
		delete(l.owned[name], p)
		l.given[name][p.task()] = true
	}
}

// revoked returns the tasks each member had to give up since this was last asked.
func (l *ledger) revoked() map[string]map[partition]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.given
	l.given = map[string]map[partition]bool{}
	for name := range l.owned {
		l.given[name] = map[partition]bool{}
	}
	return out
}

// loads returns how many tasks each member has whole: each of its topics of that job topic.
func (l *ledger) loads() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []int
	for _, name := range l.names {
		n := 0
		topics := byTopic(l.owned[name])
		for task := range tasksOf(l.owned[name]) {
			whole := true
			for topic := range topics {
				whole = whole && (primaryOf(topic) != task.topic || l.owned[name][partition{topic, task.n}])
			}
			if whole {
				n++
			}
		}
		out = append(out, n)
	}
	return out
}

// taskOwners returns the owner of each task.
func (l *ledger) taskOwners() map[partition]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[partition]string{}
	for name, owned := range l.owned {
		for task := range tasksOf(owned) {
			out[task] = name
		}
	}
	return out
}

// partitions returns how many partitions of these topics have an owner.
func (l *ledger) partitions(topics ...string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, owned := range l.owned {
		for p := range owned {
			if slices.Contains(topics, p.topic) {
				n++
			}
		}
	}
	return n
}

// String describes who owns what, for failures.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(l.owned)) {
		lines = append(lines, name+" has "+format(l.owned[name]))
	}
	return strings.Join(append(lines, l.wrongs...), "\n")
}

func flat(topics map[string][]int32) map[partition]bool {
	out := map[partition]bool{}
	for topic, ns := range topics {
		for _, n := range ns {
			out[partition{topic, n}] = true
		}
	}
	return out
}
