package checker

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// TestGuarantees: what differs by guarantee, by order and by intent.
func TestGuarantees(t *testing.T) {
	for _, c := range guaranteeCases {
		c.check(t)
	}
}

var guaranteeCases = []runCase{
	{"at most once: interrupted and run again", rerun("key.amo", "", 30), "at_most_once"},
	{"at most once: failed, its hop lost, run again", rerun("key.amo", ledger.Retry, 30), ""},
	{name: "at most once: interrupted and filed", want: "", do: func(s *script) {
		r := s.produce(0, 0, kindOf("key.amo", "1"))
		s.call(10, "w1", 1, r)
		s.fault(30, ledger.Kill, "w1")
		s.file(9000, r, 0, 1, "outcome_unknown")
	}},
	{"at least once: a done job runs again after any fault", rerun("key.alo", ledger.Done, 9000), ""},
	{"at least once: a done job runs again when the task changes hands", rerun("key.alo", ledger.Done, 0), ""},
	{name: "at least once: a done job runs again in one ownership", want: "I11 I6", do: func(s *script) {
		r := s.produce(0, 0, kindOf("key.alo", "1"))
		s.run(10, 20, "w1", 1, r, ledger.Done)
		s.run(9000, 9010, "w1", 1, r, ledger.Done)
	}},
	{name: "at least once: a retried job is done for whoever owns the task", want: "I11 I6", do: func(s *script) {
		r := s.produce(0, 0, kindOf("key.alo", "1"))
		s.run(10, 20, "w1", 1, r, ledger.Retry)
		hop := s.hop(25, 0, r, 0, 1, 1, 10)
		s.run(40, 50, "w1", 1, hop, ledger.Done)
		s.run(9000, 9010, "w2", 2, hop, ledger.Done)
	}},
	{name: "at least once: a second enqueue is not deduped", want: "", do: func(s *script) {
		for i := range 2 {
			r := s.produce(0, 0, kindOf("key.alo", "1"))
			s.run(10+20*i, 20+20*i, "w1", 1, r, ledger.Done)
		}
	}},
	{name: "at least once: a copy's success is recorded", want: "I11 I6", do: func(s *script) {
		r := s.produce(0, 0, kindOf("key.alo", "1"))
		s.run(10, 20, "w1", 1, r, ledger.Retry)
		hop := s.hop(25, 0, r, 0, 1, 1, 10)
		s.run(40, 50, "w1", 1, hop, ledger.Done)
		s.run(60, 70, "w1", 1, s.produce(55, 0, kindOf("key.alo", "1")), ledger.Done)
	}},
	{name: "reconciled: the effect of an interrupted call ends the job", want: "", do: func(s *script) {
		r := s.produce(0, 0, kindOf("key.rec", "1"))
		s.call(10, "w1", 1, r)
		s.effect(15, r)
		s.fault(30, ledger.Kill, "w1")
	}},
	{name: "others: the effect of an interrupted call ends nothing", want: "I1 I11", do: func(s *script) {
		r := s.produce(0, 0, mail)
		s.call(10, "w1", 1, r)
		s.effect(15, r)
		s.fault(30, ledger.Kill, "w1")
	}},
	{"poison: three processes and then the letter", poison(3), ""},
	{"poison: four processes", poison(4), "poison"},
	{name: "strict: a successor waits for the copy", want: "", do: func(s *script) { strict(s, 2000) }},
	{name: "strict: a successor passes", want: "I5", do: func(s *script) { strict(s, 500) }},
	{name: "strict: a successor of a dead head", want: "", do: func(s *script) {
		a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
		s.run(10, 20, "w1", 1, a, ledger.Dead)
		s.file(21, a, 0, 1, "dead")
		s.run(30, 40, "w1", 1, b, ledger.Done)
		s.run(100, 110, "w1", 1, s.redrive(90, a, 1), ledger.Done)
	}},
	{name: "strict: a rerun after a crash is no matter of order", want: "", do: func(s *script) {
		a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
		s.run(10, 20, "w1", 1, a, ledger.Done)
		s.run(30, 40, "w1", 1, b, ledger.Done)
		s.fault(50, ledger.Kill, "w1")
		s.run(9000, 9010, "w2", 2, a, ledger.Done)
		s.run(9020, 9030, "w2", 2, b, ledger.Done)
	}},
	{name: "by key: a hop lets successors pass", want: "", do: func(s *script) {
		a, b := s.produce(0, 0, kindOf("key.x", "a")), s.produce(0, 0, kindOf("key.x", "b"))
		s.run(10, 20, "w1", 1, a, ledger.Retry)
		hop := s.hop(21, 0, a, 0, 1, 1, 10)
		s.run(22, 30, "w1", 1, b, ledger.Done)
		s.run(40, 50, "w1", 1, hop, ledger.Done)
	}},
	{name: "by key: other keys, other partitions and other orders overlap", want: "", do: func(s *script) {
		for i, r := range []ledger.Pos{
			s.produce(0, 0, kindOf("key.x", "a")), s.produce(0, 1, kindOf("key.x", "b")), s.produce(0, 0, kindOf("free.x", "c")),
			s.produce(0, 0, kindOf("free.x", "d")), s.produce(0, 0, spec{kind: "key.x", key: "other", id: "e"}), s.produce(0, 0, kindOf("part.x", "f")),
		} {
			s.call(10+i, "w1", 1, r)
			defer s.returns(100+i, "w1", r, ledger.Done)
		}
	}},
	{name: "unordered: one job never runs at the same time as itself", want: "I5", do: func(s *script) {
		a, b := s.produce(0, 0, kindOf("free.x", "a")), s.produce(0, 0, kindOf("free.x", "a"))
		s.call(10, "w1", 1, a)
		s.run(11, 12, "w1", 1, b, ledger.Cancelled)
		s.returns(20, "w1", a, ledger.Done)
	}},
}

// rerun is a job whose first run returns, or does not if first is empty, and that is run again elsewhere. Its process is
// killed at a time, or not.
func rerun(kind string, first ledger.Result, killedAt int) func(*script) {
	return func(s *script) {
		r := s.produce(0, 0, kindOf(kind, "1"))
		s.call(10, "w1", 1, r)
		if first != "" {
			s.returns(20, "w1", r, first)
		}
		if killedAt > 0 {
			s.fault(killedAt, ledger.Kill, "w1")
		}
		s.run(9000, 9010, "w2", 2, r, ledger.Done)
	}
}

// poison is a job that takes n processes down before it is filed.
func poison(n int) func(*script) {
	return func(s *script) {
		r := s.produce(0, 0, spec{kind: "key.mail", key: "k", id: "1", intent: ledger.IntentPoison})
		for i := range n {
			process := string(rune('a' + i))
			s.call(1000*i, process, int64(i+1), r)
			s.fault(1000*i+10, ledger.Kill, process)
		}
		s.file(9000, r, 0, 1, "poison")
	}
}

// strict is a job retried once, and its successor that starts at a time.
func strict(s *script, successor int) {
	a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
	s.run(10, 20, "w1", 1, a, ledger.Retry)
	hop := s.hop(21, 0, a, 0, 1, 1, 1000)
	s.run(successor, successor+10, "w1", 1, b, ledger.Done)
	s.run(1100, 1110, "w1", 1, hop, ledger.Done)
}
