package checker

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

var mail = spec{kind: "key.mail", key: "k", id: "1", payload: "a"}

func kindOf(kind string, id string) spec { return spec{kind: kind, key: "k", id: id, payload: "a"} }

// runCase is a run written by hand and the rules it breaks.
type runCase struct {
	name string
	do   func(*script)
	want string
}

func (c *runCase) check(t *testing.T) {
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

// TestFaultsExcuse: what each fault excuses, and what it does not.
func TestFaultsExcuse(t *testing.T) {
	for _, c := range faultCases {
		c.check(t)
	}
}

// The window is 100 ms, the lease 1 s, the drain 50 ms.
var faultCases = []runCase{
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
	{"one of two brokers came back", func(s *script) {
		r := s.produce(0, 0, mail)
		s.fault(14, ledger.BrokerDown, "b1")
		s.fault(15, ledger.BrokerDown, "b2")
		s.run(16, 20, "w1", 1, r, ledger.Done)
		s.fault(100, ledger.BrokerUp, "b1")
		s.fault(1300, ledger.Kill, "w1")
		s.run(9000, 9010, "w2", 2, r, ledger.Done)
	}, ""},
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
}
