package task

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// mark has what is offered marked as the gate before the pools does.
func (r *rig) mark(names ...string) {
	r.t.Helper()
	for _, name := range names {
		r.p.m.Keep(&Keep{Receipt: SuspectMark(r.entry(name)), Mark: true, Answer: func(Kept) {}}, r.now)
		r.p.carry()
	}
	r.p.settleDown()
}

// dies ends the owner without a word; another takes over and reads what there is.
func (r *rig) dies() {
	r.p.crash()
	r.next()
}

// letsGo is a hand-over in which what runs is cancelled.
func (r *rig) letsGo() {
	r.p.m.Revoke(r.now)
	r.p.carry()
	for len(r.p.pool) > 0 {
		r.p.end([]*Entry{r.p.pool[0]}, job.Outcome{Verdict: job.VerdictCancelled})
	}
	r.p.settleDown()
	r.p.crash()
	r.next()
}

func (r *rig) next() {
	r.p = r.runs(fmt.Sprintf("p%d", r.seq))
	r.p.fetchAll()
	r.p.tick(true)
	r.p.settleDown()
}

func (r *rig) suspicion(name string, want Suspicion) {
	r.t.Helper()
	equal(r.t, "suspicion of "+name, r.entry(name).Suspicion(), want)
}

// A job that kills whoever runs it kills three and is filed; what ran beside it the second time is run alone and finished.
func TestPoison(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "killer", ""), msg("free", "bystander", ""))
	r.suspicion("free/killer", NoSuspect)
	r.dies()
	r.suspicion("free/killer", Suspect)
	r.suspicion("free/bystander", Suspect)
	r.mark("free/killer", "free/bystander")
	r.dies()
	r.suspicion("free/killer", Alone)
	r.suspicion("free/bystander", Alone)
	r.mark("free/killer")
	r.dies()
	same(t, "offered", r.offered(), "free/bystander")
	if n := len(r.letters); n != 1 || r.letters[0].disp != dlq.Poison || r.letters[0].code != job.CodePoison || r.letters[0].attempts != 1 {
		t.Fatalf("%d letters: %+v", n, r.letters)
	}
	r.suspicion("free/bystander", Alone)
	r.mark("free/bystander")
	r.end("free/bystander", success)
	r.p.tick(true)
	r.p.settleDown()
	equal(t, "receipt of the killer", r.durable("free/killer").Code, job.CodePoison)
	equal(t, "receipt of the other", r.durable("free/bystander").State, dedupe.Done)

	r.redrive(r.letters[0], r.letters[0].env.Payload) // by somebody who mended it
	r.wait(time.Second)
	r.p.fetchAll()
	r.wait(10 * time.Second)
	r.p.tick(false)
	r.suspicion("free/killer", NoSuspect)
}

// A suspect that ran alone makes room for the next when the log knows how it ended, or would be filed for what that one does;
// or when it did not run, or its task is let go.
func TestTrialEndsInTheLog(t *testing.T) {
	alone := func(names ...string) *rig {
		r := newRig(t)
		for _, name := range names {
			r.give(msg("free", name, ""))
		}
		r.dies()
		for _, name := range names {
			r.mark("free/" + name)
		}
		r.dies()
		return r
	}
	r := alone("1", "2")
	r.mark("free/1")
	r.end("free/1", success)
	equal(t, "cleared when it succeeded", r.p.cleared, 0)
	r.p.tick(true)
	equal(t, "cleared when that was sent", r.p.cleared, 0)
	r.p.settleDown()
	equal(t, "cleared when it was acked", r.p.cleared, 1)
	r.mark("free/2")
	r.end("free/2", failure)
	r.p.tick(true)
	equal(t, "cleared before the copy is acked", r.p.cleared, 1)
	r.durable("free/2")
	equal(t, "cleared after", r.p.cleared, 2)

	r = alone("1")
	r.mark("free/1")
	r.end("free/1", success)
	r.p.m.Abandon(r.now)
	r.p.carry()
	equal(t, "cleared when the task is let go", r.p.cleared, 1)
}

// Healthy takeovers suspect nothing, and a death suspects only what its owner may have been running.
func TestWhoIsSuspected(t *testing.T) {
	for name, c := range map[string]struct {
		before func(r *rig)
		then   func(r *rig)
		want   Suspicion
	}{
		"after a release":              {func(*rig) {}, (*rig).letsGo, NoSuspect},
		"after a death":                {func(*rig) {}, (*rig).dies, Suspect},
		"of a kind without receipts":   {func(*rig) {}, (*rig).dies, Suspect},
		"marked, and handed over":      {func(r *rig) { r.dies(); r.mark("free/job") }, (*rig).letsGo, Alone},
		"not begun, and handed over":   {func(r *rig) { r.dies() }, (*rig).letsGo, Suspect},
		"handed over by two":           {func(r *rig) { r.dies(); r.letsGo() }, (*rig).letsGo, Suspect},
		"not begun in two that died":   {func(r *rig) { r.dies() }, (*rig).dies, Suspect},
		"alone, and handed over":       {func(r *rig) { r.dies(); r.mark("free/job"); r.dies(); r.mark("free/job") }, (*rig).letsGo, Alone},
		"found once, not begun, death": {func(r *rig) { r.dies(); r.mark("free/job"); r.dies() }, (*rig).dies, Alone},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.give(msg("free", "job", ""))
			c.before(r)
			c.then(r)
			r.suspicion("free/job", c.want)
			r.give(msg("free", "later", "")) // it was not there when anybody died
			r.suspicion("free/later", NoSuspect)
		})
	}
}

// A suspect of a kind whose first success leaves no receipt leaves one: its mark must not outlive it.
func TestSuspectOfAtLeastOnce(t *testing.T) {
	r := newRig(t)
	r.give(msg("again", "1", "k"))
	r.dies()
	r.suspicion("again/1", Suspect)
	r.mark("again/1")
	r.end("again/1", success)
	r.p.tick(true)
	r.p.settleDown()
	equal(t, "receipt", r.durable("again/1").State, dedupe.Done)
}

// As many as the owner before took in at most are suspected; a copy that was not due when it died is none.
func TestHowManyAreSuspected(t *testing.T) {
	r := newRig(t, func(w *world) { w.limits = Limits{Records: 1, Tier: 2, Ahead: 100, Bytes: 1 << 20} })
	r.give(msg("free", "copy", ""))
	r.end("free/copy", failure)
	r.durable("free/copy")
	r.give(msg("free", "1", ""), msg("free", "2", ""), msg("free", "3", ""))
	r.dies()
	r.suspicion("free/1", Suspect)
	r.suspicion("free/2", Suspect)
	r.suspicion("free/3", NoSuspect)
	equal(t, "suspects", r.p.m.Status().Suspects, 2)
	r.wait(10 * time.Second)
	r.p.tick(false)
	r.suspicion("free/copy", NoSuspect)
}

// What came while its job was not done may have run after that and have taken the owner down, though its successor meets the job
// unfinished again.
func TestSuspectBehindItsOwnJob(t *testing.T) {
	r := newRig(t)
	first := msg(until, "a", "k")
	first.Expires = r.time().Add(5 * time.Second)
	r.give(first)
	r.end("until/a", failure)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.wait(11 * time.Second)
	r.produce(msg(until, "a", "k"))
	again := func() {
		r.p.deliver("retry.10s", 1, 0)
		r.p.tick(true)
		r.write() // an audit entry: it has expired
		r.p.deliver("main", 1, 0)
		r.p.writes[0].landWrite()
		r.p.writes[0].answer()
	}
	again()
	r.suspicion("until/a", NoSuspect)
	r.p.crash()
	r.p = r.runs("b")
	again()
	r.suspicion("until/a", Suspect)
}
