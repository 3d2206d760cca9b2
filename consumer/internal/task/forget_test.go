package task

import (
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// order lands an operator's order to forget jobs behind what the machine has folded.
func (r *rig) order(names ...string) {
	seg := &dedupe.Segment{Epoch: -1}
	for _, name := range names {
		seg.Forget = append(seg.Forget, r.idOf(name))
	}
	r.land(nil, dedupe.Entry{Segment: seg})
}

// logEnd tells the machine how far the log goes.
func (r *rig) logEnd() {
	r.p.m.LogEnd(int64(len(r.log)), r.now)
	r.p.carry()
}

func (r *rig) isDone(job string) {
	r.end(job, success)
	r.p.tick(true)
	r.p.settleDown()
	r.lines = nil
}

// An idle task hears of an order by the end of its log, says so with a segment, and the job runs again.
func TestOrderToForget(t *testing.T) {
	r := newRig(t)
	r.unchecked = true // the job is run again: that is what is ordered
	r.give(msg("free", "1", ""))
	r.isDone("free/1")
	r.logEnd()
	r.said("!read log") // no news
	r.order("free/1")
	r.logEnd()
	r.said("read log 3 to 4")
	r.give(msg("free", "1", ""))
	r.said("!run") // what is in the log is known first
	r.logEnd()
	r.said("!read log") // one read at a time
	r.p.tick(true)
	r.said("!segment")
	r.p.settleDown()
	r.said("run free/1")
	r.p.tick(true)
	r.said("segment of epoch 0: main=1") // the order was heard
	r.p.settleDown()
	equal(t, "skipped", r.p.m.Stats().Duplicate, 0)
}

// A segment on its way finds the order as what it is, a gap.
func TestOrderToForgetInTheGap(t *testing.T) {
	r := newRig(t)
	r.unchecked = true
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.isDone("free/1")
	r.end("free/2", success)
	r.p.tick(true)
	r.order("free/1", "free/2")
	r.logEnd()
	r.said("segment", "!read log")
	r.ack(r.landSegment())
	r.said("read log 3 to 5")
	r.p.settleDown()
	_, one := r.p.m.cfg.Store.Get(r.idOf("free/1"))
	_, two := r.p.m.cfg.Store.Get(r.idOf("free/2"))
	equal(t, "free/1 is known", one, false)
	equal(t, "free/2, whose receipt landed behind the order, is known", two, true)
}

// What is settled and not yet durable is settled later than the order; it stands, and nothing is lost by a revoke.
func TestRevokeWhileTheLogIsRead(t *testing.T) {
	r := newRig(t)
	r.unchecked = true
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.isDone("free/1")
	r.end("free/2", success)
	r.order("free/1")
	r.logEnd()
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.said("read log 3 to 4", "!segment")
	equal(t, "let go", r.p.m.Gone(), false)
	r.p.settleDown()
	r.said("segment of epoch 0: free/2 done; main=2", "commit main=2")
	equal(t, "let go", r.p.m.Gone(), true)
}

// Another owner behind the end of the log: own again.
func TestLaterOwnerAtTheLogEnd(t *testing.T) {
	r := newRig(t)
	r.land(nil, dedupe.Entry{Owner: &dedupe.Owner{Process: "b"}})
	r.logEnd()
	r.p.settleDown()
	r.said("read log 2 to 3", "ownership record", "took the task over at epoch 2", "prove membership")
	r.give(msg("free", "1", ""))
	r.end("free/1", job.Outcome{})
	r.p.tick(true)
	r.p.settleDown()
	r.said("commit main=1")
}
