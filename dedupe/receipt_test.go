package dedupe

import (
	"testing"

	"github.com/waybill-dev/waybill/job"
)

func TestJoinTakesTheGreater(t *testing.T) {
	// Each receipt is above all before it.
	ladder := []Receipt{
		{},
		{State: Retrying, Hop: 1},
		{State: Step, Hop: 1},
		{State: Started, Hop: 1},
		{State: Started, Hop: 1, Code: job.CodeSuspect},
		{State: Retrying, Hop: 2},
		{State: Started, Hop: 4_000_000_000},
		{State: Expired},
		{State: Expired, Hop: 3},
		{State: Dead},
		{State: Retrying, Gen: 1},
		{State: Started, Gen: 1},
		{State: Retrying, Gen: 1, Hop: 1},
		{State: Discarded, Gen: 1},
		{State: Dead, Gen: 1, Hop: 9},
		{State: Retrying, Gen: 4_000_000_000},
		{State: Dead, Gen: 4_000_000_000},
		{State: Done},
		{State: Done, Gen: 1},
	}
	for i := range ladder {
		for j := range ladder {
			a, b := ladder[i], ladder[j]
			a.Origin, b.Origin = 1, 2
			want := a
			if j > i {
				want = b
			}
			if got := Join(a, b); got.Origin != want.Origin {
				t.Errorf("Join(%v, %v) = %v", a, b, got)
			}
		}
	}
}

func TestJoinOfEqualsKeepsTheFirst(t *testing.T) {
	for s := StateNone; s < states; s++ {
		a, b := Receipt{State: s, Hop: 2, Digest: 1}, Receipt{State: s, Hop: 2, Digest: 2}
		if got := Join(a, b); got.Digest != 1 {
			t.Errorf("%v: the second of two equal receipts won", s)
		}
	}
	a, b := Receipt{State: Discarded}, Receipt{State: Expired}
	if Join(a, b).State != Discarded || Join(b, a).State != Expired {
		t.Error("discarded and expired are equal: the first in the log must win")
	}
}

func TestStale(t *testing.T) {
	cases := []struct {
		name     string
		r        Receipt
		gen, hop uint32
		want     bool
	}{
		{"nothing known", Receipt{}, 0, 0, false},
		{"nothing known of a redrive", Receipt{}, 3, 0, false},
		{"done", Receipt{State: Done}, 0, 0, true},
		{"done, and a redrive of it", Receipt{State: Done}, 1, 0, true},
		{"done later, an older copy", Receipt{State: Done, Gen: 2}, 1, 7, true},
		{"retrying, the record that was retried", Receipt{State: Retrying, Hop: 1}, 0, 0, true},
		{"retrying, its copy", Receipt{State: Retrying, Hop: 1}, 0, 1, false},
		{"retrying, a copy of a later hop", Receipt{State: Retrying, Hop: 1}, 0, 2, false},
		{"started, the record that runs", Receipt{State: Started, Hop: 1}, 0, 1, false},
		{"started, the one before", Receipt{State: Started, Hop: 1}, 0, 0, true},
		{"step, the record whose step it is", Receipt{State: Step, Hop: 2}, 0, 2, false},
		{"dead, a copy", Receipt{State: Dead}, 0, 5, true},
		{"dead, its redrive", Receipt{State: Dead}, 1, 0, false},
		{"discarded", Receipt{State: Discarded}, 0, 0, true},
		{"expired", Receipt{State: Expired}, 0, 1, true},
		{"redriven, what is left of the generation before", Receipt{State: Retrying, Gen: 1}, 0, 9, true},
		{"redriven, the redrive", Receipt{State: Retrying, Gen: 1}, 1, 0, false},
		{"no state at all", Receipt{State: states}, 0, 0, false},
	}
	for _, c := range cases {
		if got := c.r.Stale(c.gen, c.hop); got != c.want {
			t.Errorf("%s: Stale(%d, %d) = %v", c.name, c.gen, c.hop, got)
		}
	}
}

func TestStates(t *testing.T) {
	final := map[State]bool{Expired: true, Discarded: true, Dead: true, Done: true}
	seen := map[string]bool{}
	for s := StateNone; s < states; s++ {
		if s.Final() != final[s] {
			t.Errorf("%v: Final() = %v", s, s.Final())
		}
		if seen[s.String()] || s.String() == "" {
			t.Errorf("state %d has the name %q", s, s)
		}
		seen[s.String()] = true
	}
	if states.Final() || states.String() != "state_8" {
		t.Errorf("a state that does not exist: %v, final %v", states, states.Final())
	}
}

// The numbers of states and codes are wire format here, whatever else they are elsewhere: codes may only be added at the end.
func TestNumbersOnTheWire(t *testing.T) {
	names := []string{"none", "handler_error", "panic", "deadline", "cancelled", "decode", "content_type", "unknown_kind",
		"unknown_version", "malformed", "dead", "discarded", "expired", "conflict", "too_large", "snoozed", "scheduled", "outcome_unknown", "unreconciled", "suspect", "poison"}
	for n, name := range names {
		if got := job.Code(n).String(); got != name {
			t.Errorf("job code %d is %q now, receipts written before mean %q", n, got, name)
		}
	}
	for s, n := range map[State]int{Retrying: 1, Step: 2, Started: 3, Expired: 4, Discarded: 5, Dead: 6, Done: 7} {
		if int(s) != n {
			t.Errorf("state %v is %d now, receipts written before mean %d", s, s, n)
		}
	}
}
