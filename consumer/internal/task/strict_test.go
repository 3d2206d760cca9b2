package task

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// What stands behind a failure follows it: to its tier, due with it, and no attempt is burnt. When both are due they run in order.
func TestStrictFollows(t *testing.T) {
	r := newRig(t, chained(8))
	r.give(msg("strict", "0", "k"), msg("strict", "1", "k"), msg("keyed", "2", "k"), msg("strict", "3", "l"))
	r.said("run strict/0", "run strict/3") // the other key goes on
	r.end("strict/3", success)
	r.end("strict/0", failure)
	r.said("copy strict/0 as hop 1 -> retry.10s delay 10s attempts 1", "copy strict/1 as hop 1 -> retry.10s delay 10s attempts 0")
	r.end("keyed/2", success)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.p.fetchAll()
	same(t, "not due", r.offered())
	r.wait(11 * time.Second)
	r.p.tick(false)
	same(t, "one at a time", r.offered(), "strict/0")
	r.end("strict/0", success)
	same(t, "its turn", r.offered(), "strict/1")
	r.end("strict/1", success)
}

// What is chained to a strict job goes back when that one is not done.
func TestStrictChainBreaks(t *testing.T) {
	r := newRig(t, chained(8))
	r.give(msg("strict", "0", "k"), msg("strict", "1", "k"), msg("strict", "2", "k"))
	r.said("run strict/0", "and behind it, 2 more")
	r.end("strict/0", success)
	r.end("strict/1", failure)
	r.said("run strict/1", "strict/2 goes back", "copy strict/2 as hop 1", "!run strict/2")
}

// A dead head unblocks its key when its letter is acked, not before.
func TestStrictDeadHead(t *testing.T) {
	r := newRig(t, func(w *world) { delete(w.kinds, "again") }) // in whose presence it would follow
	r.give(msg("strict", "0", "k"), msg("strict", "1", "k"))
	r.end("strict/0", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	same(t, "the letter is on its way", r.offered())
	r.p.settleDown()
	same(t, "filed", r.offered(), "strict/1")
	r.end("strict/1", success)
}

// Under job.Block a dead head holds its key, for the next owner too, until a redrive of it is done.
func TestStrictDeadHeadHolds(t *testing.T) {
	r := newRig(t)
	r.give(msg("holder", "0", "k"), msg("holder", "1", "k"))
	r.end("holder/0", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	r.p.settleDown()
	r.said("letter holder/0", "copy holder/1 as hop 1 -> retry.10s")
	r.p.tick(true)
	r.p.settleDown()
	r.p.crash()
	r.p = r.runs("b")
	r.wait(11 * time.Second)
	r.p.fetchAll()
	r.p.tick(true)
	r.said("copy holder/1 hop 1 as hop 2 -> retry.2m", "!run")
	r.p.settleDown()
	r.redrive(r.letters[0], []byte("payload"))
	r.wait(121 * time.Second)
	r.p.fetchAll()
	r.p.tick(true)
	same(t, "redriven", r.offered(), "holder/0")
	r.end("holder/0", failure)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	same(t, "it holds its key through the retries of the redrive", r.offered())
	r.wait(130 * time.Second)
	r.p.fetchAll()
	r.p.tick(true)
	r.end("holder/0", success)
	for range 3 {
		r.p.settleDown()
		r.wait(130 * time.Second)
		r.p.fetchAll()
		r.p.tick(true)
	}
	r.end("holder/1", success)
}

// A copy that is due before the job topic was read up to where its job entered it does not pass what is still to be read.
func TestStrictCopyIsEarly(t *testing.T) {
	r := newRig(t)
	r.give(msg("strict", "0", "k"), msg("strict", "1", "k"))
	r.end("strict/0", failure)
	r.p.settleDown() // both copies are in the tier
	r.p.crash()      // and no receipt says so
	r.wait(11 * time.Second)
	r.p = r.runs("b")
	r.lines = nil
	r.p.deliver("retry.10s", 2, 0)
	r.p.tick(true)
	r.said("copy strict/0 hop 1 as hop 2", "!run")
	r.p.settleDown()
}

// Too many followers pause the job topic, with a text that names whom they follow; half of them may stay.
func TestStrictKeyBlocked(t *testing.T) {
	r := newRig(t, func(w *world) { w.kinds["strict"].Policy.MaxFollowers = 4 })
	r.give(msg("strict", "head", "k"))
	r.end("strict/head", failure)
	for i := range 4 {
		r.give(msg("strict", fmt.Sprint(i), "k"))
	}
	r.p.settleDown()
	var text string
	for _, p := range r.p.m.Status().Sources[0].Pauses {
		if p.Reason == KeyBlocked {
			text = p.Text
		}
	}
	if !strings.Contains(text, "strict/head") || !r.p.paused["main"] {
		t.Errorf("paused %v: %q", r.p.paused["main"], text)
	}
	r.wait(11 * time.Second)
	r.p.fetchAll()
	r.p.tick(true)
	for _, name := range []string{"head", "0", "1", "2", "3"} {
		r.end("strict/"+name, success)
	}
	equal(t, "paused", r.p.paused["main"], false)
}

// The check of the simulation sees a follower that overtakes.
func TestStrictCheckSees(t *testing.T) {
	r := newRig(t)
	r.unchecked = true
	r.give(msg("strict", "0", "k"), msg("strict", "1", "k"))
	r.end("strict/0", failure)
	r.p.settleDown()
	r.p.fetchAll()
	r.wait(11 * time.Second)
	r.p.tick(false)
	e := r.entry("strict/0")
	env := e.env
	e.env.Origin.Offset, e.env.Identity = 1, r.idOf("strict/1")
	r.p.checkStrict(e)
	e.env = env
	if !strings.Contains(r.violation, "I5") {
		t.Error("not seen")
	}
}
