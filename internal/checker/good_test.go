package checker

import (
	"testing"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// places are the records of goodRun that mutations look for.
type places struct {
	plain, retried, retriedHop, dead, deadHop, discarded, expired, duplicate, conflict, scheduled, scheduledHop,
	redriven, redrivenCopy, interrupted, rerun, left, right ledger.Pos
}

// goodRun is a run in which every outcome there is comes up once, w1 is killed at 5000 and w2 takes over.
func goodRun() (*script, places) {
	s, p := newScript(), places{}
	s.in.Kinds["key.mail"] = Kind{MaxAttempts: 3}

	p.plain = s.produce(0, 0, spec{kind: "key.mail", key: "k1", id: "plain", payload: "a", intent: "done"})
	p.retried = s.produce(1, 0, spec{kind: "key.mail", key: "k2", id: "retried", payload: "b", intent: "done"})
	p.dead = s.produce(2, 0, spec{kind: "key.mail", key: "k3", id: "dead", payload: "c", intent: "dead"})
	p.discarded = s.produce(3, 0, spec{kind: "key.mail", key: "k4", id: "discarded", payload: "d", intent: "discarded"})
	p.expired = s.produce(4, 0, spec{kind: "key.mail", key: "k5", id: "expired", payload: "e", expires: 5, intent: "expired"})
	p.duplicate = s.produce(5, 0, spec{kind: "key.mail", key: "k1", id: "plain", payload: "a", intent: "duplicate"})
	p.conflict = s.produce(6, 0, spec{kind: "key.mail", key: "k1", id: "plain", payload: "other", intent: "conflict"})
	p.scheduled = s.produce(7, 0, spec{kind: "key.mail", key: "k6", id: "scheduled", payload: "f", at: 900, intent: "done"})
	p.redriven = s.produce(8, 0, spec{kind: "key.mail", key: "k7", id: "redriven", payload: "g", intent: "done"})
	p.left = s.produce(9, 1, spec{kind: "part.log", key: "x", id: "left", payload: "l", intent: "done"})
	p.right = s.produce(10, 1, spec{kind: "part.log", key: "y", id: "right", payload: "r", intent: "done"})

	s.call(20, "w1", 10, p.plain)
	s.effect(25, p.plain)
	s.returns(30, "w1", p.plain, ledger.Done)
	s.run(21, 31, "w1", 10, p.retried, ledger.Retry)
	p.retriedHop = s.hop(33, 0, p.retried, 0, 1, 1, 500)
	s.run(600, 610, "w1", 10, p.retriedHop, ledger.Done)
	s.run(22, 32, "w1", 10, p.dead, ledger.Panic)
	p.deadHop = s.hop(34, 0, p.dead, 0, 1, 1, 500)
	s.run(601, 611, "w1", 10, p.deadHop, ledger.Dead)
	s.file(620, p.dead, 0, 2, "dead")
	s.run(23, 33, "w1", 10, p.discarded, ledger.Discard)
	s.file(40, p.conflict, 0, 0, "conflict")
	p.scheduledHop = s.hop(41, 0, p.scheduled, 0, 1, 0, 860)
	s.run(950, 960, "w1", 10, p.scheduledHop, ledger.Done)
	s.run(24, 34, "w1", 10, p.redriven, ledger.Dead)
	s.file(50, p.redriven, 0, 1, "dead")
	p.redrivenCopy = s.redrive(700, p.redriven, 1)
	s.run(710, 720, "w1", 10, p.redrivenCopy, ledger.Done)
	s.run(26, 36, "w1", 11, p.left, ledger.Done)
	s.run(40, 50, "w1", 11, p.right, ledger.Done)

	p.interrupted = s.produce(4900, 0, spec{kind: "key.mail", key: "k8", id: "interrupted", payload: "h", intent: "done"})
	p.rerun = s.produce(4901, 0, spec{kind: "key.mail", key: "k9", id: "rerun", payload: "i", intent: "done"})
	s.call(4910, "w1", 10, p.interrupted)
	s.run(4911, 4950, "w1", 10, p.rerun, ledger.Done) // its receipt was never flushed
	s.fault(5000, ledger.Kill, "w1")
	s.run(6000, 6010, "w2", 20, p.interrupted, ledger.Done)
	s.run(6001, 6011, "w2", 20, p.rerun, ledger.Done)
	s.commit()
	return s, p
}

func TestGoodRunHolds(t *testing.T) {
	s, _ := goodRun()
	res := wantRules(t, s.in, "")
	got := res.Account.Jobs.Classes
	want := map[Class]int{Done: 8, Dead: 1, Discarded: 1, Expired: 1, Duplicate: 1, Conflict: 1}
	for _, class := range classes {
		if got[class] != want[class] {
			t.Errorf("%d records are %s, want %d\n%s", got[class], class, want[class], &res.Account)
		}
	}
	if tier := res.Account.Rows[1]; tier.Classes[Done] != 3 || tier.Classes[Dead] != 1 || !tier.Balanced() {
		t.Errorf("the account of the tier is wrong:\n%s", &res.Account)
	}
	st := res.Stats
	if st.Reruns != 1 || st.Faults[0].Reruns != 1 || st.Faults[0].Interrupted != 1 || st.Letters != 3 || st.Calls != 15 || st.Unreturned != 1 ||
		st.Jobs != 11 || st.Redrives != 1 || st.Effects != 1 || st.Unannounced != 0 {
		t.Errorf("stats are wrong: %+v", st)
	}
}

// TestOrderOfTheInputIsNothing: events of different times and records may come in any order.
func TestOrderOfTheInputIsNothing(t *testing.T) {
	s, _ := goodRun()
	for i, k := 0, len(s.in.Ledger)-1; i < k; i, k = i+1, k-1 {
		s.in.Ledger[i], s.in.Ledger[k] = s.in.Ledger[k], s.in.Ledger[i]
	}
	for _, records := range s.in.Topics {
		for i, k := 0, len(records)-1; i < k; i, k = i+1, k-1 {
			records[i], records[k] = records[k], records[i]
		}
	}
	// events of equal times are the one thing that order decides: there are none of one lane in this run
	wantRules(t, s.in, "")
}
