package task

import (
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

func TestDrain(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "1", "x"), msg("keyed", "2", "x"), msg("free", "3", ""), msg("free", "4", ""))
	r.end("free/4", failure)
	r.lines = nil
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.p.m.Revoke(r.now)
	equal(t, "running", r.p.m.Running(), false)
	equal(t, "next", r.p.m.NextDue(), 0)
	r.produce(msg("free", "5", ""))
	r.p.deliver("main", 1, 0)
	r.end("keyed/1", success)
	r.said("!run") // keyed/2 waits for the next owner, free/5 was not even read
	r.p.tick(true)
	r.said("segment of epoch 0: keyed/1 done; main=1")
	r.p.settleDown()
	r.said("commit main=1", "!drained")
	r.end("free/3", job.Outcome{Verdict: job.VerdictCancelled})
	equal(t, "gone", r.p.m.Gone(), false)
	r.said("segment of epoch 0: free/4 retrying hop 1;", "!drained") // not before the copy's receipt is durable
	r.p.settleDown()
	equal(t, "drained", r.p.drained, true)
	equal(t, "gone", r.p.m.Gone(), true)
	f := r.folds[len(r.folds)-1]
	equal(t, "frontier", f.fr[r.main().id], 1)
	equal(t, "the copy's receipt", f.facts[job.IdentityOf("free", nil, "4")].state, dedupe.Retrying)
	r.p.m.Revoke(r.now)
	r.p.m.Abandon(r.now)
	r.p.m.Records("main", r.main().recs, r.now)
	r.p.m.Tick(true, r.now)
	r.p.carry()
	r.said("!run", "!late")
}

// Nothing to wait for: the drain still claims the frontier that a fresh owner has just learnt.
func TestDrainOfAnIdleTask(t *testing.T) {
	r := newRig(t)
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.said("segment of epoch 0: main=0 retry.10s=0 retry.2m=0 released", "!drained")
	r.p.settleDown()
	r.said("drained", "!segment")
	r.p.crash()
	r.p = r.runs("b")
	r.lines = nil
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.said("segment of epoch 3: main=0 retry.10s=0 retry.2m=0 released", "!drained")
	r.p.settleDown()
	r.said("drained", "commit main=0")
}

// A letter without a receipt, a conflict's, moves the frontier: the drain makes that durable too.
func TestDrainCountsWhatHasNoReceipt(t *testing.T) {
	r := newRig(t)
	m := msg("free", "1", "")
	r.give(m)
	r.end("free/1", success)
	r.p.tick(true)
	r.p.settleDown()
	m.Payload = []byte("another")
	r.give(m)
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.lines = nil
	r.p.settleDown()
	r.said("segment of epoch 0: main=2", "drained", "commit main=2")
}

// While a write is on the way or refused the drain does not end.
func TestDrainWaitsForWrites(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.end("free/1", failure)
	x := r.write()
	x.answer2(Refused)
	for range 3 {
		r.p.tick(true)
	}
	equal(t, "drained", r.p.drained, false)
	equal(t, "next due", time.Duration(r.p.m.NextDue()-r.now), 200*time.Millisecond)
	r.wait(time.Second)
	r.p.tick(false)
	r.p.settleDown()
	equal(t, "drained", r.p.drained, true)
	equal(t, "committed", r.committed["main"].at, 1)
}

// A drain that finds a later owner in the log claims nothing and lets go.
func TestDrainOvertaken(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.end("free/1", success)
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{}})
	r.ack(r.landSegment())
	r.p.settleDown()
	r.said("segment", "drained", "!commit")
	r.lines = nil
	r.end("free/2", success)
	r.said("late segment of epoch 0: free/2 done;")
}

// Abandoned: what is settled and not durable goes to the log as outcomes, without frontiers; so do a success and the ack of
// a copy that come later, and only those.
func TestAbandon(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"1", "2", "3", "4", "5", "6", "7"} {
		r.produce(msg("free", id, ""))
	}
	r.p.fetchAll()
	r.end("free/1", success)
	r.p.tick(true) // on the way
	r.end("free/2", success)
	r.end("free/3", failure)
	held := slices.Clone(r.p.pool)
	r.p.m.Abandon(r.now)
	r.lines = nil
	r.p.carry()
	r.said("late segment of epoch 0: free/1 done; free/2 done;")
	equal(t, "idle", r.p.m.Idle(), false)
	x := r.write()
	x.landWrite()
	x.answer()
	r.said("late segment of epoch 0: free/3 retrying hop 1;")
	r.end("free/4", success)
	r.said("late segment of epoch 0: free/4 done;")
	r.end("free/5", failure)
	r.end("free/6", job.Outcome{Verdict: job.VerdictDead})
	r.said("!late", "!copy", "!letter")
	r.end("free/7", success)
	r.said("late segment of epoch 0: free/7 done;")
	equal(t, "idle", r.p.m.Idle(), true)
	r.p.m.Outcomes(held, r.now) // told twice
	r.p.carry()
	equal(t, "idle", r.p.m.Idle(), true)
	r.p.settleDown()
	f := r.folds[len(r.folds)-1]
	equal(t, "frontier", f.fr[r.main().id], 1) // of the segment that was on the way
	equal(t, "known", len(f.facts), 5)
	r.p.crash()
	r.p = r.runs("b")
	r.lines = nil
	r.p.fetchAll()
	r.said("run free/5", "run free/6", "!free/1 ", "!free/3", "!free/4", "!free/7")
}

// A write that is refused after the task was let go says nothing, nor does the letter of a conflict.
func TestAbandonedWrites(t *testing.T) {
	r := newRig(t)
	m := msg("free", "1", "")
	r.give(m)
	r.end("free/1", success)
	r.p.tick(true)
	r.p.settleDown()
	m.Payload = []byte("another")
	r.give(m)
	conflict := r.write()
	r.give(msg("free", "2", ""))
	r.end("free/2", failure)
	r.p.m.Abandon(r.now)
	r.p.carry()
	r.lines = nil
	for _, x := range slices.Clone(r.p.writes) {
		if x == conflict {
			x.landWrite()
			x.answer()
		} else {
			x.answer2(Refused)
		}
	}
	r.said("!late")
}

func TestAbandonBeforeOwning(t *testing.T) {
	r := assigned(t)
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.said("drained", "!late")
	equal(t, "gone", r.p.m.Gone(), true)
}

// What memory holds after a second ownership record is not forgotten when the task is revoked before it is proven.
func TestRevokeWhileOwningAgain(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.end("free/1", success)
	r.p.tick(true)
	r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{}})
	r.ack(r.landSegment())
	r.p.readSome(100)
	r.end("free/2", success)
	r.lines = nil
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.said("late segment of epoch 0: free/2 done;", "drained")
}

// A task that is gone has nothing due, whatever it was trying: its shard must not wake for it.
func TestNothingIsDueWhenGone(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.end("free/1", failure)
	r.write().answer2(Refused)
	if r.p.m.NextDue() == 0 {
		t.Error("a refused write is due")
	}
	r.p.m.Abandon(r.now)
	r.p.carry()
	equal(t, "next due", r.p.m.NextDue(), 0)
	r.wait(time.Hour)
	r.p.tick(true)
	r.said("!resume")
}
