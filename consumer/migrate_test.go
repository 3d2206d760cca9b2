package consumer_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// oldApp is a member of the group that is no Waybill: a plain client, which handles what it polled before it polls again, and
// leaves committing to the client. (It does not commit by itself: such a commit waits for a join on a mutex, on which a
// bubble's clock does not go on.)
type oldApp struct {
	cl   *kgo.Client
	end  context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	seen []string // ids, in the order in which they were handled
}

func (r *rig) oldApp(balancer kgo.GroupBalancer) *oldApp {
	r.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.net.DialContext), kgo.ConsumerGroup(groupName), kgo.ConsumeTopics(topicName),
		kgo.Balancers(balancer), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(),
		kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, end := context.WithCancel(r.t.Context())
	a := &oldApp{cl: cl, end: end}
	a.done.Go(func() {
		for ctx.Err() == nil {
			records := cl.PollFetches(ctx).Records()
			a.mu.Lock()
			for _, rec := range records {
				a.seen = append(a.seen, header(rec, job.HeaderID))
			}
			a.mu.Unlock()
			cl.AllowRebalance()
		}
	})
	time.Sleep(settled)
	return a
}

func (a *oldApp) stop() {
	a.end()
	a.done.Wait()
	a.cl.CloseAllowingRebalance()
}

func (a *oldApp) handled() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.seen...)
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// trickle puts a job into every partition each second until it is stopped; it returns how many each got.
func (r *rig) trickle(ctx context.Context) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	n := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for tick := time.NewTicker(time.Second); ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
			for p := range int32(4) {
				r.put(p, jobID(n, p), map[bool]string{true: "once more"}[n%3 == 0])
			}
		}
	})
	return func() int { cancel(); wg.Wait(); return n }
}

func jobID(n int, p int32) string { return fmt.Sprintf("job-%d-%d", n, p) }

func (r *rig) protocol() string {
	r.t.Helper()
	got, err := r.admin.DescribeGroups(r.t.Context(), groupName)
	if err != nil {
		r.t.Fatal(err)
	}
	return got[groupName].Protocol
}

// A group of plain clients is moved over in two rolls: whoever is told to knows the old balancer too, until the last old
// member is gone; then nobody does. Nothing is lost, and nothing runs twice, since all members commit before they hand over.
func TestMigration(t *testing.T) {
	for name, balancer := range map[string]func() kgo.GroupBalancer{
		"cooperative-sticky": kgo.CooperativeStickyBalancer, "range": kgo.RangeBalancer, "roundrobin": kgo.RoundRobinBalancer, "sticky": kgo.StickyBalancer,
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(r *rig) {
				r.handle = func(_ context.Context, j *job.Job[note]) error {
					if j.Args.Text != "" && j.Attempt == 1 {
						return fmt.Errorf("%s", j.Args.Text)
					}
					return nil
				}
				from := func(c *consumer.Config) { c.MigrateFrom = []string{name} }
				one, two := r.oldApp(balancer()), r.oldApp(balancer())
				stop := r.trickle(r.t.Context())
				time.Sleep(20 * time.Second)

				a := r.start("a", from)
				one.stop()
				time.Sleep(20 * time.Second)
				if got := r.protocol(); got != name {
					t.Errorf("with an old member in it the group is balanced by %q", got)
				}
				b := r.start("b", from)
				two.stop()
				time.Sleep(time.Minute)
				if got := r.protocol(); !strings.HasPrefix(got, "waybill-") {
					t.Errorf("after the last old member the group is balanced by %q", got)
				}
				a.clean()
				a = r.start("a")
				b.clean()
				b = r.start("b")
				time.Sleep(20 * time.Second)
				if x, y := len(a.epochs()), len(b.epochs()); x != 2 || y != 2 {
					t.Errorf("after two rolls a has %d tasks and b has %d", x, y)
				}
				n := stop()
				time.Sleep(time.Minute) // what failed waits in a tier
				synctest.Wait()
				r.judge(n, one, two)
				a.clean()
				b.clean()
			})
		})
	}
}

// judge sees that each of n jobs a partition was handled once: by an old member, or by ours, which fail some first.
func (r *rig) judge(n int, old ...*oldApp) {
	r.t.Helper()
	byOld, byUs := map[string]int{}, map[string]int{}
	for _, o := range old {
		for _, id := range o.handled() {
			byOld[id]++
		}
	}
	for _, a := range r.attempts("") {
		if a.err == nil {
			byUs[a.id]++
		}
	}
	if len(byOld) == 0 || len(byUs) == 0 {
		r.t.Errorf("the old application handled %d jobs and we %d", len(byOld), len(byUs))
	}
	for i := range n {
		for p := range int32(4) {
			if id := jobID(i, p); byOld[id]+byUs[id] != 1 {
				r.t.Errorf("%s was handled %d times by the old application and %d times by us", id, byOld[id], byUs[id])
			}
		}
	}
}

// An instance that is not told joins no group of others; it says what to do, and they are not disturbed.
func TestMigrationMustBeAsked(t *testing.T) {
	within(t, func(r *rig) {
		old := r.oldApp(kgo.RangeBalancer())
		a := r.start("a")
		time.Sleep(30 * time.Second)
		if a.Ready() == nil || len(a.Status().Tasks) != 0 {
			t.Error("it is a member")
		}
		if len(a.logged("set MigrateFrom")) == 0 {
			t.Errorf("it does not say what to do: %v", a.logged(""))
		}
		for p := range int32(4) {
			r.put(p, jobID(0, p), "")
		}
		time.Sleep(5 * time.Second)
		if got := old.handled(); len(got) != 4 {
			t.Errorf("the others handled %v", got)
		}
		a.clean()
		old.stop()
	})
}

// Where the old application stopped is where we begin, by its offsets, whatever the group's declared start; that is audited.
func TestMigrationBeginsWhereTheOthersStopped(t *testing.T) {
	within(t, func(r *rig) {
		old := r.oldApp(kgo.CooperativeStickyBalancer())
		for p := range int32(4) {
			r.put(p, jobID(0, p), "")
		}
		time.Sleep(5 * time.Second)
		old.stop()
		for p := range int32(4) {
			r.put(p, jobID(1, p), "")
		}
		a := r.start("a", func(c *consumer.Config) { c.MigrateFrom, c.Start = []string{"cooperative-sticky"}, consumer.Latest })
		r.expectRuns("job-0", 0)
		r.expectRuns("job-1", 4)
		if starts := r.values(retrytopics.AuditTopic(groupName)); len(starts) != 4 {
			t.Errorf("%d starts at another's offsets are audited, want 4", len(starts))
		}
		a.clean()
	})
}
