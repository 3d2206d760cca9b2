package checker

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// edit changes a wire header of a record of a script.
func (s *script) edit(pos ledger.Pos, name, value string) {
	for i := range s.in.Topics[pos.Topic] {
		r := &s.in.Topics[pos.Topic][i]
		for k := range r.Headers {
			if r.Partition == pos.Partition && r.Offset == pos.Offset && r.Headers[k].Key == "waybill-"+name {
				r.Headers[k].Value = []byte(value)
			}
		}
	}
}

// TestEdges: what copies, redrives, letters and ledgers can look like beyond the good run.
func TestEdges(t *testing.T) {
	for _, c := range edgeCases {
		c.check(t)
	}
}

// retried is a job that was retried once; its copy is due at 100 and waits to be run.
func retried(s *script) (origin, hop ledger.Pos) {
	origin = s.produce(0, 0, mail)
	s.run(10, 20, "w1", 1, origin, ledger.Retry)
	return origin, s.hop(20, 0, origin, 0, 1, 1, 80)
}

// filed is a job that is dead at 30.
func filed(s *script) ledger.Pos {
	r := s.produce(0, 0, mail)
	s.run(10, 20, "w1", 1, r, ledger.Dead)
	s.file(30, r, 0, 1, "dead")
	return r
}

var edgeCases = []runCase{
	{"a copy of another partition", func(s *script) {
		_, hop := retried(s)
		s.run(100, 110, "w1", 1, hop, ledger.Done)
		s.edit(hop, "origin", "jobs/1/0/0")
	}, "copy"},
	{"a copy that is no copy", func(s *script) {
		_, hop := retried(s)
		s.edit(hop, "hop", "0")
		s.info[hop].hop = 0
		s.run(100, 110, "w1", 1, hop, ledger.Cancelled)
	}, "I11 I14 I6 copy"},
	{"attempts fall from hop to hop", func(s *script) {
		origin, hop := retried(s)
		s.run(100, 110, "w1", 1, hop, ledger.Retry)
		s.run(130, 140, "w1", 1, s.hop(120, 0, origin, 0, 2, 0, 1), ledger.Done)
	}, "attempts"},
	{"a copy's own `at` counts", func(s *script) {
		_, hop := retried(s)
		s.in.Topics[hop.Topic][0].Headers = append(s.in.Topics[hop.Topic][0].Headers, Header{"waybill-at", []byte(ms(200).Format(time.RFC3339Nano))})
		s.run(199, 210, "w1", 1, hop, ledger.Done)
	}, "I7"},
	{"a panic leads to a hop that owes nothing to an older request", func(s *script) {
		origin, hop := retried(s)
		s.in.Ledger[len(s.in.Ledger)-1].Delay = 80 * time.Millisecond
		s.run(100, 110, "w1", 1, hop, ledger.Panic)
		s.run(112, 120, "w1", 1, s.hop(111, 0, origin, 0, 2, 2, 1), ledger.Done)
	}, ""},
	{"redriven twice at once", func(s *script) {
		r := filed(s)
		first, second := s.redrive(40, r, 1), s.redrive(41, r, 1)
		s.run(50, 60, "w1", 1, first, ledger.Done)
		_ = second // stale
	}, ""},
	{"redriven once, in the tier twice", func(s *script) {
		r := filed(s)
		s.run(50, 60, "w1", 1, s.redrive(40, r, 1), ledger.Done)
		s.hop(41, 0, r, 1, 0, 0, 0)
	}, "copy"},
	{"redriven by hand: the letter's origin is all that is known", func(s *script) {
		r := filed(s)
		s.run(50, 60, "w1", 1, s.redrive(40, r, 1), ledger.Done)
		last := &s.in.Ledger[len(s.in.Ledger)-3]
		last.Origin, last.Record = r, ledger.Pos{}
	}, ""},
	{"redriven is nobody", func(s *script) {
		r := filed(s)
		s.event(40, "operator", ledger.Event{Type: ledger.Redriven, Kind: mail.kind, Key: "k", ID: "ghost", Generation: 1, Origin: r})
	}, "redrive"},
	{"an edited redrive, retried", func(s *script) {
		r := filed(s)
		one := s.redrive(40, r, 1)
		s.in.Topics[one.Topic][0].Value = []byte("edited")
		s.run(50, 60, "w1", 1, one, ledger.Retry)
		two := s.hop(60, 0, r, 1, 1, 1, 10)
		s.in.Topics[two.Topic][1].Value = []byte("edited")
		s.run(80, 90, "w1", 1, two, ledger.Done)
	}, ""},
	{"an edited redrive, the edit is lost in a retry", func(s *script) {
		r := filed(s)
		one := s.redrive(40, r, 1)
		s.in.Topics[one.Topic][0].Value = []byte("edited")
		s.run(50, 60, "w1", 1, one, ledger.Retry)
		s.run(80, 90, "w1", 1, s.hop(60, 0, r, 1, 1, 1, 10), ledger.Done)
	}, "copy"},
	{"another payload after a redrive is stale", func(s *script) {
		r := filed(s)
		s.run(50, 60, "w1", 1, s.redrive(40, r, 1), ledger.Done)
		s.produce(70, 0, spec{kind: mail.kind, key: "k", id: "1", payload: "other"})
	}, ""},
	{"a dead generation, redriven and dead again", func(s *script) {
		r := filed(s)
		s.run(50, 60, "w1", 1, s.redrive(40, r, 1), ledger.Dead)
		s.file(61, r, 1, 1, "dead")
		s.run(80, 90, "w1", 1, s.redrive(70, r, 2), ledger.Discard)
	}, ""},
	{"a zombie starts a job that its owner runs", func(s *script) {
		r := s.produce(0, 0, mail)
		s.fault(1, ledger.Pause, "w1")
		s.call(100, "w2", 2, r)
		s.fault(105, ledger.Resume, "w1")
		s.call(106, "w1", 1, r)
		s.returns(110, "w1", r, ledger.Cancelled)
		s.returns(120, "w2", r, ledger.Done)
	}, ""},
	{"a paused process is killed: no calls of it go on", func(s *script) {
		r := s.produce(0, 0, mail)
		s.call(10, "w1", 1, r)
		s.fault(20, ledger.Kill, "w1")
		s.returns(25, "w1", r, ledger.Done) // written by a driver that lost a race with its own kill
		s.run(2000, 2010, "w2", 2, r, ledger.Done)
	}, ""},
	{"strict: a head called again after a crash, before its successor's rerun", func(s *script) {
		a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
		s.call(10, "w1", 1, a)
		s.fault(20, ledger.Kill, "w1")
		s.run(2000, 2010, "w2", 2, a, ledger.Done)
		s.run(2020, 2030, "w2", 2, b, ledger.Done)
	}, ""},
	{"strict: a filed head comes back with a fault, its successor has started", func(s *script) {
		a, b := s.produce(0, 0, kindOf("strict.x", "a")), s.produce(0, 0, kindOf("strict.x", "b"))
		s.run(10, 20, "w1", 1, a, ledger.Retry) // its last attempt
		s.file(21, a, 0, 1, "handler_error")
		s.run(30, 40, "w1", 1, b, ledger.Done)
		s.fault(50, ledger.Kill, "w1") // the receipts of both are lost
		s.run(2000, 2010, "w2", 2, a, ledger.Retry)
		hop := s.hop(2010, 0, a, 0, 1, 1, 10)
		s.run(2030, 2040, "w2", 2, b, ledger.Done)
		s.run(2050, 2060, "w2", 2, hop, ledger.Done)
	}, ""},
	{"one name in two partitions: two jobs, one idempotency key", func(s *script) {
		a, b := s.produce(0, 0, mail), s.produce(0, 1, mail)
		s.info[b].idempotency = s.attempt(a).IdempotencyKey
		s.run(10, 20, "w1", 1, a, ledger.Done)
		s.run(30, 40, "w1", 1, b, ledger.Done)
	}, ""},
	{"calls are paired by their number where they have one", func(s *script) {
		r := s.produce(0, 0, mail)
		s.run(10, 20, "w1", 1, r, ledger.Cancelled)
		s.run(30, 40, "w1", 1, r, ledger.Done)
		for i := range s.in.Ledger {
			if e := &s.in.Ledger[i]; e.Type == ledger.Called || e.Type == ledger.Returned {
				e.Call = e.Time.Sub(epoch).Milliseconds() / 15 // 10 and 20: 0 and 1; 30 and 40: 2 and 2
				e.Call = map[int64]int64{0: 7, 1: 7, 2: 8}[e.Call]
			}
		}
	}, ""},
}

// TestTwoOutagesInARow: what a process could not write because of the first, it cannot write because of the second either.
func TestTwoOutagesInARow(t *testing.T) {
	s := newScript()
	s.in.Timing.Lease = 0
	r := s.produce(0, 0, mail)
	s.fault(5, ledger.BrokerDown, "b1")
	s.run(10, 20, "w1", 1, r, ledger.Done)
	s.fault(800, ledger.BrokerUp, "b1")
	s.fault(850, ledger.Pause, "w1") // 50 ms in which it could write, less than the window
	s.run(3000, 3010, "w2", 2, r, ledger.Done)
	s.commit()
	wantRules(t, s.in, "")
	s.in.Ledger[5].Time = ms(950) // 150 ms
	wantRules(t, s.in, "I11 I6")
}

// TestOrphans: where retention took the record a job came from, its copies and letters still find each other.
func TestOrphans(t *testing.T) {
	s := newScript()
	origin, hop := retried(s)
	s.run(100, 110, "w1", 1, hop, ledger.Retry)
	s.run(130, 140, "w1", 1, s.hop(110, 0, origin, 0, 2, 2, 10), ledger.Dead)
	s.file(150, origin, 0, 3, "dead")
	s.commit()
	s.in.Topics["jobs"] = nil
	s.in.From.Set("jobs", 0, 1)
	if res := wantRules(t, s.in, ""); res.Stats.Jobs != 1 || res.Stats.Letters != 1 {
		t.Errorf("%+v", res.Stats)
	}
}
