package task

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// A first success leaves no receipt, so nobody knows it after a crash; what fails does, and then its success too.
func TestAtLeastOnceReceipts(t *testing.T) {
	r := newRig(t)
	r.give(msg("again", "1", "x"), msg("again", "2", "y"), msg("again", "3", "z"))
	r.end("again/1", success)
	r.end("again/2", failure)
	r.end("again/3", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.said("segment of epoch 0: again/2 retrying hop 1; again/3 dead; main=3", "commit main=3")
	r.wait(10 * time.Second)
	r.p.fetchAll()
	r.p.tick(true)
	r.end("again/2", success)
	r.p.tick(true)
	r.p.settleDown()
	r.said("run again/2 hop 1 attempt 2", "again/2 done;")

	r.give(msg("again", "1", "x"), msg("again", "2", "y"), msg("again", "3", "z")) // enqueued once more
	r.said("run again/1", "!run again/2", "!run again/3")
	m := msg("again", "2", "y")
	m.Payload = []byte("another")
	r.give(m)
	r.said("letter again/2 attempts 0: conflict")
	r.end("again/1", success)
	r.p.settleDown()
}

// A task lets go at once: of a late success of a kind that may run again nothing needs to be told.
func TestAtLeastOnceLate(t *testing.T) {
	r := newRig(t)
	r.give(msg("again", "1", "x"), msg("free", "2", ""))
	r.p.m.Abandon(r.now)
	r.p.end([]*Entry{r.entry("again/1"), r.entry("free/2")}, success)
	r.said("late segment of epoch 0: free/2 done;")
}

func TestRerunsAreBounded(t *testing.T) {
	r := newRig(t, small(Limits{Records: 100, Bytes: 1 << 20, Tier: 100, Ahead: 100, Reruns: 4}))
	for i := range 10 {
		r.produce(msg("again", fmt.Sprint(i), fmt.Sprint(i)))
	}
	r.produce(msg("free", "recorded", ""))
	r.p.fetchAll()
	same(t, "near the frontier", r.offered(), "again/0", "again/1", "again/2", "again/3", "free/recorded")
	for i := range 3 {
		r.end(fmt.Sprint("again/", i+1), success)
	}
	r.p.tick(true)
	r.p.tick(true)
	r.said("!segment", "pause main (ahead)") // the first job is unfinished: nothing moves
	r.end("again/0", success)
	r.said("segment of epoch 0: main=4") // before its tick: half of the distance is used up
	r.said("!run")
	r.p.settleDown()
	r.said("resume main", "run again/4 attempt", "run again/7 attempt", "commit main=4", "!run again/8")
	for i := range 4 {
		r.end(fmt.Sprint("again/", i+4), success)
	}
	r.p.settleDown()
	r.said("run again/8", "run again/9", "!pause")
}

// A gap in the offsets, of a compacted or a transactional topic, is no distance that anybody has run.
func TestRerunsAcrossAGap(t *testing.T) {
	r := newRig(t, small(Limits{Records: 100, Bytes: 1 << 20, Tier: 100, Ahead: 100, Reruns: 4}))
	recs := make([]Record, 1)
	r.produce(msg("again", "1", "x"))
	recs[0] = r.main().recs[0]
	recs[0].Offset = 50
	r.unchecked = true
	r.p.m.Records("main", recs, r.now)
	r.p.carry()
	same(t, "too far", r.offered())
	r.p.tick(true)
	r.p.settleDown()
	same(t, "at the frontier", r.offered(), "again/1")
}
