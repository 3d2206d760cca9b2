package checker

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

var mail = spec{kind: "key.mail", key: "k", id: "1", payload: "a"}

func kindOf(kind string, id string) spec { return spec{kind: kind, key: "k", id: id, payload: "a"} }

// TestFaultsExcuse: what each fault excuses, and what it does not. The window is 100 ms, the lease 1 s, the drain 50 ms.
func TestFaultsExcuse(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*script)
		want string
	}{
		// a paused process wakes up while another has taken its job
		{"overlap with a paused process", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(20, ledger.Pause, "w1")
			s.run(500, 510, "w2", 2, r, ledger.Done)
			s.fault(600, ledger.Resume, "w1")
			s.returns(610, "w1", r, ledger.Done)
		}, ""},
		{"overlap with a process that was resumed long ago", func(s *script) {
			r := s.produce(0, 0, mail)
			s.fault(1, ledger.Pause, "w1")
			s.fault(2, ledger.Resume, "w1")
			s.call(1500, "w1", 1, r)
			s.run(1600, 1610, "w2", 2, r, ledger.Done)
			s.returns(1700, "w1", r, ledger.Done)
		}, "I5"},
		{"a zombie starts with an old fence", func(s *script) {
			a, b := s.produce(0, 0, mail), s.produce(0, 0, kindOf("free.x", "2"))
			s.fault(10, ledger.Pause, "w1")
			s.run(500, 510, "w2", 2, a, ledger.Done)
			s.fault(600, ledger.Resume, "w1")
			s.run(601, 602, "w1", 1, b, ledger.Done)
		}, ""},
		{"a zombie starts with an old fence, and is none", func(s *script) {
			a, b := s.produce(0, 0, mail), s.produce(0, 0, kindOf("free.x", "2"))
			s.run(500, 510, "w2", 2, a, ledger.Done)
			s.run(601, 602, "w1", 1, b, ledger.Done)
		}, "I9"},
		{"a rerun after a cut process was done unheard", func(s *script) {
			r := s.produce(0, 0, mail)
			s.fault(5, ledger.Cut, "w1")
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.run(900, 910, "w2", 2, r, ledger.Done)
			s.fault(1000, ledger.Heal, "w1")
		}, ""},
		{"a rerun long after the cut process was heard again", func(s *script) {
			r := s.produce(0, 0, mail)
			s.fault(5, ledger.Cut, "w1")
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.fault(1000, ledger.Heal, "w1")
			s.run(2200, 2210, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"a rerun of what was done long before the cut", func(s *script) {
			r := s.produce(0, 0, mail)
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.fault(200, ledger.Cut, "w1")
			s.run(300, 310, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"killed while cut: what was not written is lost", func(s *script) {
			r := s.produce(0, 0, mail)
			s.fault(5, ledger.Cut, "w1")
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.fault(800, ledger.Kill, "w1")
			s.run(9000, 9010, "w2", 2, r, ledger.Done)
		}, ""},
		{"killed long after it was done", func(s *script) {
			r := s.produce(0, 0, mail)
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.fault(800, ledger.Kill, "w1")
			s.run(9000, 9010, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"killed while the broker was down", func(s *script) {
			r := s.produce(0, 0, mail)
			s.fault(15, ledger.BrokerDown, "b1")
			s.run(16, 20, "w1", 1, r, ledger.Done)
			s.fault(800, ledger.Kill, "w1")
			s.fault(900, ledger.BrokerUp, "b1")
			s.run(9000, 9010, "w2", 2, r, ledger.Done)
		}, ""},
		{"killed long after the broker came back", func(s *script) {
			r := s.produce(0, 0, mail)
			s.fault(15, ledger.BrokerDown, "b1")
			s.run(16, 20, "w1", 1, r, ledger.Done)
			s.fault(100, ledger.BrokerUp, "b1")
			s.fault(1300, ledger.Kill, "w1")
			s.run(9000, 9010, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"lost its membership and did not know", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(15, ledger.Lost, "w1")
			s.run(100, 110, "w2", 2, r, ledger.Done)
			s.returns(120, "w1", r, ledger.Done)
		}, ""},
		{"revoked: a call outlives the drain", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(15, ledger.Revoke, "w1")
			s.call(100, "w2", 2, r)
			s.returns(105, "w1", r, ledger.Done)
			s.returns(110, "w2", r, ledger.Done)
		}, ""},
		{"revoked: done just before, late success unheard", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(15, ledger.Revoke, "w1")
			s.returns(90, "w1", r, ledger.Done)
			s.run(100, 110, "w2", 2, r, ledger.Done)
		}, ""},
		{"revoked: done within the drain, so it was to be flushed", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(15, ledger.Revoke, "w1")
			s.returns(30, "w1", r, ledger.Done)
			s.run(100, 110, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"stopped: calls end when it is gone", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(15, ledger.Stop, "w1")
			s.fault(80, ledger.Exit, "w1")
			s.run(100, 110, "w2", 2, r, ledger.Done)
		}, ""},
		{"exit excuses no rerun", func(s *script) {
			r := s.produce(0, 0, mail)
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.fault(25, ledger.Exit, "w1")
			s.run(100, 110, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"a stuck handler may never return", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.fault(15, ledger.Stuck, "w1")
			s.file(2000, r, 0, 1, "deadline")
		}, ""},
		{"a rewind excuses no rerun", func(s *script) {
			r := s.produce(0, 0, mail)
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.event(30, "operator", ledger.Event{Type: ledger.Faulted, Fault: ledger.Rewind, Record: ledger.Pos{Topic: "jobs"}})
			s.run(40, 50, "w1", 2, r, ledger.Done)
		}, "I11 I6"},
		{"a rewind excuses the order of first starts", func(s *script) {
			a, b := s.produce(0, 0, mail), s.produce(0, 0, kindOf("key.mail", "2"))
			s.run(10, 20, "w1", 1, b, ledger.Done)
			s.event(30, "operator", ledger.Event{Type: ledger.Faulted, Fault: ledger.Rewind, Record: ledger.Pos{Topic: "jobs"}})
			s.run(40, 50, "w1", 2, a, ledger.Done)
		}, ""},
		{"another fault excuses nothing", func(s *script) {
			r := s.produce(0, 0, mail)
			s.run(10, 20, "w1", 1, r, ledger.Done)
			s.event(25, "driver", ledger.Event{Type: ledger.Faulted, Fault: ledger.Other, Text: "full moon"})
			s.run(100, 110, "w2", 2, r, ledger.Done)
		}, "I11 I6"},
		{"a produce that landed twice", func(s *script) {
			r := s.produce(0, 0, mail)
			s.run(10, 20, "w1", 1, r, ledger.Retry)
			s.fault(21, ledger.Duplicate, "w1")
			hop := s.hop(22, 0, r, 0, 1, 1, 100)
			s.hop(23, 0, r, 0, 1, 1, 100)
			s.run(130, 140, "w1", 1, hop, ledger.Dead)
			s.file(150, r, 0, 2, "dead")
			s.file(151, r, 0, 2, "dead")
		}, ""},
		{"a cut process goes on beyond its lease", func(s *script) {
			s.in.Timing.Session = 500 * time.Millisecond
			r := s.produce(0, 0, mail)
			s.fault(5, ledger.Cut, "w1")
			s.run(600, 610, "w1", 1, r, ledger.Done)
			s.fault(900, ledger.Heal, "w1")
		}, "I12"},
		{"a cut process goes on within its lease, and after it is heard again", func(s *script) {
			s.in.Timing.Session = 500 * time.Millisecond
			a, b := s.produce(0, 0, mail), s.produce(0, 0, kindOf("free.x", "2"))
			s.fault(5, ledger.Cut, "w1")
			s.run(400, 410, "w1", 1, a, ledger.Done)
			s.fault(900, ledger.Heal, "w1")
			s.run(901, 910, "w1", 1, b, ledger.Done)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			c.do(s)
			s.commit()
			wantRules(t, s.in, c.want)
		})
	}
}

// TestGuarantees: what differs by guarantee, by order and by intent.
func TestGuarantees(t *testing.T) {
	rerun := func(kind string, first ledger.Result, killedAt int) func(*script) {
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
	for _, c := range []struct {
		name, want string
		do         func(*script)
	}{
		{"at most once: interrupted and run again", "at_most_once", rerun("key.amo", "", 30)},
		{"at most once: failed, its hop lost, run again", "", rerun("key.amo", ledger.Retry, 30)},
		{"at most once: interrupted and filed", "", func(s *script) {
			r := s.produce(0, 0, kindOf("key.amo", "1"))
			s.call(10, "w1", 1, r)
			s.fault(30, ledger.Kill, "w1")
			s.file(9000, r, 0, 1, "outcome_unknown")
		}},
		{"at least once: a done job runs again after any fault", "", rerun("key.alo", ledger.Done, 9000)},
		{"at least once: a done job runs again without one", "I11 I6", rerun("key.alo", ledger.Done, 0)},
		{"at least once: a second enqueue is not deduped", "", func(s *script) {
			for i := range 2 {
				r := s.produce(0, 0, kindOf("key.alo", "1"))
				s.run(10+20*i, 20+20*i, "w1", 1, r, ledger.Done)
			}
		}},
		{"at least once: a copy's success is recorded", "I11 I6", func(s *script) {
			r := s.produce(0, 0, kindOf("key.alo", "1"))
			s.run(10, 20, "w1", 1, r, ledger.Retry)
			hop := s.hop(25, 0, r, 0, 1, 1, 10)
			s.run(40, 50, "w1", 1, hop, ledger.Done)
			s.run(60, 70, "w1", 1, s.produce(55, 0, kindOf("key.alo", "1")), ledger.Done)
		}},
		{"reconciled: the effect of an interrupted call ends the job", "", func(s *script) {
			r := s.produce(0, 0, kindOf("key.rec", "1"))
			s.call(10, "w1", 1, r)
			s.effect(15, r)
			s.fault(30, ledger.Kill, "w1")
		}},
		{"others: the effect of an interrupted call ends nothing", "I1 I11", func(s *script) {
			r := s.produce(0, 0, mail)
			s.call(10, "w1", 1, r)
			s.effect(15, r)
			s.fault(30, ledger.Kill, "w1")
		}},
		{"poison: three processes and then the letter", "", poison(3)},
		{"poison: four processes", "poison", poison(4)},
		{"strict: a successor waits for the copy", "", func(s *script) { strict(s, 2000) }},
		{"strict: a successor passes", "I5", func(s *script) { strict(s, 500) }},
		{"strict: a successor of a dead head", "", func(s *script) {
			a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
			s.run(10, 20, "w1", 1, a, ledger.Dead)
			s.file(21, a, 0, 1, "dead")
			s.run(30, 40, "w1", 1, b, ledger.Done)
			s.run(100, 110, "w1", 1, s.redrive(90, a, 1), ledger.Done)
		}},
		{"strict: a rerun after a crash is no matter of order", "", func(s *script) {
			a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
			s.run(10, 20, "w1", 1, a, ledger.Done)
			s.run(30, 40, "w1", 1, b, ledger.Done)
			s.fault(50, ledger.Kill, "w1")
			s.run(9000, 9010, "w2", 2, a, ledger.Done)
			s.run(9020, 9030, "w2", 2, b, ledger.Done)
		}},
		{"by key: a hop lets successors pass", "", func(s *script) {
			a, b := s.produce(0, 0, kindOf("key.x", "a")), s.produce(0, 0, kindOf("key.x", "b"))
			s.run(10, 20, "w1", 1, a, ledger.Retry)
			hop := s.hop(21, 0, a, 0, 1, 1, 10)
			s.run(22, 30, "w1", 1, b, ledger.Done)
			s.run(40, 50, "w1", 1, hop, ledger.Done)
		}},
		{"by key: other keys, other partitions and other orders overlap", "", func(s *script) {
			for i, r := range []ledger.Pos{
				s.produce(0, 0, kindOf("key.x", "a")), s.produce(0, 1, kindOf("key.x", "b")), s.produce(0, 0, kindOf("free.x", "c")),
				s.produce(0, 0, kindOf("free.x", "d")), s.produce(0, 0, spec{kind: "key.x", key: "other", id: "e"}), s.produce(0, 0, kindOf("part.x", "f")),
			} {
				s.call(10+i, "w1", 1, r)
				defer s.returns(100+i, "w1", r, ledger.Done)
			}
		}},
		{"unordered: one job never runs at the same time as itself", "I5", func(s *script) {
			a, b := s.produce(0, 0, kindOf("free.x", "a")), s.produce(0, 0, kindOf("free.x", "a"))
			s.call(10, "w1", 1, a)
			s.run(11, 12, "w1", 1, b, ledger.Cancelled)
			s.returns(20, "w1", a, ledger.Done)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			s.in.Kinds["key.amo"] = Kind{Guarantee: AtMostOnce}
			s.in.Kinds["key.alo"] = Kind{Guarantee: AtLeastOnce}
			s.in.Kinds["key.rec"] = Kind{Guarantee: Reconciled}
			c.do(s)
			s.commit()
			wantRules(t, s.in, c.want)
		})
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
