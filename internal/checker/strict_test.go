package checker

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// head enqueues three strict jobs of one key; the first is filed as dead and holds its key.
func head(s *script) (a, b, c ledger.Pos) {
	s.in.Kinds["strict.x"] = Kind{Strict: true, Holds: true}
	a, b, c = s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b")), s.produce(0, 0, kindOf("strict.x", "c"))
	s.run(10, 20, "w1", 1, a, ledger.Dead)
	s.file(21, a, 0, 1, "dead")
	return a, b, c
}

// TestStrictKinds: order through retries, by records and calls alone.
func TestStrictKinds(t *testing.T) {
	for _, c := range []runCase{
		{"a dead job holds its key", func(s *script) {
			a, b, c := head(s)
			s.run(100, 110, "w1", 1, s.redrive(90, a, 1), ledger.Done)
			s.run(120, 130, "w1", 1, b, ledger.Done)
			s.run(140, 150, "w1", 1, c, ledger.Done)
		}, ""},
		{"a dead job does not hold its key", func(s *script) {
			a, b, c := head(s)
			s.run(30, 40, "w1", 1, b, ledger.Done)
			s.run(100, 110, "w1", 1, s.redrive(90, a, 1), ledger.Done)
			s.run(140, 150, "w1", 1, c, ledger.Done)
		}, "I5"},
		{"a redrive that dies holds it on", func(s *script) {
			a, b, c := head(s)
			s.run(100, 110, "w1", 1, s.redrive(90, a, 1), ledger.Dead)
			s.file(111, a, 1, 1, "dead")
			s.run(120, 130, "w1", 1, b, ledger.Done)
			s.run(140, 150, "w1", 1, c, ledger.Done)
		}, "I5"},
		{"a job that is forgotten holds nothing", func(s *script) {
			a, b, c := head(s)
			s.event(50, "operator", ledger.Event{Type: ledger.Faulted, Fault: ledger.Forget, Record: a})
			s.run(120, 130, "w1", 1, b, ledger.Done)
			s.run(140, 150, "w1", 1, c, ledger.Done)
			s.run(200, 210, "w1", 1, a, ledger.Dead) // read again
			s.file(211, a, 0, 1, "dead")
		}, ""},
		{"a job that was never called stands before", func(s *script) {
			s.in.Kinds["strict.x"] = Kind{Strict: true}
			a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
			s.run(20, 30, "w1", 1, b, ledger.Done)
			s.run(40, 50, "w1", 1, a, ledger.Done)
		}, "I5"},
		{"a job of another kind waits for its retry", func(s *script) {
			a, b := s.produce(0, 0, kindOf("key.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
			s.run(10, 20, "w1", 1, a, ledger.Retry)
			hop := s.hop(21, 0, a, 0, 1, 1, 1000)
			s.run(30, 40, "w1", 1, b, ledger.Done)
			s.run(1100, 1110, "w1", 1, hop, ledger.Done)
		}, "I5"},
		{"an expired job stands before nothing", func(s *script) {
			s.in.Kinds["strict.x"] = Kind{Strict: true}
			s.produce(0, 0, spec{kind: "strict.x", key: "k", id: "a", expires: 5})
			s.run(20, 30, "w1", 1, s.produce(0, 0, kindOf("strict.x", "b")), ledger.Done)
		}, ""},
	} {
		c.check(t)
	}
}
