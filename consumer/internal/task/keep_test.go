package task

import (
	"context"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// idOf is the inverse of name.
func (w *world) idOf(name string) (id job.Identity) {
	for id, n := range w.names {
		if n == name {
			return id
		}
	}
	return id
}

// stepper is the engine around the machine, for attempts that keep progress: what it keeps is durable when answered.
type stepper struct {
	p       *proc
	answers []bool
}

// Keep implements job.Keeper; the answer comes later, the attempt of a test does not wait.
func (s *stepper) Keep(_ context.Context, m *job.Message, state []byte) error {
	s.p.m.Keep(&Keep{Receipt: Progress(m, state), Answer: s.answer}, s.p.w.now)
	s.p.carry()
	return nil
}

func (s *stepper) answer(k Kept) { s.answers = append(s.answers, k == Durable) }

// Start implements job.Keeper; its answer comes later too.
func (s *stepper) Start(_ context.Context, m *job.Message) error {
	s.p.m.Keep(&Keep{Receipt: StartMark(m), Mark: true, Answer: s.answer}, s.p.w.now)
	s.p.carry()
	return nil
}

func (s *stepper) step(t *testing.T, e *Entry, name string, calls *int) {
	t.Helper()
	n, err := job.Step(job.WithKeeper(t.Context(), s), e.Message(), name, func(context.Context) (int, error) { *calls++; return 7, nil })
	if err != nil || n != 7 {
		t.Errorf("step %s: %d, %v", name, n, err)
	}
}

func TestStepsAreDurableWhenAnswered(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "a", "k"))
	name := r.offered()[0]
	s, calls := &stepper{p: r.p}, 0
	s.step(t, r.entry(name), "one", &calls)
	r.said("segment of epoch 0: keyed/a step")
	if len(s.answers) != 0 {
		t.Fatal("answered before the segment was acked")
	}
	s.step(t, r.entry(name), "two", &calls) // goes with the next segment
	r.p.settleDown()
	same(t, "answers", s.answers, true, true)

	r.p.crash()
	r.p = r.runs("b")
	r.p.fetchAll()
	s.p = r.p
	s.step(t, r.entry(name), "one", &calls)
	s.step(t, r.entry(name), "two", &calls)
	equal(t, "calls", calls, 2)
	s.step(t, r.entry(name), "three", &calls)
	r.p.settleDown()
	r.end(name, success)
	r.p.tick(true)
	r.p.settleDown()
	if got, ok := r.p.m.cfg.Store.Get(r.idOf(name)); !ok || got.State != dedupe.Done || got.Result != nil {
		t.Errorf("%+v", got)
	}
}

func TestStepsOutliveFailures(t *testing.T) {
	r := newRig(t)
	r.give(msg("again", "a", "k")) // at least once: the success of a job that kept progress is recorded all the same
	name := r.offered()[0]
	s, calls := &stepper{p: r.p}, 0
	s.step(t, r.entry(name), "one", &calls)
	r.p.settleDown()
	r.end(name, failure)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.p.fetchAll()
	r.wait(11e9)
	r.p.tick(true)
	r.p.fetchAll()
	s.step(t, r.entry(name), "one", &calls)
	s.step(t, r.entry(name), "two", &calls) // the first number of this hop
	r.p.settleDown()
	r.p.crash()
	r.p = r.runs("b")
	r.p.fetchAll()
	r.p.tick(true)
	s.p = r.p
	s.step(t, r.entry(name), "one", &calls)
	s.step(t, r.entry(name), "two", &calls)
	equal(t, "calls", calls, 2)
	r.end(name, job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	r.p.settleDown()
	r.redrive(r.letters[0], r.letters[0].env.Payload)
	r.p.fetchAll()
	r.wait(11e9)
	r.p.tick(true)
	r.p.settleDown()
	r.p.fetchAll()
	s.step(t, r.entry(name), "one", &calls)
	s.step(t, r.entry(name), "two", &calls)
	equal(t, "calls after a redrive", calls, 2)
	r.end(name, success)
	r.p.settleDown()
}

func TestTheFirstSuccessOfASteppedJobIsRecorded(t *testing.T) {
	r := newRig(t)
	r.give(msg("again", "a", "k"))
	name := r.offered()[0]
	s, calls := &stepper{p: r.p}, 0
	s.step(t, r.entry(name), "one", &calls)
	r.p.settleDown()
	r.end(name, success)
	r.p.tick(true)
	r.p.settleDown()
	if got, _ := r.p.m.cfg.Store.Get(r.idOf(name)); got.State != dedupe.Done {
		t.Errorf("%+v", got)
	}
}

func TestProgressOfATaskThatIsLetGo(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "a", "k"))
	name := r.offered()[0]
	s, calls := &stepper{p: r.p}, 0
	e := r.entry(name)
	s.step(t, e, "one", &calls)
	s.step(t, e, "two", &calls)
	r.p.m.Abandon(r.now)
	r.p.carry()
	same(t, "answers", s.answers, false, false)
	s.step(t, e, "three", &calls)
	same(t, "answers", s.answers, false, false, false)
	r.p.drained = true
	r.p.crash()
	for len(r.orphans) > 0 { // both segments land: what was kept is true whoever owns the task
		x := r.orphans[0]
		for x.landed < len(x.parts) {
			x.landLog()
		}
		r.orphans = r.orphans[1:]
	}
	r.p = r.runs("b")
	r.p.fetchAll()
	s.p = r.p
	s.step(t, r.entry(name), "two", &calls)
	equal(t, "calls", calls, 3)
	r.end(name, success)
}

func TestEmittedBeforeDone(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "a", "k"))
	name := r.offered()[0]
	emit := func() {
		if _, err := r.entry(name).Message().EmitRaw("keyed", []byte("{}"), "", nil); err != nil {
			t.Fatal(err)
		}
	}
	emit()
	r.end(name, failure) // emits nothing
	r.said("!emitted by")
	r.p.settleDown()
	r.p.fetchAll()
	r.wait(11e9)
	r.p.tick(true)
	emit()
	r.end(name, success)
	r.said("1 jobs emitted by")
	w := r.write()
	r.p.tick(true)
	r.said("!done")
	w.res = Refused
	w.answer()
	r.wait(1e9)
	r.p.tick(true)
	r.said("1 jobs emitted by", "!done")
	r.p.settleDown()
	r.p.tick(true)
	r.said("done")
	r.p.settleDown()

	r.give(msg("keyed", "b", "k"))
	name = r.offered()[0]
	emit()
	r.end(name, success)
	w = r.write()
	w.write.Problem = "too large"
	w.res = TooLarge
	w.answer()
	r.said("letter keyed/b attempts 1: too_large")
	r.p.settleDown()
}
