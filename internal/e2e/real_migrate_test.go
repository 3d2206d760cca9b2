package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// oldApp is a member of the group that is no Waybill: a plain client, which handles what it polled and commits it.
type oldApp struct {
	cl     *kgo.Client
	end    context.CancelFunc
	joined sync.WaitGroup

	mu   sync.Mutex
	seen map[string]int // how often it handled each job
}

func (r *rig) oldApp(balancer kgo.GroupBalancer) *oldApp {
	r.t.Helper()
	cl, err := kgo.NewClient(append(r.opts[:len(r.opts):len(r.opts)], kgo.ConsumerGroup(r.group), kgo.ConsumeTopics(r.topic), kgo.Balancers(balancer),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.FetchMaxWait(250*time.Millisecond),
		kgo.SessionTimeout(session), kgo.HeartbeatInterval(heartbeat), kgo.RebalanceTimeout(rebalance))...)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	a := &oldApp{cl: cl, end: end, seen: map[string]int{}}
	a.joined.Go(func() { a.run(ctx) })
	r.t.Cleanup(a.stop)
	return a
}

func (a *oldApp) run(ctx context.Context) {
	for ctx.Err() == nil {
		records := a.cl.PollFetches(ctx).Records()
		a.mu.Lock()
		for _, rec := range records {
			for _, h := range rec.Headers {
				if h.Key == job.HeaderID {
					a.seen[string(h.Value)]++
				}
			}
		}
		a.mu.Unlock()
		_ = a.cl.CommitRecords(context.WithoutCancel(ctx), records...) // what is refused is handled again, by whoever has it then
		a.cl.AllowRebalance()
	}
}

// stop leaves the group with everything committed; calling it again is harmless.
func (a *oldApp) stop() {
	a.end()
	a.joined.Wait()
	a.cl.CloseAllowingRebalance()
}

func (a *oldApp) handled() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.seen)
}

// protocol waits until the group rests, balanced by a protocol whose name begins so.
func (r *rig) protocol(prefix string, members int) {
	r.t.Helper()
	until(r.t, patience, func() string {
		got, err := r.admin.DescribeGroups(r.t.Context(), r.group)
		if err != nil {
			return err.Error()
		}
		if g := got[r.group]; g.State != "Stable" || !strings.HasPrefix(g.Protocol, prefix) || len(g.Members) != members {
			return fmt.Sprintf("the group is %s with %d members, balanced by %q, not by %q with %d", g.State, len(g.Members), g.Protocol, prefix, members)
		}
		return ""
	})
}

// A running group of plain clients is moved over in two rolls, under load: nothing is lost, and what ran twice ran at a
// hand-over between the two applications.
func TestRealMigration(t *testing.T) {
	c := realkafka.Shared(t)
	for name, balancer := range map[string]kgo.GroupBalancer{"cooperative-sticky": kgo.CooperativeStickyBalancer(), "range": kgo.RangeBalancer()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c)
			if _, err := r.admin.CreateTopic(t.Context(), partitions, 1, nil, r.topic); err != nil {
				t.Fatal(err)
			}
			from := func(c *consumer.Config) { c.MigrateFrom = []string{name} }
			one, two := r.oldApp(balancer), r.oldApp(balancer)
			r.protocol(name, 2)
			stop := r.trickle(20 * time.Millisecond)
			until(t, patience, func() string {
				return map[bool]string{false: "the old application handles nothing"}[len(one.handled()) > 100]
			})

			a := r.start("a", from)
			r.protocol(name, 3)
			one.stop()
			b := r.start("b", from)
			r.protocol(name, 3)
			two.stop()
			r.protocol("waybill-", 2)
			r.settled(a, b)
			r.stop(a)
			a = r.start("a2")
			r.stop(b)
			b = r.start("b2")
			r.protocol("waybill-", 2)
			r.settled(a, b)
			seen := len(r.calls(""))
			until(t, patience, func() string {
				return map[bool]string{false: "no calls after the second roll"}[len(r.calls("")) > seen+100]
			})
			stop()
			r.idle(tiers...)
			r.moved(one, two)
		})
	}
}

// moved sees that every job was handled, and counts what was handled more than once.
func (r *rig) moved(old ...*oldApp) {
	r.t.Helper()
	times, ours, theirs := map[string]int{}, map[string]int{}, 0
	for _, a := range old {
		for id, n := range a.handled() {
			times[id] += n
			theirs++
		}
	}
	for _, e := range r.rec.Events() {
		if e.Type == ledger.Returned && e.Result == ledger.Done {
			times[e.ID]++
			ours[e.ID]++
		}
	}
	produced, twice := 0, 0
	for _, rec := range r.records(r.topic) {
		for _, h := range rec.Headers {
			if h.Key != job.HeaderID {
				continue
			}
			produced++
			if n := times[string(h.Value)]; n == 0 {
				r.t.Errorf("%s was handled by nobody", h.Value)
			} else if n > 1 {
				twice++
			}
			if n := ours[string(h.Value)]; n > 1 {
				r.t.Errorf("%s was done %d times by Waybill", h.Value, n)
			}
		}
	}
	if theirs == 0 || len(ours) == 0 {
		r.t.Errorf("the old application handled %d jobs and Waybill %d: nothing was moved", theirs, len(ours))
	}
	var committed int64
	offsets, err := r.admin.FetchOffsets(r.t.Context(), r.group)
	if err != nil {
		r.t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == r.topic {
			committed += o.At
		}
	})
	if committed != int64(produced) {
		r.t.Errorf("%d of %d records are committed", committed, produced)
	}
	rewinds := 0
	for _, rec := range r.records(retrytopics.AuditTopic(r.group)) {
		if e, err := audit.Decode(rec.Value); err == nil && e.What == audit.Rewind {
			rewinds++
		}
	}
	if rewinds == 0 {
		r.t.Error("no audit entry says that the old application's offsets were obeyed")
	}
	r.t.Logf("%d jobs: %d handled by the old application, %d by Waybill, %d by both at a hand-over", produced, theirs, len(ours), twice)
}
