package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

func static(id string) func(*consumer.Config) {
	return func(c *consumer.Config) {
		c.StaticID = id
		c.SessionTimeout, c.Heartbeat = 20*time.Second, heartbeat // so that a restart on a busy machine stays within it
	}
}

func sameTasks(a, b map[int32]int64) bool {
	return slices.Equal(slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b)))
}

// A static member that restarts gets its own tasks back, and the other's go on in the epoch they were in.
func TestRealStaticRestartMovesNothing(t *testing.T) {
	c := realkafka.Shared(t)
	t.Parallel()
	r := newRig(t, c)
	a, b := r.start("a", static("one")), r.start("b", static("two"))
	r.settled(a, b)
	hadA, hadB := a.epochs(), b.epochs()
	r.stop(a)
	a2 := r.start("a2", static("one"))
	r.settled(a2, b)
	if got := b.epochs(); !maps.Equal(got, hadB) {
		t.Errorf("the tasks of the member that stayed were %s, are %s", text(hadB), text(got))
	}
	if got := a2.epochs(); !sameTasks(got, hadA) {
		t.Errorf("the tasks of the member that restarted were %s, are %s", text(hadA), text(got))
	}
	for i := range 24 {
		r.enqueue(fmt.Sprint("job-", i), script{}, job.Options{})
	}
	r.idle()
	if n := len(r.calls("")); n != 24 {
		t.Errorf("%d calls of 24 jobs", n)
	}
}

// trickle enqueues a job now and then for every key until its stop is called, which joins it.
func (r *rig) trickle(every time.Duration) (stop func()) {
	ctx, end := context.WithCancel(r.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for k := range 24 {
				id := fmt.Sprintf("job-%d-%d", i, k)
				if _, err := r.prod.Enqueue(r.t.Context(), keyed{}, &job.Options{ID: id, Key: fmt.Appendf(nil, "key-%d", k)}); err != nil {
					r.t.Error(err)
					return
				}
			}
		}
	})
	stopped := sync.OnceFunc(func() { end(); wg.Wait() })
	r.t.Cleanup(stopped)
	return stopped
}

// A join takes the fewest tasks, and those that do not move stay in their epoch; how long each partition was silent is
// reported.
func TestRealJoinLeavesTheOthersRunning(t *testing.T) {
	r := newRig(t, realkafka.Shared(t))
	a, b := r.start("a"), r.start("b")
	r.settled(a, b)
	stop := r.trickle(20 * time.Millisecond)
	until(t, patience, func() string { return map[bool]string{false: "no calls yet"}[len(r.calls("")) > 500] })
	had := map[int32]int64{}
	maps.Copy(had, a.epochs())
	maps.Copy(had, b.epochs())
	from := time.Now()
	c := r.start("c")
	r.settled(a, b, c)
	to := time.Now()
	seen := len(r.calls(""))
	until(t, patience, func() string { return map[bool]string{false: "no calls after the join"}[len(r.calls("")) > seen+500] })
	kept := a.epochs()
	maps.Copy(kept, b.epochs())
	moved := c.epochs()
	stop()
	r.idle()
	if len(moved) != partitions/3 {
		t.Errorf("the third member took %d of %d tasks", len(moved), partitions)
	}
	for p, epoch := range kept {
		if had[p] != epoch {
			t.Errorf("partition %d did not move and went from epoch %d to %d", p, had[p], epoch)
		}
	}
	stayed, went := r.gaps(from, to.Add(time.Second), moved)
	t.Logf("a join that took %v: the longest silence of a partition that stayed was %v, of one that moved %v (a job every 20 ms and key)",
		to.Sub(from).Round(time.Millisecond), stayed.Round(time.Millisecond), went.Round(time.Millisecond))
	r.once()
}

// gaps are the longest silences, between the starts of two calls, of partitions that stayed and of those that moved.
func (r *rig) gaps(from, to time.Time, moved map[int32]int64) (stayed, went time.Duration) {
	last := map[int32]time.Time{}
	for _, e := range r.calls("") {
		p := e.Record.Partition
		if before, ok := last[p]; ok && e.Time.After(from) && before.Before(to) {
			gap := e.Time.Sub(before)
			if _, ok := moved[p]; ok {
				went = max(went, gap)
			} else {
				stayed = max(stayed, gap)
			}
		}
		last[p] = e.Time
	}
	return stayed, went
}

// once sees that every job was called once.
func (r *rig) once() {
	r.t.Helper()
	called := map[string]int{}
	for _, e := range r.calls("") {
		if called[e.ID]++; called[e.ID] == 2 {
			r.t.Errorf("%s was called twice", e.ID)
		}
	}
}

// An operator's reset while the group is stopped is obeyed: everything is read again from there, and nothing runs again.
func TestRealResetIsObeyedAndNothingReruns(t *testing.T) {
	r := newRig(t, realkafka.Shared(t))
	a := r.start("a")
	r.settled(a)
	const n = 300
	for i := range n {
		r.enqueue(fmt.Sprint("job-", i), script{Fails: i % 2}, job.Options{})
	}
	until(t, patience, func() string { return map[bool]string{false: "not all retried"}[len(r.calls("")) == n+n/2] })
	r.idle(tiers...)
	r.stop(a)
	var back kadm.Offsets
	for p := range int32(partitions) {
		back.Add(kadm.Offset{Topic: r.topic, Partition: p, At: 0, LeaderEpoch: -1})
	}
	until(t, patience, func() string { // a group is empty only once its last member is gone
		if err := r.admin.CommitAllOffsets(t.Context(), r.group, back); err != nil {
			return err.Error()
		}
		return ""
	})
	b := r.start("b")
	r.settled(b)
	r.idle(tiers...)
	read := int64(0)
	for _, task := range b.c.Status().Tasks {
		read += task.Stats.Read
	}
	if read < n {
		t.Errorf("only %d records were read again, of %d", read, n)
	}
	if got := len(r.calls("")); got != n+n/2 {
		t.Errorf("%d calls after the reset, %d before", got, n+n/2)
	}
	rewinds := 0
	for _, rec := range r.records(retrytopics.AuditTopic(r.group)) {
		if e, err := audit.Decode(rec.Value); err == nil && e.What == audit.Rewind {
			rewinds++
		}
	}
	if rewinds != partitions {
		t.Errorf("%d rewinds are audited, of %d partitions", rewinds, partitions)
	}
}

// A rolling deploy that adds a tier moves no task, uses the tier at once, and one that removes a tier loses nothing of what
// waits there.
func TestRealTiersComeAndGoByRollingDeploy(t *testing.T) {
	c := realkafka.Shared(t)
	t.Parallel()
	r := newRig(t, c)
	const short, long = time.Second, 4 * time.Second
	with := func(ds ...time.Duration) func(*consumer.Config) { return func(c *consumer.Config) { c.Tiers = ds } }
	a, b := r.start("a", static("one"), with(short)), r.start("b", static("two"), with(short))
	r.settled(a, b)
	tasksA, hadB := a.epochs(), b.epochs()

	r.stop(a)
	a = r.start("a2", static("one"), with(short, long))
	r.settled(a, b)
	uses := func(i *instance, d time.Duration) {
		t.Helper()
		name := retrytopics.TierTopic(r.topic, r.group, d)
		until(t, patience, func() string {
			for _, task := range i.c.Status().Tasks {
				found := false
				for _, s := range task.Sources {
					found = found || s.Topic == name
				}
				if !found {
					return fmt.Sprintf("%s reads partition %d without %s", i.name, task.Partition, name)
				}
			}
			return ""
		})
	}
	uses(a, long)
	if got := b.epochs(); !maps.Equal(got, hadB) {
		t.Errorf("the new tier of another member: the tasks were %s, are %s", text(hadB), text(got))
	}
	if got := a.epochs(); !sameTasks(got, tasksA) {
		t.Errorf("the member with the new tier had %s, has %s", text(tasksA), text(got))
	}
	epochsA := a.epochs()
	r.stop(b)
	b = r.start("b2", static("two"), with(short, long))
	r.settled(a, b)
	uses(b, long)
	if got := a.epochs(); !maps.Equal(got, epochsA) || !sameTasks(b.epochs(), hadB) {
		t.Errorf("the second member's deploy: tasks were %s and %s, are %s and %s", text(epochsA), text(hadB), text(got), text(b.epochs()))
	}

	// Jobs wait in the tier while it is taken out of the configuration.
	const n = 48
	for i := range n {
		r.enqueue(fmt.Sprint("wait-", i), script{Fails: 1, How: "after", After: long}, job.Options{})
	}
	until(t, patience, func() string { return map[bool]string{false: "not all failed"}[len(r.calls("")) >= n] })
	r.stop(a, b)
	a, b = r.start("a3", static("one"), with(short)), r.start("b3", static("two"), with(short))
	r.settled(a, b)
	until(t, patience, func() string {
		if got := len(r.calls("")); got < 2*n {
			return fmt.Sprintf("%d calls, want %d", got, 2*n)
		}
		return ""
	})
	r.idle(short, long)
	if got := len(r.calls("")); got != 2*n {
		t.Errorf("%d calls, want %d", got, 2*n)
	}
	ends, err := r.admin.ListEndOffsets(t.Context(), retrytopics.TierTopic(r.topic, r.group, long))
	if err != nil {
		t.Fatal(err)
	}
	used := int64(0)
	ends.Each(func(o kadm.ListedOffset) { used += o.Offset })
	if used != n {
		t.Errorf("%d copies went through the tier, want %d", used, n)
	}
	for _, e := range r.rec.Events() {
		if e.Type == ledger.Returned && e.Attempt == 2 && e.Result != ledger.Done {
			t.Errorf("%s: %s", e.ID, e.Result)
		}
	}
}
