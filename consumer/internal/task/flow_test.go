package task

import (
	"fmt"
	"testing"
	"time"
)

func small(l Limits) func(*world) {
	return func(w *world) { w.limits = l }
}

func TestBackpressureHysteresis(t *testing.T) {
	r := newRig(t, small(Limits{Records: 4, Bytes: 1 << 20, Tier: 4, Ahead: 100}))
	for i := range 4 {
		r.said("!pause")
		r.give(msg("free", fmt.Sprint(i), ""))
	}
	r.said("pause main (backpressure)")
	r.end("free/0", success)
	r.said("!resume") // three of four
	r.end("free/1", success)
	r.said("resume main")
	p := r.p.m.Status().Sources[0].Pauses
	equal(t, "pauses", len(p), 0)
}

func TestBackpressureByBytes(t *testing.T) {
	r := newRig(t, small(Limits{Records: 100, Bytes: 12_000, Tier: 100, Ahead: 100}))
	m := msg("free", "1", "")
	m.Payload = make([]byte, 9_500)
	r.give(m)
	since := r.time()
	r.said("pause main (backpressure)")
	p := r.p.m.Status().Sources[0].Pauses
	if len(p) != 1 || p[0].Reason != Backpressure || !p[0].Since.Equal(since) {
		t.Errorf("pauses %v", p)
	}
	r.end("free/1", success)
	r.said("resume main")
	equal(t, "bytes", r.p.m.Stats().HeldBytes, 0)
}

func TestTierHoldsAsManyAsItMay(t *testing.T) {
	r := newRig(t, small(Limits{Records: 100, Bytes: 1 << 20, Tier: 4, Ahead: 100}))
	r.failed(4)
	r.p.deliver("retry.10s", 2, 0)
	r.said("!pause")
	r.p.deliver("retry.10s", 1, 0)
	r.said("pause retry.10s (not_due)", "!pause main")
	r.wait(10 * time.Second)
	r.p.tick(false)
	r.said("resume retry.10s", "run free/0 hop 1", "run free/1", "run free/2")
	r.p.deliver("retry.10s", 1, 0)
	r.said("pause retry.10s (backpressure)", "run free/3")
	r.end("free/0", success)
	r.said("!resume")
	r.end("free/1", success)
	r.said("resume retry.10s")
}

// A tier that holds as many waiting jobs as it may is resumed a fetch wait before half of them are due, so that those
// behind them are there in time; but it never holds more than its limit.
func TestTierIsResumedAheadOfTime(t *testing.T) {
	r := newRig(t, small(Limits{Records: 100, Bytes: 1 << 20, Tier: 8, Ahead: 100}), func(w *world) { w.readAhead = time.Second })
	r.failed(12)
	r.p.deliver("retry.10s", 6, 0)
	r.said("pause retry.10s (not_due)")
	r.wait(8900 * time.Millisecond)
	r.p.tick(false)
	r.said("!resume")
	r.wait(200 * time.Millisecond)
	r.p.tick(false)
	r.said("resume retry.10s", "!run")
	r.p.deliver("retry.10s", 2, 0)
	r.said("pause retry.10s (backpressure)")
	equal(t, "NextDue", r.p.m.NextDue(), r.topic("retry.10s").recs[0].Time.Add(10*time.Second).UnixNano())
	r.wait(time.Second)
	r.p.tick(false)
	same(t, "offered", r.offered(), "free/0", "free/1", "free/2", "free/3", "free/4", "free/5", "free/6", "free/7")
	equal(t, "waiting", r.p.m.Status().Sources[1].Waiting, 0)
}

// failed makes jobs free/0 to free/n-1, each failed once and on its way through the smallest tier, which was not read yet.
func (r *rig) failed(n int) {
	for i := range n {
		r.give(msg("free", fmt.Sprint(i), ""))
	}
	for i := range n {
		r.end(fmt.Sprint("free/", i), failure)
	}
	r.p.settleDown()
	r.lines = nil
}

// Each partition has a floor in the task's bytes that no other can take; the rest is for whoever needs it.
func TestFloors(t *testing.T) {
	const limit = 48_000 // floors of 12,000 for the job topic and 6,000 for each of two tiers, and 24,000 to share
	r := newRig(t, small(Limits{Records: 100, Bytes: limit, Tier: 100, Ahead: 100}))
	m := msg("free", "slow", "")
	m.Payload = make([]byte, 4_500) // each byte counts twice, for the collector
	r.give(m)
	r.end("free/slow", failure)
	r.p.settleDown()
	m.ID, m.Payload = "large", make([]byte, 20_000)
	r.give(m)
	r.said("pause main (backpressure)", "pause retry.10s (backpressure,not_due)") // above the floor of a tier, and nothing is left to share
	equal(t, "retry.2m paused", r.p.paused["retry.2m"], false)
	r.end("free/large", success)
	r.said("resume main", "!resume retry.10s") // what waits in a tier takes its floor only, though all else is free
	r.wait(10 * time.Second)
	r.p.tick(false)
	r.said("resume retry.10s")
	r.end("free/slow", success)
}

// Finished jobs above an unfinished one cost a slot each: their number is bounded, and the reason says so.
func TestAhead(t *testing.T) {
	r := newRig(t, small(Limits{Records: 100, Bytes: 1 << 20, Tier: 100, Ahead: 6}))
	for i := range 6 {
		r.give(msg("free", fmt.Sprint(i), ""))
		if i > 0 {
			r.end(fmt.Sprint("free/", i), success)
		}
	}
	r.said("pause main (ahead)")
	r.p.tick(true)
	r.p.settleDown()
	r.said("!resume")
	r.end("free/0", success)
	r.p.tick(true)
	r.said("resume main", "main=6")
}

func TestSetLimits(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	l := DefaultLimits
	l.Records = 2
	r.p.m.SetLimits(l, r.now)
	r.p.carry()
	r.said("pause main (backpressure)")
	r.p.m.SetLimits(DefaultLimits, r.now)
	r.p.carry()
	r.said("resume main")
}

// The shard applies several inputs before it looks at the effects: the last word on a partition counts.
func TestPauseAndResumeInOneRound(t *testing.T) {
	r := newRig(t, small(Limits{Records: 2, Bytes: 1 << 20, Tier: 2, Ahead: 100}))
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.said("pause main")
	r.p.lazy = true
	r.end("free/1", success)
	r.produce(msg("free", "3", ""))
	r.p.deliver("main", 1, 0)
	r.p.lazy = false
	r.p.carry()
	r.said("pause main", "!resume")
	equal(t, "paused", r.p.paused["main"], true)
	r.p.lazy = true
	r.p.m.Hold(Layout, true, r.now)
	r.p.m.Hold(Layout, false, r.now)
	r.end("free/2", success)
	r.p.lazy = false
	r.p.carry()
	r.said("resume main", "!pause")
}

func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for r := range reasons {
		if s := r.String(); s == "" || s == "unknown" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		}
		seen[r.String()] = true
	}
	equal(t, "beyond", reasons.String(), "unknown")
	var p pauses
	equal(t, "first", p.set(Lease, true, 1), true)
	equal(t, "second", p.set(Ahead, true, 2), false)
	equal(t, "again", p.set(Ahead, true, 3), false)
	equal(t, "text", p.String(), "ahead,lease")
	equal(t, "since", p.list()[0].Since.UnixNano(), 2)
	equal(t, "one left", p.set(Lease, false, 4), false)
	equal(t, "none left", p.set(Ahead, false, 4), true)
}

func TestStatus(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.end("free/1", failure)
	s := r.p.m.Status()
	equal(t, "status", fmt.Sprint(s.Topic, s.Partition, " ", s.Phase, " ", s.Epoch, s.Receipts, s.Offered, s.Writes, len(s.Sources)), "main0 running 0 0 1 1 3")
	equal(t, "main", fmt.Sprintf("%+v", s.Sources[0]), "{Topic:main Next:2 Frontier:0 Held:2 Waiting:0 Pauses:[]}")
	equal(t, "who", fmt.Sprint(r.p.m.Topic(), r.p.m.Partition(), r.p.m.Ref() == any(r.p)), "main0 true")
	e := r.entry("free/2")
	equal(t, "entry", fmt.Sprintln(e.Machine() == r.p.m, e.Retried(), e.Message().Kind), "true false free\n")
}
