package topics_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/retrytopics"
)

// refused runs an instance that must not start, and returns what it said.
func (r *rig) refused(change ...func(*consumer.Config)) string {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), edge.Patience)
	defer cancel()
	err := consumer.Run(ctx, r.Config("refused", append([]func(*consumer.Config){r.both}, change...)...))
	if err == nil || ctx.Err() != nil {
		r.T.Fatalf("Run: %v, %v", err, ctx.Err())
	}
	return err.Error()
}

// A topic that is missing at the start is named, with what to do about it; Setup: Create makes it, or the job topic aside
// `waybill setup apply`. All that is missing is said at once.
func TestMissingAtStart(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		t.Parallel()
		r := newRig(t, c)
		if err := r.begin("a").Stop(); err != nil {
			t.Fatal(err)
		}
		engine := []string{r.tier(), r.letters(), r.receipts(), retrytopics.ControlTopic(r.Group), retrytopics.AuditTopic(r.Group)}
		r.remove(engine...)
		said := r.refused(verify)
		for _, topic := range engine {
			if want := "topic " + topic + ": is missing"; !strings.Contains(said, want) {
				t.Errorf("%q does not say %q", said, want)
			}
		}
		if n := strings.Count(said, "`waybill setup apply` mends it"); n < len(engine) {
			t.Errorf("%q says %d times what to do", said, n)
		}
		r.apply()
		b := r.begin("b", verify)
		r.Good(3)
		flaky := r.put("flaky")
		r.Finished()
		r.ran(flaky, 2*int(r.Partitions))
		if err := b.Stop(); err != nil {
			t.Error(err)
		}

		r.remove(r.bad)
		said = r.refused(verify)
		for _, want := range []string{"topic " + r.bad + ": the job topic does not exist", "create it, or name a partition count"} {
			if !strings.Contains(said, want) {
				t.Errorf("%q does not say %q", said, want)
			}
		}
	})
}

// A tier that is no longer configured is read until it is drained, even if the control topic, which remembers it, is lost: it is
// found by its name.
func TestControlLost(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		t.Parallel()
		r := newRig(t, c)
		now := r.Tiers
		r.Tiers = []time.Duration{4 * time.Second}
		old := r.tier()
		a := r.begin("a")
		flaky := r.put("flaky")
		r.Until(func() string {
			if ends, err := r.Admin.ListEndOffsets(t.Context(), old); err != nil || sum(ends) < int64(r.Partitions) {
				return fmt.Sprint("not every copy is in the tier: ", err)
			}
			return ""
		})
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		r.remove(retrytopics.ControlTopic(r.Group))
		r.Tiers = now
		if said := r.refused(verify); !strings.Contains(said, "topic "+retrytopics.ControlTopic(r.Group)+": is missing") {
			t.Errorf("said %q", said)
		}
		b := r.begin("b")
		r.Good(3)
		r.ran(flaky, 2*int(r.Partitions))
		r.Finished()
		r.Until(func() string { return r.Uncommitted(old) })
		r.sound(b)
	})
}

// Wrong partition counts are named at the start: with fewer than the job topic a group does not start, what a tier or the
// receipt log has beyond is not used.
func TestWrongCountsAtStart(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		t.Parallel()
		r := newRig(t, c)
		for _, topic := range []string{r.Topic, r.bad} {
			r.create(topic, r.Partitions)
		}
		r.create(r.tier(), 1)
		r.create(r.receipts(), 1)
		for _, how := range []func(*consumer.Config){verify, func(*consumer.Config) {}} {
			said := r.refused(how)
			for _, topic := range []string{r.tier(), r.receipts()} {
				if want := fmt.Sprintf("topic %s: has 1 partitions and must have 2", topic); !strings.Contains(said, want) || !strings.Contains(said, "--partitions 2") {
					t.Errorf("%q does not say %q, and what to do", said, want)
				}
			}
		}
		for _, topic := range []string{r.tier(), r.receipts()} {
			if _, err := r.Admin.CreatePartitions(t.Context(), 3, topic); err != nil {
				t.Fatal(err)
			}
		}
		r.Until(func() string {
			found, err := r.Admin.ListTopics(t.Context(), r.tier(), r.receipts())
			if err != nil || len(found[r.tier()].Partitions) != 4 || len(found[r.receipts()].Partitions) != 4 {
				return fmt.Sprint("not grown: ", err)
			}
			return ""
		})
		a := r.begin("a")
		if n := len(a.Logged("has 4 partitions, of which 2 are used")); n != 2 {
			t.Errorf("said of %d topics that they have too many: %v", n, a.Logged(""))
		}
		flaky := r.put("flaky")
		r.Good(3)
		r.Finished()
		r.ran(flaky, 2*int(r.Partitions))
	})
}

// sum is how many records there are.
func sum(ends kadm.ListedOffsets) (n int64) {
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}
