package topics_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/retrytopics"
)

// A topic that is deleted while the group runs stops what needs it, and nothing else; when it is made anew the group goes
// on by itself, save for a job topic.
func TestDeletedWhileRunning(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		for _, x := range []struct {
			name  string
			topic func(r *rig) string
			kind  string // of the jobs that need it
			runs  int    // of each, in all
			text  string
			pause string // of the job topic's partitions, while jobs need it
		}{
			{"tier", (*rig).tier, "flaky", 2, "jobs that fail hold up their task. `waybill setup apply` makes it anew", "unacked_writes"},
			{"letters", (*rig).letters, "poison", 1, "dead letters cannot be filed", "unacked_writes"},
			{"receipts", (*rig).receipts, "good", 1, "no task of", "unacked_writes"},
		} {
			t.Run(x.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, c)
				a := r.begin("a")
				before := r.put(x.kind)
				r.ran(before, x.runs*int(r.Partitions))
				r.Good(3)
				r.Finished()
				topic := x.topic(r)
				r.remove(topic)
				during := r.put(x.kind)
				r.faulty(a, topic, "missing", x.text)
				r.Until(func() string {
					p := fmt.Sprint(a.Pauses())
					if !strings.Contains(p, r.bad+"/0: "+x.pause) && !strings.Contains(p, r.bad+"/0: missing") {
						return p
					}
					return ""
				})
				r.calm(a)
				r.apply()
				r.sound(a)
				after := r.put(x.kind)
				r.ran(after, x.runs*int(r.Partitions))
				r.Until(func() string {
					if n := len(r.Runs(during)); n < x.runs*int(r.Partitions) {
						return fmt.Sprintf("%d runs of %s", n, during)
					}
					return ""
				})
				r.Good(3)
				r.Finished()
				r.Until(func() string { return r.Uncommitted(r.bad) })
				if err := a.Stop(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// A topic that is deleted and made anew at once is another topic.
func TestRecreatedWhileRunning(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		for _, x := range []struct {
			name  string
			topic func(r *rig) string
			kind  string
			runs  int
		}{
			{"tier", (*rig).tier, "flaky", 2},
			{"letters", (*rig).letters, "poison", 1},
			{"receipts", (*rig).receipts, "good", 1},
		} {
			t.Run(x.name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, c)
				a := r.begin("a")
				before := r.put(x.kind)
				r.ran(before, x.runs*int(r.Partitions))
				r.Good(3)
				r.Finished()
				topic := x.topic(r)
				r.remove(topic)
				r.apply()
				during := r.put(x.kind)
				r.Until(func() string {
					if n := len(r.Runs(during)); n < x.runs*int(r.Partitions) {
						return fmt.Sprintf("%d runs of %s", n, during)
					}
					return ""
				})
				r.Good(3)
				r.Finished()
				r.Until(func() string { // the broker may go on for a while without a refusal that makes the instance look
					if n := len(a.Logged("a topic was deleted and made anew")); n != 1 {
						return fmt.Sprintf("said %d times", n)
					}
					return ""
				})
				r.sound(a)
				r.Until(func() string {
					for _, e := range r.Audit() {
						if e.What == audit.Recreated && e.Details["topic"] == topic {
							return ""
						}
					}
					return "not audited"
				})
				r.Until(func() string { return r.Uncommitted(r.bad) })
				if err := a.Stop(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// A job topic that is deleted stops its tasks' fresh jobs and nothing else: copies in its tiers go on. Made anew it holds
// other jobs, so it stays stopped, through a restart too, until an operator says where to begin.
func TestJobTopicRecreated(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		t.Parallel()
		r := newRig(t, c)
		a := r.begin("a")
		before := r.put("good")
		r.ran(before, int(r.Partitions))
		r.Until(func() string { return r.Uncommitted(r.bad) })
		r.remove(r.bad)
		r.faulty(a, r.bad, "missing", "the job topic does not exist; jobs in its tiers go on")
		r.paused(a, r.bad, "missing")
		r.paused(a, r.tier())
		r.calm(a)
		r.create(r.bad, r.Partitions)
		first := r.put("good")
		r.faulty(a, r.bad, "recreated", "Stop the group, set its offset in the new topic by hand")
		r.paused(a, r.bad, "recreated")
		r.calm(a)
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		r.commit(r.bad, 1, "wb1") // as if the group's offset of the old topic were still there
		b := r.begin("b")
		r.paused(b, r.bad, "recreated")
		r.faulty(b, r.bad, "recreated", "set its offset in the new topic by hand")
		r.Good(3)
		r.Finished()
		if n := len(r.Runs(first)); n != 0 {
			t.Errorf("%d jobs of the new topic ran although nobody said where to begin", n)
		}
		if n := len(b.Logged("deleted and made anew since the group read it")); n != int(r.Partitions) {
			t.Errorf("said %d times: %v", n, b.Logged(""))
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		r.order(r.bad, 0)
		d := r.begin("d")
		r.ran(first, int(r.Partitions))
		r.sound(d)
		r.Until(func() string { return r.Uncommitted(r.bad) })
	})
}

// Partitions that are added to a job topic stay unread, and say so.
func TestGrownWhileRunning(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		t.Parallel()
		r := newRig(t, c)
		a := r.begin("a")
		if _, err := r.Admin.CreatePartitions(t.Context(), 2, r.bad); err != nil {
			t.Fatal(err)
		}
		r.faulty(a, r.bad, "layout", "partitions from 2 on stay paused (layout) until the group is grown")
		r.Until(func() string {
			seen := 0
			for _, p := range a.Pauses() {
				if p == r.bad+"/2: layout" || p == r.bad+"/3: layout" {
					seen++
				}
			}
			if seen != 2 {
				return fmt.Sprint(a.Pauses())
			}
			return ""
		})
		before := r.put("flaky")
		r.ran(before, 2*int(r.Partitions))
		beyond := r.Job(3, "good", "beyond", `{"n":1}`)
		beyond.Topic = r.bad
		r.Put(beyond)
		r.Good(3)
		r.Finished()
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		b := r.begin("b", verify)
		r.faulty(b, r.bad, "layout", "order and dedupe end where the count changes")
		r.Good(3)
		r.Finished()
		if n := len(r.Runs("beyond")); n != 0 {
			t.Errorf("a job beyond the layout ran %d times", n)
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}

		// The way by hand: the layout is forgotten, the engine's topics grow.
		for _, topic := range append(r.tiersOfBad(), r.receipts()) {
			if _, err := r.Admin.CreatePartitions(t.Context(), 2, topic); err != nil {
				t.Fatal(err)
			}
		}
		r.remove(retrytopics.ControlTopic(r.Group))
		r.Until(func() string {
			found, err := r.Admin.ListTopics(t.Context(), r.receipts())
			if err != nil || len(found[r.receipts()].Partitions) != 4 {
				return "not grown"
			}
			return ""
		})
		d := r.begin("d")
		r.ran("beyond", 1)
		r.sound(d)
	})
}

func (r *rig) tiersOfBad() (out []string) {
	for _, d := range r.Tiers {
		out = append(out, retrytopics.TierTopic(r.bad, r.Group, d))
	}
	return out
}
