package topics_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/internal/edge"
)

// kept is a group that has done n jobs a partition of the bad topic and is stopped.
func kept(t *testing.T, c *edge.Cluster, n int) *rig {
	t.Parallel()
	r := newRig(t, c)
	a := r.begin("a")
	for range n {
		r.ran(r.put("good"), int(r.Partitions))
	}
	r.Good(2)
	r.Finished()
	r.Until(func() string { return r.Uncommitted(r.bad) })
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	return r
}

// The log is the truth: offsets that are lost are found in it, and are the group's again.
func TestLostOffsets(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := kept(t, c, 3)
		r.Until(func() string {
			if _, err := r.Admin.DeleteGroup(t.Context(), r.Group); err != nil {
				return err.Error()
			}
			return ""
		})
		before := len(r.Runs(""))
		b := r.begin("b")
		r.ran(r.put("good"), int(r.Partitions))
		r.Good(2)
		r.Finished()
		r.Until(func() string { return r.Uncommitted(r.bad) })
		if n := len(r.Runs("")) - before; n != int(r.Partitions)*3 {
			t.Errorf("%d runs, the new jobs are %d", n, r.Partitions*3)
		}
		r.sound(b)
	})
}

// An offset beyond the end stops its partitions and no others; so does nothing that the log contradicts.
func TestOffsetBeyondTheEnd(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := kept(t, c, 2)
		r.commit(r.bad, 100, "wb1") // ours: the log knows better
		b := r.begin("b")
		r.ran(r.put("good"), int(r.Partitions))
		r.sound(b)
		r.Good(2)
		r.Finished()
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		r.order(r.bad, 100)
		d := r.begin("d")
		r.paused(d, r.bad, "truncated")
		r.paused(d, r.tier())
		waiting := r.put("good")
		r.Good(2)
		r.Finished()
		if n := len(d.Logged("the start 100 lies beyond the end of the log")); n != int(r.Partitions) {
			t.Errorf("said %d times: %v", n, d.Logged(""))
		}
		if n := len(r.Runs(waiting)); n != 0 {
			t.Errorf("%d jobs ran", n)
		}
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		r.order(r.bad, 3)
		e := r.begin("e")
		r.ran(waiting, int(r.Partitions))
		r.sound(e)
	})
}

// An offset below the log start begins at the log start. What retention took unread is counted and said.
func TestOffsetBelowTheStart(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := kept(t, c, 2)
		for range 3 {
			r.put("good") // unread
		}
		offsets := kadm.Offsets{}
		for p := range r.Partitions {
			offsets.Add(kadm.Offset{Topic: r.bad, Partition: p, At: 4, LeaderEpoch: -1})
		}
		resp, err := r.Admin.DeleteRecords(t.Context(), offsets)
		if err = errors.Join(err, resp.Error()); err != nil {
			t.Fatal(err)
		}
		b := r.begin("b")
		r.ran("good-5-", int(r.Partitions))
		r.Good(2)
		r.Finished()
		r.sound(b)
		for _, gone := range []string{"good-3-", "good-4-"} {
			if n := len(r.Runs(gone)); n != 0 {
				t.Errorf("%s ran %d times", gone, n)
			}
		}
		if n := len(b.Logged("retention removed 2 records before they were read (from 2 to 4)")); n != int(r.Partitions) {
			t.Errorf("said %d times: %v", n, b.Logged(""))
		}
		lost := int64(0)
		for _, s := range b.Status().Tasks {
			lost += s.Stats.Lost
		}
		if lost != 2*int64(r.Partitions) {
			t.Errorf("%d lost", lost)
		}
	})
}

// A group that runs is not reset: the broker refuses, and says so. One that is stopped is: the order is obeyed once and
// audited, and what is done is not done again.
func TestResetByAnOperator(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := kept(t, c, 3)
		b := r.begin("b")
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: r.bad, Partition: 0, At: 0, LeaderEpoch: -1})
		resp, err := r.Admin.CommitOffsets(t.Context(), r.Group, offsets)
		if err = errors.Join(err, resp.Error()); !errors.Is(err, kerr.UnknownMemberID) {
			t.Errorf("a reset of a running group: %v", err)
		}
		set := kadm.TopicsSet{}
		set.Add(r.bad, 0)
		gone, err := r.Admin.DeleteOffsets(t.Context(), r.Group, set)
		if err == nil {
			err, _ = gone.Lookup(r.bad, 0)
		}
		if !errors.Is(err, kerr.GroupSubscribedToTopic) {
			t.Errorf("offsets of a running group deleted: %v", err)
		}
		if _, err := r.Admin.DeleteGroup(t.Context(), r.Group); !errors.Is(err, kerr.NonEmptyGroup) {
			t.Errorf("a running group deleted: %v", err)
		}
		r.Good(2)
		r.Finished()
		r.sound(b)
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
		before := len(r.Runs("good-1-"))
		r.order(r.bad, 1)
		d := r.begin("d")
		r.ran(r.put("good"), int(r.Partitions))
		r.Until(func() string { return r.Uncommitted(r.bad) })
		if n := len(r.Runs("good-1-")) - before + len(r.Runs("good-2-")) + len(r.Runs("good-3-")) - 2*int(r.Partitions); n != 0 {
			t.Errorf("%d jobs that were done ran again", n)
		}
		duplicates := int64(0)
		for _, s := range d.Status().Tasks {
			duplicates += s.Stats.Duplicate
		}
		if duplicates != 2*int64(r.Partitions) {
			t.Errorf("%d duplicates, want %d", duplicates, 2*r.Partitions)
		}
		r.Until(func() string {
			audited := 0
			for _, e := range r.Audit() {
				if e.What == audit.Rewind && e.Details["topic"] == r.bad && e.Details["offset"] == 1.0 {
					audited++
				}
			}
			if audited != int(r.Partitions) {
				return fmt.Sprintf("%d audited", audited)
			}
			return ""
		})
	})
}
