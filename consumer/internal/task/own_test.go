package task

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// assigned is a rig whose process has not proven anything yet.
func assigned(t *testing.T, change ...func(w *world)) *rig {
	r := newRig(t, change...)
	r.p.crash()
	r.p = r.assign("b")
	r.lines = nil
	return r
}

// many gives the job topic n settled records and a frontier behind them.
func many(n int) func(w *world) {
	return func(w *world) {
		p := w.runs("before")
		for i := range n {
			w.produce(msg("free", fmt.Sprint(i), ""))
		}
		p.fetchAll()
		p.end(append([]*Entry(nil), p.pool...), success)
		p.tick(true)
		p.settleDown()
		p.crash()
	}
}

func TestWhereATaskStarts(t *testing.T) {
	for _, c := range []struct {
		name   string
		setup  func(w *world)
		want   string
		paused string
		lost   int64
	}{
		{"nothing known", func(w *world) {}, "start main at 0", "", 0},
		{"nothing known, retention passed", func(w *world) { twenty(w); w.main().start = 5 }, "start main at 5", "", 0},
		{"nothing known, the group starts at the end", func(w *world) { twenty(w); w.startEnd = true }, "start main at 20", "", 0},
		{"tiers start at their beginning all the same", func(w *world) { w.startEnd = true; w.append(w.topics[1], nil, nil, nil) }, "start retry.10s at 0", "", 0},
		{"the log", many(10), "start main at 10", "", 0},
		{"the log, offsets lost", func(w *world) { many(10)(w); clear(w.committed) }, "start main at 10", "", 0},
		{"the log wins over our commit", func(w *world) { many(10)(w); w.committed["main"] = place{7, true} }, "start main at 10", "", 0},
		{"the log is lost: our commit", func(w *world) { twenty(w); w.committed["main"] = place{7, true} }, "start main at 7", "", 0},
		{"an operator's order wins", func(w *world) { many(10)(w); w.committed["main"] = place{3, false} }, "start main at 3", "", 0},
		{"an order before there was a log", func(w *world) { twenty(w); w.committed["main"] = place{3, false} }, "start main at 3", "", 0},
		{"an order below what retention left: settled once, not lost", func(w *world) { many(10)(w); w.main().start = 8; w.committed["main"] = place{3, false} }, "start main at 8", "", 0},
		{"retention passed the frontier", func(w *world) { many(10)(w); twenty(w); w.main().start = 12 }, "start main at 12", "", 2},
		{"our commit beyond the end", func(w *world) { twenty(w); w.committed["main"] = place{21, true} }, "the start 21 lies beyond the end of the log 20", "truncated", 0},
		{"an order beyond the end", func(w *world) { many(10)(w); w.committed["main"] = place{11, false} }, "the start 11 lies beyond the end of the log 10", "truncated", 0},
		{"the log beyond the end", func(w *world) { many(10)(w); w.main().recs = w.main().recs[:9] }, "the start 10 lies beyond the end of the log 9", "truncated", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			var lines []string
			c.setup(w)
			w.trace = func(f string, a ...any) { lines = append(lines, fmt.Sprintf(f, a...)) }
			p := w.runs("b")
			r := &rig{world: w, t: t, p: p, lines: lines}
			r.said(c.want)
			equal(t, "pauses", p.m.main.pauses.String(), c.paused)
			equal(t, "lost", p.m.Stats().Lost, c.lost)
			if rewound := p.obeyed; rewound != (w.committed["main"].at > 0 && !w.committed["main"].ours) {
				t.Errorf("rewound: %v", rewound)
			}
		})
	}
}

func twenty(w *world) {
	for i := range 20 {
		w.produce(msg("free", fmt.Sprint("t", i), ""))
	}
}

// An operator's order is obeyed and audited; receipts still hold; the commit that follows makes the offset ours again.
func TestRewind(t *testing.T) {
	r := newRig(t, many(3), func(w *world) { w.committed["main"] = place{1, false} })
	equal(t, "committed", r.committed["main"], place{1, true})
	equal(t, "frontier in force", r.folds[len(r.folds)-1].fr[r.main().id], 1)
	r.p.fetchAll()
	r.said("!run")
	equal(t, "duplicates", r.p.m.Stats().Duplicate, 2)
	r.p.tick(true)
	r.p.settleDown()
	equal(t, "committed", r.committed["main"], place{3, true})
}

// A truncated partition stays stopped, also when the log grows past the place again: it holds other records.
func TestTruncatedStays(t *testing.T) {
	r := newRig(t, many(5), func(w *world) {
		w.main().recs, w.main().ghost = w.main().recs[:3], w.main().ghost[:3]
		delete(w.committed, "main")
	})
	r.unchecked = true
	equal(t, "pauses", r.p.m.main.pauses.String(), "truncated")
	twenty(r.world)
	for range 3 {
		r.p.tick(true)
		r.p.settleDown()
	}
	r.p.m.OutOfRange("retry.10s", r.now) // makes the machine look at places again
	r.p.carry()
	r.p.settleDown()
	r.said("prove membership", "start retry.10s at 0", "resume retry.10s", "!main at", "!resume main")
	equal(t, "pauses", r.p.m.main.pauses.String(), "truncated")
	equal(t, "its frontier is carried", r.folds[len(r.folds)-1].fr[r.main().id], 5)
}

func TestOutOfRange(t *testing.T) {
	t.Run("retention", func(t *testing.T) {
		r := newRig(t)
		r.unchecked = true // what retention took is not settled
		r.give(msg("free", "1", ""))
		twenty(r.world)
		r.main().start = 5
		r.end("free/1", success)
		r.lines = nil
		r.p.m.OutOfRange("main", r.now)
		r.p.m.OutOfRange("main", r.now) // as often as the broker says so
		r.p.m.OutOfRange("elsewhere", r.now)
		r.p.carry()
		r.said("prove membership", "pause main (restoring)")
		r.p.settleDown()
		r.said("retention removed 4 records before they were read (from 1 to 5)", "start main at 5", "resume main")
		equal(t, "lost", r.p.m.Stats().Lost, 4)
		r.p.tick(true)
		r.p.settleDown()
		r.said("segment of epoch 0: free/1 done; main=5")
	})
	t.Run("truncated", func(t *testing.T) {
		r := newRig(t)
		r.give(msg("free", "1", ""), msg("free", "2", ""))
		r.unchecked = true
		r.main().recs, r.main().ghost = r.main().recs[:1], r.main().ghost[:1]
		r.p.m.OutOfRange("main", r.now)
		r.p.carry()
		r.p.settleDown()
		r.said("was read up to 2, but ends at 1: truncated", "!resume main")
		equal(t, "pauses", r.p.m.main.pauses.String(), "truncated")
	})
	t.Run("a passing fault", func(t *testing.T) {
		r := newRig(t)
		r.give(msg("free", "1", ""))
		r.p.m.OutOfRange("main", r.now)
		r.p.carry()
		r.p.settleDown()
		r.said("start main at 1", "resume main", "!note")
	})
}

func TestNotAMember(t *testing.T) {
	r := assigned(t)
	r.member = nil
	r.p.settleDown()
	r.said("prove membership", "drained", "!start", "!resume", "!late")
	equal(t, "gone", r.p.m.Gone(), true)
	r.p.m.Proved(true, nil, r.now)
	r.p.m.ReadDone(r.now)
	r.p.m.Owned(9, r.now)
	r.p.m.Assign(r.now)
	r.p.carry()
	r.said("!")
}

func TestOwnershipRecordAckedWithoutOffset(t *testing.T) {
	r := assigned(t)
	x := r.p.logq[0]
	x.landLog()
	x.blind = true
	r.ack(x)
	r.said("ownership record")
	r.p.settleDown()
	equal(t, "running", r.p.m.Running(), true)
	equal(t, "epoch", r.p.m.Epoch(), 3)
}

// Another owner's record came between the read and the proof: nothing is claimed under the older epoch.
func TestOvertakenWhileProving(t *testing.T) {
	r := assigned(t)
	for r.p.asks == 0 {
		x := r.p
		switch {
		case len(x.logq) > 0:
			r.ack(r.landSegment())
		case x.read != nil:
			x.readSome(100)
		}
	}
	at := r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{}})
	if err := r.p.m.Entries([]*dedupe.Entry{r.log[at].entry}); err != nil {
		t.Fatal(err)
	}
	r.p.settleDown()
	r.said("ownership record", "start main")
	equal(t, "running", r.p.m.Running(), true)
	equal(t, "epoch", r.p.m.Epoch(), at+1)
}

// How far the log is read is told while it is, and no longer.
func TestRestoreIsSeen(t *testing.T) {
	r := assigned(t, many(3))
	equal(t, "before the ownership record is acked", r.p.m.Status().Restore == nil, true)
	x := r.p.logq[0]
	x.landLog()
	if err := x.answerLog(); err != nil {
		t.Fatal(err)
	}
	to := r.p.m.Epoch() + 1
	equal(t, "at first", *r.p.m.Status().Restore, Restore{0, 0, to})
	r.p.readSome(2)
	equal(t, "after two entries", *r.p.m.Status().Restore, Restore{0, 2, to})
	r.p.settleDown()
	equal(t, "in the end", r.p.m.Status().Restore == nil, true)
}

// A heartbeat from before the second ownership record proves nothing about its epoch.
func TestStaleProof(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.p.m.OutOfRange("main", r.now)
	r.p.carry()
	r.p.heartbeat() // a member, still
	r.end("free/1", success)
	r.p.tick(true)
	r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{Process: "another"}})
	r.ack(r.landSegment())
	r.member = nil
	r.p.readSome(100)
	r.ack(r.landSegment())
	r.p.readSome(100)
	equal(t, "proofs asked", r.p.asks, 1)
	r.lines = nil
	r.p.prove()
	equal(t, "running on the old proof", r.p.m.Running(), false)
	r.p.settleDown()
	equal(t, "gone", r.p.m.Gone(), true)
}

// The cluster may not know a partition for a moment; it is asked again at the next tick, and not more often.
func TestPlacesAreAskedAgain(t *testing.T) {
	r := assigned(t)
	for len(r.p.answers) == 0 {
		switch {
		case len(r.p.logq) > 0:
			r.ack(r.landSegment())
		case r.p.read != nil:
			r.p.readSome(100)
		default:
			r.p.heartbeat()
		}
	}
	r.p.answers[0].starts = r.p.answers[0].starts[1:]
	r.p.prove()
	r.said("start retry.10s at 0", "!start main")
	r.p.tick(false)
	r.said("!prove")
	r.p.tick(true)
	r.p.tick(true)
	equal(t, "asked", r.p.asks, 1)
	r.p.settleDown()
	r.said("prove membership", "start main at 0", "resume main")
	r.p.tick(true)
	r.said("!prove")
}

// A tier that a rolling deploy adds, or whose partition comes late, stops nobody.
func TestTierComesLater(t *testing.T) {
	r := newRig(t, func(w *world) { many(2)(w) })
	r.p.crash()
	r.p = r.assign("b", "retry.10s")
	r.p.settleDown()
	r.lines = nil
	r.give(msg("keyed", "1", "x"))
	r.p.m.AddTier("retry.2m", r.topics[2].id, 2*time.Minute, r.now)
	r.p.m.AddTier("retry.2m", r.topics[2].id, 2*time.Minute, r.now)
	r.p.carry()
	r.give(msg("keyed", "2", "y"))
	r.said("run keyed/1", "prove membership", "run keyed/2", "!pause")
	r.p.settleDown()
	r.said("start retry.2m at 0", "resume retry.2m", "!start main")
	r.p.tick(true)
	r.said("main=2 retry.10s=0 retry.2m=0")
}

// The frontier of a tier that is not read here is carried into the new epoch: it replaces the older one's.
func TestFrontiersOfAbsentTiersAreCarried(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", job.Outcome{Verdict: job.VerdictSnooze, Delay: time.Minute})
	r.p.settleDown()
	r.wait(time.Minute)
	r.p.fetchAll()
	r.p.tick(true)
	r.end("free/1", success)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.p.crash()
	r.p = r.assign("b", "retry.10s")
	r.p.settleDown()
	r.lines = nil
	r.p.tick(true)
	r.said("main=1 retry.10s=0 retry.2m=1")
	r.p.settleDown()
	r.p.m.AddTier("retry.2m", r.topics[2].id, 2*time.Minute, r.now)
	r.p.carry()
	r.p.settleDown()
	r.said("start retry.2m at 1")
}

// Frontiers of one epoch join by maximum. What is in force when a tier is added must not come back as ours: here an
// operator's order has just lowered the job topic's, and the segment that says so is not yet acked.
func TestRewindThenTierComesLater(t *testing.T) {
	r := newRig(t, many(5))
	r.p.crash()
	r.committed["main"] = place{1, false}
	r.p = r.assign("b", "retry.10s")
	r.p.settleDown()
	r.p.m.AddTier("retry.2m", r.topics[2].id, 2*time.Minute, r.now)
	r.p.carry()
	r.p.settleDown()
	r.lines = nil
	r.p.tick(true)
	r.said("main=1 retry.10s=0 retry.2m=0")
	r.p.settleDown()
	equal(t, "frontier in force", r.folds[len(r.folds)-1].fr[r.main().id], 1)
}

func TestLeaseHold(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "1", "x"), msg("keyed", "2", "x"), msg("free", "3", ""))
	r.p.m.Hold(Lease, true, r.now)
	r.p.lease = false
	r.p.carry()
	r.said("pause main (lease)", "pause retry.10s (lease)")
	r.end("keyed/1", success)
	r.end("free/3", job.Outcome{Verdict: job.VerdictCancelled})
	r.p.deliver("main", 0, 3)
	r.p.tick(true)
	r.said("!run", "segment") // what is settled is still written
	r.p.m.Hold(Lease, false, r.now)
	r.p.lease = true
	r.p.carry()
	r.said("resume main")
	r.p.tick(false)
	r.said("run keyed/2", "!attempt 2")
	same(t, "offered", r.offered(), "keyed/2", "free/3")
}

// A reason that holds the task holds a tier that comes later, too.
func TestHoldIsInherited(t *testing.T) {
	r := newRig(t)
	r.p.crash()
	r.p = r.assign("b", "retry.10s")
	r.p.settleDown()
	r.p.m.Hold(Layout, true, r.now)
	r.p.carry()
	r.p.m.AddTier("retry.2m", r.topics[2].id, 2*time.Minute, r.now)
	r.p.carry()
	r.p.settleDown()
	equal(t, "pauses", r.p.m.byTopic["retry.2m"].pauses.String(), "layout")
	r.p.m.Hold(Layout, false, r.now)
	r.p.carry()
	equal(t, "pauses", r.p.m.byTopic["retry.2m"].pauses.String(), "")
}
