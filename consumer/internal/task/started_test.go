package task

import (
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// An attempt whose owner died after its mark was durable: under AtMostOnce the job is filed, under Reconciled it is asked about.
func TestAnAttemptNobodyKnowsTheEndOf(t *testing.T) {
	for _, kind := range []string{"once", "asked"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t)
			r.give(msg(kind, "a", "k"))
			name := r.offered()[0]
			s := &stepper{p: r.p}
			if err := s.Start(t.Context(), r.entry(name).Message()); err != nil {
				t.Fatal(err)
			}
			if len(s.answers) != 0 {
				t.Fatal("answered before the segment was acked")
			}
			r.p.settleDown()
			same(t, "answers", s.answers, true)
			r.p.crash()
			r.p = r.runs("b")
			r.p.fetchAll()
			if kind == "asked" {
				if !r.entry(name).Message().Unsure {
					t.Error("the handler is not told that an attempt began")
				}
				r.end(name, failure) // Reconcile could not say
				r.p.settleDown()
				r.wait(11e9)
				r.p.fetchAll()
				r.p.tick(true)
				if e := r.entry(name); !e.env.Unsure || e.env.LastCode != job.CodeUnreconciled {
					t.Errorf("the copy does not carry the doubt: %+v", e.env)
				}
				return
			}
			same(t, "offered", r.offered())
			r.p.settleDown()
			if n := len(r.letters); n != 1 || r.letters[0].disp != dlq.OutcomeUnknown {
				t.Errorf("%d letters: %+v", n, r.letters)
			}
			if got := r.durable(name); got.State != dedupe.Dead || got.Code != job.CodeOutcomeUnknown {
				t.Errorf("%+v", got)
			}
		})
	}
}

// What was offered and did not begin is run by the next owner as if nothing had been; what failed is retried.
func TestMarksOfWhatIsKnown(t *testing.T) {
	r := newRig(t)
	r.give(msg("once", "a", "k"), msg("once", "b", "l"))
	names := r.offered()
	s := &stepper{p: r.p}
	_ = s.Start(t.Context(), r.entry(names[1]).Message())
	r.p.settleDown()
	r.end(names[1], failure)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.p.crash()
	r.p = r.runs("b")
	r.p.fetchAll()
	same(t, "offered", r.offered(), names[0])
	r.end(names[0], success)
	r.wait(11e9)
	r.p.fetchAll()
	r.p.tick(true)
	same(t, "offered after the tier", r.offered(), names[1])
	if len(r.letters) != 0 {
		t.Errorf("letters: %+v", r.letters)
	}
}
