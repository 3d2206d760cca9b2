package group_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// These tests run real clients against a broker in memory, in virtual time.

// TestClientsJoinAndLeave: tasks move whole and in the least number; who keeps a task is not asked to revoke it.
func TestClientsJoinAndLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 12, "T", "T.1", "T.2")
		a := c.start("a", "T", "T.1", "T.2")
		c.waitForTasks(12)
		c.checkAdminView(a)

		b := c.start("b", "T", "T.1", "T.2")
		c.waitForTasks(6, 6)
		c.checkRevoked(map[string]int{"a": 6})

		c.start("c", "T", "T.1", "T.2")
		c.waitForTasks(4, 4, 4)
		c.checkRevoked(map[string]int{"a": 2, "b": 2})

		b.Close()
		c.forget("b")
		c.waitForTasks(6, 0, 6)
		c.checkRevoked(nil)
	})
}

// TestClientsLearnOfATier: a tier that one member knows first moves no task, and comes to each owner with its tasks;
// whether the leader (the first to join) knows it first or last.
func TestClientsLearnOfATier(t *testing.T) {
	for _, first := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, 12, "T", "T.1")
			clients := []*kgo.Client{c.start("a", "T", "T.1")}
			c.waitForTasks(12)
			clients = append(clients, c.start("b", "T", "T.1"))
			c.waitForTasks(6, 6)
			c.revoked() // what it took to get there is not of interest
			before := c.taskOwners()

			c.createTopic("T.2", 12)
			for i := range clients {
				clients[(first+i)%2].AddConsumeTopics("T.2")
				c.waitUntil(fmt.Sprintf("%d owners know the new tier", i+1), func() bool { return c.partitions("T.2") == 6*(i+1) })
			}
			if after := c.taskOwners(); !maps.Equal(before, after) {
				t.Errorf("tasks moved: %v, then %v", before, after)
			}
			c.checkRevoked(nil)
		})
	}
}

// TestStaticMemberRestarts: its tasks wait for it, the other's go on.
func TestStaticMemberRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 8, "T", "T.1")
		c.start("a", "T", "T.1")
		b := c.start("b", "T", "T.1", kgo.InstanceID("b"))
		c.waitForTasks(4, 4)
		c.revoked()
		before := c.taskOwners()

		b.Close() // does not leave the group
		c.forget("b")
		c.start("b", "T", "T.1", kgo.InstanceID("b"))
		c.waitForTasks(4, 4)
		if after := c.taskOwners(); !maps.Equal(before, after) {
			t.Errorf("tasks moved: %v, then %v", before, after)
		}
		c.checkRevoked(nil)
	})
}

// TestMigrationInTwoRolls: from kgo's cooperative-sticky, with work going on, as Balancer's comment says.
func TestMigrationInTwoRolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 9, "T", "T.1")
		c.split = true // the stock balancer splits tasks
		copart, stock := group.NewBalancer(primaryOf), kgo.CooperativeStickyBalancer()
		clients := map[string]*kgo.Client{}
		names := []string{"a", "b", "c"}
		roll := func(protocol string, balancers ...kgo.GroupBalancer) {
			for _, name := range names {
				if cl := clients[name]; cl != nil {
					cl.Close()
					c.forget(name)
				}
				clients[name] = c.start(name, "T", "T.1", kgo.Balancers(balancers...))
				c.waitUntil("all partitions owned", func() bool { return c.partitions("T", "T.1") == 18 })
			}
			c.waitUntil("protocol is "+protocol, func() bool { return c.protocol(clients["a"]) == protocol })
		}
		roll(stock.ProtocolName(), stock)
		roll(group.ProtocolName, copart, stock)
		c.waitForTasks(3, 3, 3)
		c.split = false // from here on never again
		roll(group.ProtocolName, copart)
		c.waitForTasks(3, 3, 3)
	})
}

// checkAdminView: the broker's admin interface can read members' metadata and assignments.
func (c *cluster) checkAdminView(cl *kgo.Client) {
	c.t.Helper()
	described, err := kadm.NewClient(cl).DescribeGroups(context.Background(), "g")
	if err != nil {
		c.t.Fatal(err)
	}
	var all []string
	g := described["g"]
	for topic, ps := range g.AssignedPartitions() {
		all = append(all, fmt.Sprint(topic, ":", len(ps)))
	}
	slices.Sort(all)
	if want := []string{"T.1:12", "T.2:12", "T:12"}; !slices.Equal(all, want) {
		c.t.Errorf("an admin sees %v assigned, want %v", all, want)
	}
}

// protocol returns the balancer that the group has agreed on.
func (c *cluster) protocol(cl *kgo.Client) string {
	described, err := kadm.NewClient(cl).DescribeGroups(context.Background(), "g")
	if err != nil {
		c.t.Fatal(err)
	}
	return described["g"].Protocol
}

// newCluster starts a broker with these topics. Call it within a synctest bubble.
func newCluster(t *testing.T, partitions int32, topics ...string) *cluster {
	c := &cluster{t: t, ledger: newLedger()}
	fake, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(c.net.Listen), kfake.SeedTopics(partitions, topics...),
	)
	if err != nil {
		t.Fatal(err)
	}
	c.fake = fake
	t.Cleanup(fake.Close)
	t.Cleanup(c.check) // runs after the clients' are closed
	return c
}

// createTopic makes another topic.
func (c *cluster) createTopic(name string, partitions int32) {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(context.Background(), partitions, 1, nil, name); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.fake.ListenAddrs()...), kgo.Dialer(c.net.DialContext)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// waitUntil lets virtual time pass until the group is as described.
func (c *cluster) waitUntil(what string, done func() bool) {
	c.t.Helper()
	for range 1200 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond) // virtual: all clients are idle until then
	}
	c.t.Fatalf("after two minutes still not: %s\n%v", what, c.ledger)
}
