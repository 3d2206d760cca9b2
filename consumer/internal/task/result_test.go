package task

import (
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// setResult is what a handler under way does.
func (r *rig) setResult(name, result string) {
	r.t.Helper()
	if err := r.entry(name).Message().SetResult([]byte(result)); err != nil {
		r.t.Fatal(err)
	}
}

// durable ends everything that is on its way and returns the job's receipt.
func (r *rig) durable(name string) dedupe.Receipt {
	r.t.Helper()
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	got, _ := r.p.m.cfg.Store.Get(r.idOf(name))
	return got
}

func TestAResultStandsInTheReceipt(t *testing.T) {
	for _, kind := range []string{"keyed", "again"} { // at least once: a success with a result is recorded
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			r.give(msg(kind, "a", "k"))
			name := r.offered()[0]
			r.setResult(name, "order 7")
			r.end(name, success)
			got := r.durable(name)
			equal(t, "state", got.State, dedupe.Done)
			equal(t, "result", string(got.Result), "order 7")

			r.p.crash() // and in the log
			r.p = r.runs("b")
			got = r.durable(name)
			equal(t, "result after a crash", string(got.Result), "order 7")

			r.give(msg(kind, "a", "k"))
			same(t, "offered", r.offered())
			equal(t, "duplicates", r.p.m.stats.Duplicate, 1)
			got = r.durable(name)
			equal(t, "result after a second enqueue", string(got.Result), "order 7")
		})
	}
}

func TestAResultIsThatOfTheAttemptThatSucceeded(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "a", "k"))
	name := r.offered()[0]
	r.setResult(name, "of a failure")
	r.end(name, failure)
	got := r.durable(name)
	equal(t, "state", got.State, dedupe.Retrying)
	equal(t, "result of a failure", string(got.Result), "")
	r.p.fetchAll()
	r.wait(11e9)
	r.p.tick(true)
	r.p.fetchAll()
	equal(t, "what the next attempt finds", string(r.entry(name).Message().Result), "")
	r.end(name, success)
	got = r.durable(name)
	equal(t, "state", got.State, dedupe.Done)
	equal(t, "result", string(got.Result), "")
}

func TestAResultOfACancelledAttemptIsForgotten(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "a", "k"))
	name := r.offered()[0]
	r.setResult(name, "of a cancelled attempt")
	r.end(name, job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled})
	r.p.tick(true)
	r.p.settleDown()
	equal(t, "what the next attempt finds", string(r.entry(name).Message().Result), "")
	r.end(name, success)
	got := r.durable(name)
	equal(t, "result", string(got.Result), "")
}

func TestAResultWaitsForWhatTheJobEmitted(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "a", "k"))
	name := r.offered()[0]
	r.setResult(name, "order 7")
	if _, err := r.entry(name).Message().EmitRaw("keyed", []byte("{}"), "application/json", nil); err != nil {
		t.Fatal(err)
	}
	r.end(name, success)
	got := r.durable(name)
	equal(t, "state", got.State, dedupe.Done)
	equal(t, "result", string(got.Result), "order 7")
}
