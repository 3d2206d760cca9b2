package checker

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

var everyFault = []ledger.Fault{ledger.Kill, ledger.Pause, ledger.Revoke, ledger.BrokerDown, ledger.Rewind, "redrive"}

// TestCorrectRunsHold: no false alarm, with each fault alone, with all together, idle at the end or cut short.
func TestCorrectRunsHold(t *testing.T) {
	suites := [][]ledger.Fault{nil, everyFault}
	for _, f := range everyFault {
		suites = append(suites, []ledger.Fault{f})
	}
	seeds := uint64(60)
	if testing.Short() {
		seeds = 10
	}
	var total Stats
	for _, faults := range suites {
		for seed := range seeds {
			w := newWorld(seed, 120, faults...)
			w.in.Quiesced = seed%4 != 3
			until := 20_000
			if !w.in.Quiesced {
				until = 20 + w.rng.IntN(200)
			}
			if !w.finish(until) && w.in.Quiesced {
				t.Fatalf("faults %v seed %d: the world does not come to rest", faults, seed)
			}
			res := Check(w.in)
			if !res.OK() || !res.Account.Balanced() {
				t.Fatalf("faults %v seed %d:\n%s", faults, seed, res)
			}
			total.Calls += res.Stats.Calls
			total.Reruns += res.Stats.Reruns
			total.Redrives += res.Stats.Redrives
			total.Letters += res.Stats.Letters
			total.Unreturned += res.Stats.Unreturned
		}
	}
	if total.Reruns == 0 || total.Redrives == 0 || total.Letters == 0 || total.Unreturned == 0 {
		t.Errorf("the runs were too tame to prove anything: %+v", total)
	}
	t.Logf("%d calls, %d reruns, %d interrupted, %d letters, %d redrives", total.Calls, total.Reruns, total.Unreturned, total.Letters, total.Redrives)
}

// TestPlantedBugs breaks one rule of the miniature engine at a time. Each must be caught, by the rules named, within a few
// runs; a run in which the bug did nothing is no alarm, so not every seed has to.
func TestPlantedBugs(t *testing.T) {
	for _, c := range []struct{ bug, want string }{
		{"commits what runs", "I1"},
		{"forgets receipts", "I6"},
		{"loses copies", "I1"},
		{"copies twice", "copy"},
		{"skips a hop", "copy"},
		{"runs early", "I7"},
		{"files nothing", "I1"},
		{"overlaps keys", "I5"},
		{"starts out of order", "I5"},
		{"runs what is stale", "I6"},
		{"marks nothing", "at_most_once"},
		{"reuses fences", "I9"},
		{"revokes without a flush", "I6"},
		{"burns attempts", "attempts"},
	} {
		t.Run(c.bug, func(t *testing.T) {
			caught := map[string]int{}
			for seed := range uint64(20) {
				w := newWorld(seed, 200, ledger.Kill, ledger.Revoke)
				if c.bug == "copies twice" {
					w = newWorld(seed, 200)
				}
				w.bug = c.bug
				w.in.Quiesced = w.finish(3000)
				for rule := range strings.FieldsSeq(rules(Check(w.in))) {
					caught[rule]++
				}
			}
			if caught[c.want] == 0 {
				t.Errorf("not caught by %s, only by %v", c.want, caught)
			}
			t.Log(caught)
		})
	}
}

// TestLargeRun: hundreds of thousands of jobs are judged in seconds, so nothing may be quadratic in the run.
func TestLargeRun(t *testing.T) {
	jobs := 100_000
	if testing.Short() {
		jobs = 20_000
	}
	s := newScript()
	for i := range jobs {
		j := spec{kind: "key.mail", key: strconv.Itoa(i % 1000), id: strconv.Itoa(i), payload: "p", intent: "done"}
		rec := s.produce(i, int32(i%7), j)
		s.run(i+10, i+11, "w1", 1, rec, ledger.Done)
		s.effect(i+11, rec)
	}
	s.commit()
	start := time.Now()
	res := Check(s.in)
	took := time.Since(start)
	if !res.OK() || res.Account.Jobs.Classes[Done] != jobs {
		t.Fatal(res)
	}
	t.Logf("%d jobs, %d events in %v: %v a job", jobs, len(s.in.Ledger), took, took/time.Duration(jobs))
	if limit := time.Duration(jobs) * 500 * time.Microsecond; took > limit { // measured: some 10 us
		t.Errorf("took %v, more than %v", took, limit)
	}
}

// BenchmarkCheck is a run as simulations have it: a few hundred jobs with every fault.
func BenchmarkCheck(b *testing.B) {
	w := newWorld(1, 300, everyFault...)
	w.finish(20_000)
	for b.Loop() {
		Check(w.in)
	}
}
