package retrytopics

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
)

func plan(t testing.TB, tiers ...time.Duration) Plan {
	t.Helper()
	p, err := NewPlan(tiers)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNewPlan(t *testing.T) {
	p := plan(t, 30*time.Minute, 10*time.Second, 2*time.Minute, 10*time.Second)
	if got := p.Tiers(); !slices.Equal(got, DefaultTiers) {
		t.Errorf("tiers %v, want %v", got, DefaultTiers)
	}
	p.Tiers()[0] = 0
	if p.Tiers()[0] != 10*time.Second {
		t.Error("the plan can be changed through Tiers")
	}
	if _, err := NewPlan(nil); err == nil {
		t.Error("a plan without tiers")
	}
	_, err := NewPlan([]time.Duration{99 * time.Millisecond, time.Second + 1, -time.Second})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("want three faults, got %v", err)
	}
}

func TestBackoff(t *testing.T) {
	p := plan(t, DefaultTiers...)
	walk := job.Policy{}.WithDefaults().Backoff
	exact := job.Backoff{Initial: time.Second, Max: time.Minute, Factor: 3}
	for _, c := range []struct {
		name  string
		b     job.Backoff
		burnt int
		u     float64
		want  time.Duration
	}{
		{"walk, first", walk, 1, 0, 10 * time.Second},
		{"walk, second", walk, 2, 0, 2 * time.Minute},
		{"walk, last", walk, 3, 0, 30 * time.Minute},
		{"walk, stays", walk, 1000, 0, 30 * time.Minute},
		{"walk, jitter", walk, 1, 0.5, 9500 * time.Millisecond},
		{"burnt below one", walk, -3, 0, 10 * time.Second},
		{"exponential, first", exact, 1, 0.9, time.Second},
		{"exponential, third", exact, 3, 0.9, 9 * time.Second},
		{"exponential, capped", exact, 9, 0.9, time.Minute},
		{"exponential, far", exact, math.MaxInt, 0.9, time.Minute},
		{"no max, no factor", job.Backoff{Initial: time.Second}, 7, 0, time.Second},
		{"whole milliseconds", job.Backoff{Initial: 1999 * time.Microsecond}, 1, 0, time.Millisecond},
		{"at least one", job.Backoff{Initial: 1}, 1, 0, time.Millisecond},
		{"full jitter", job.Backoff{Initial: time.Second, Jitter: 1}, 1, 0.999999, time.Millisecond},
		{"no jitter constant", job.Backoff{Initial: time.Second, Jitter: job.NoJitter}, 1, 0.5, time.Second},
		{"largest", job.Backoff{Initial: time.Second, Factor: 2, Max: math.MaxInt64}, 99, 0, time.Duration(math.MaxInt64).Truncate(time.Millisecond)},
	} {
		if got := p.Backoff(c.b, c.burnt, c.u); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBackoffBounds(t *testing.T) {
	p := plan(t, DefaultTiers...)
	rapid.Check(t, func(t *rapid.T) {
		b := job.Backoff{
			Initial: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "initial")),
			Max:     time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "max")),
			Factor:  rapid.Float64Range(1, 10).Draw(t, "factor"),
		}
		burnt, u := rapid.IntRange(1, 40).Draw(t, "burnt"), rapid.Float64Range(0, 1).Draw(t, "u")
		full := p.Backoff(b, burnt, u)
		limit := max(b.Max, b.Initial, time.Millisecond)
		if b.Initial == 0 {
			limit = 30 * time.Minute
		}
		if full < time.Millisecond || full > limit {
			t.Fatalf("%v is not from 1ms to %v", full, limit)
		}
		if next := p.Backoff(b, burnt+1, u); next < full {
			t.Fatalf("the delay shrinks from %v to %v", full, next)
		}
		b.Jitter = rapid.Float64Range(0, 1).Draw(t, "jitter")
		if got := p.Backoff(b, burnt, u); got > full || float64(got) < float64(full)*(1-b.Jitter)-float64(time.Millisecond) {
			t.Fatalf("jitter %v made %v of %v", b.Jitter, got, full)
		}
	})
}

func TestRoute(t *testing.T) {
	p := plan(t, DefaultTiers...)
	for _, c := range []struct {
		d     time.Duration
		tier  int
		delay time.Duration
	}{
		{-time.Second, 0, 0},
		{0, 0, 0},
		{time.Millisecond, 0, time.Millisecond},
		{10 * time.Second, 0, 10 * time.Second},
		{10*time.Second + 1, 0, 10 * time.Second},
		{time.Minute - 1, 0, 10 * time.Second},
		{time.Minute, 1, time.Minute},
		{2 * time.Minute, 1, 2 * time.Minute},
		{14 * time.Minute, 1, 2 * time.Minute},
		{15 * time.Minute, 2, 15 * time.Minute},
		{30 * time.Minute, 2, 30 * time.Minute},
		{72 * time.Hour, 2, 30 * time.Minute},
		{math.MaxInt64, 2, 30 * time.Minute},
	} {
		if tier, delay := p.Route(c.d); tier != c.tier || delay != c.delay {
			t.Errorf("Route(%v) = %d, %v, want %d, %v", c.d, tier, delay, c.tier, c.delay)
		}
	}
	odd := plan(t, 100*time.Millisecond, 301*time.Millisecond)
	if tier, _ := odd.Route(150500 * time.Microsecond); tier != 1 {
		t.Error("exactly half of an odd tier belongs to the tier")
	}
	if tier, _ := odd.Route(150500*time.Microsecond - 1); tier != 0 {
		t.Error("less than half of an odd tier belongs below")
	}
}

// A chain of hops sums up to the delay exactly, each hop fits its tier, the tiers only fall once the longest is left, and
// the number of hops is bounded.
func TestRouteChain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.SliceOfN(rapid.Int64Range(100, 7_200_000), 1, 5).Draw(t, "tiers")
		tiers := make([]time.Duration, len(ms))
		for i := range ms {
			tiers[i] = time.Duration(ms[i]) * time.Millisecond
		}
		p, err := NewPlan(tiers)
		if err != nil {
			t.Fatal(err)
		}
		tiers = p.Tiers()
		longest := tiers[len(tiers)-1]
		d := time.Duration(rapid.Int64Range(0, int64(50*longest)).Draw(t, "delay"))
		bound := int(d/longest) + 2
		for i := range len(tiers) - 1 {
			bound += int(tiers[i+1]/(2*tiers[i])) + 1
		}
		waited, hops, last := time.Duration(0), 0, len(tiers)-1
		for rest := d; ; {
			tier, delay := p.Route(rest)
			if delay > tiers[tier] || delay > rest {
				t.Fatalf("hop %d of %v: delay %v in tier %v", hops, rest, delay, tiers[tier])
			}
			if tier > last {
				t.Fatalf("hop %d climbs from tier %d to %d", hops, last, tier)
			}
			waited, rest, last, hops = waited+delay, rest-delay, tier, hops+1
			if rest == 0 {
				break
			}
			if delay == 0 || hops > bound {
				t.Fatalf("%v: hop %d of at most %d, delay %v, left %v", d, hops, bound, delay, rest)
			}
		}
		if waited != d {
			t.Fatalf("the hops of %v sum up to %v", d, waited)
		}
	})
}

func TestLarger(t *testing.T) {
	p := plan(t, DefaultTiers...)
	for tier, want := range map[int]int{-1: 0, 0: 1, 1: 2, 2: 2, 7: 2} {
		if got := p.Larger(tier); got != want {
			t.Errorf("Larger(%d) = %d, want %d", tier, got, want)
		}
	}
}

func TestZeroPlan(t *testing.T) {
	var p Plan
	if tier, delay := p.Route(time.Hour); tier != 0 || delay != 0 || p.Larger(3) != 0 || p.Backoff(job.Backoff{}, 1, 0) <= 0 {
		t.Error("the zero plan must answer, however uselessly")
	}
}
