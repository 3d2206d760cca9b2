package checker

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// TestEnqueuedAgain: kinds whose jobs may be enqueued again.
func TestEnqueuedAgain(t *testing.T) {
	same := func(s *script, at int) ledger.Pos { return s.produce(at, 0, kindOf("key.x", "a")) }
	for _, c := range []struct {
		name string
		kind Kind
		do   func(s *script)
		want string
	}{
		{"after the end it runs", Kind{UntilDone: true}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			s.run(510, 520, "w1", 1, same(s, 500), ledger.Done)
		}, ""},
		{"after the end it is skipped", Kind{UntilDone: true}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			same(s, 500)
		}, "I1 I11"},
		{"before the end it is skipped", Kind{UntilDone: true}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			same(s, 15)
		}, ""},
		{"beside the first", Kind{UntilDone: true}, func(s *script) {
			a := same(s, 0)
			s.run(10, 20, "w1", 1, a, ledger.Retry)
			hop := s.hop(21, 0, a, 0, 1, 1, 1000)
			s.run(510, 520, "w1", 1, same(s, 500), ledger.Done)
			s.run(1100, 1110, "w1", 1, hop, ledger.Done)
		}, "again"},
		{"let pass by one owner, run by the next", Kind{UntilDone: true}, func(s *script) {
			followed(s, same, "w1", "w2", 2)
		}, ""},
		{"let pass and run by the same owner", Kind{UntilDone: true}, func(s *script) {
			followed(s, same, "w3", "w1", 1)
		}, "I5"},
		{"within the window it is skipped", Kind{Window: 5 * time.Second}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			same(s, 3000)
		}, ""},
		{"within the window it runs", Kind{Window: 5 * time.Second}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			s.run(3010, 3020, "w1", 1, same(s, 3000), ledger.Done)
		}, "again"},
		{"after the window it runs", Kind{Window: 5 * time.Second}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			s.run(6510, 6520, "w1", 1, same(s, 6500), ledger.Done)
		}, ""},
		{"after the window it is skipped", Kind{Window: 5 * time.Second}, func(s *script) {
			s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
			same(s, 6500)
		}, "I1 I11"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			s.in.Kinds["key.x"] = c.kind
			c.do(s)
			s.commit()
			wantRules(t, s.in, c.want)
		})
	}
}

// followed: a job is enqueued again while it runs; one behind it in the log runs, and then the enqueue does.
func followed(s *script, same func(*script, int) ledger.Pos, killed, owner string, fence int64) {
	s.run(10, 20, "w1", 1, same(s, 0), ledger.Done)
	a := same(s, 18)
	s.run(30, 40, "w1", 1, s.produce(25, 0, kindOf("key.x", "b")), ledger.Done)
	s.fault(50, ledger.Kill, killed)
	s.run(200, 210, owner, fence, a, ledger.Done)
}
