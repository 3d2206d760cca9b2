package job_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
)

func TestPolicyDefaults(t *testing.T) {
	want := job.Policy{
		Order: job.ByKey, Class: "default", Timeout: 30 * time.Second, MaxAttempts: 10, MaxAge: 24 * time.Hour,
		Backoff: job.Backoff{Max: 30 * time.Minute, Factor: 2, Jitter: 0.1},
	}
	if got := (job.Policy{}).WithDefaults(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	set := job.Policy{
		Guarantee: job.AtLeastOnce, Order: job.Unordered, Class: "slow", Timeout: 1, MaxAttempts: 2, MaxAge: 3,
		Backoff: job.Backoff{Initial: 4, Max: 5, Factor: 6, Jitter: job.NoJitter},
	}
	if got := set.WithDefaults(); got != set {
		t.Errorf("what is set has changed: %+v", got)
	}
	long := job.Policy{Backoff: job.Backoff{Initial: 2 * time.Hour}}.WithDefaults()
	if long.Backoff.Max != 2*time.Hour {
		t.Errorf("the default Max %v is below Initial", long.Backoff.Max)
	}
}

func TestPolicyValidate(t *testing.T) {
	for name, c := range map[string]struct {
		p    job.Policy
		want []string // empty: valid
	}{
		"zero":              {job.Policy{}, nil},
		"no jitter":         {job.Policy{Backoff: job.Backoff{Jitter: job.NoJitter}}, nil},
		"all jitter":        {job.Policy{Backoff: job.Backoff{Jitter: 1, Factor: 1}}, nil},
		"guarantee":         {job.Policy{Guarantee: 4}, []string{"Policy.Guarantee: 4 is no guarantee; use job.EffectivelyOnce, job.AtLeastOnce, job.AtMostOnce or job.Reconciled"}},
		"order":             {job.Policy{Order: 4}, []string{"Policy.Order: 4 is no order"}},
		"no timeout":        {job.Policy{Timeout: job.NoTimeout}, nil},
		"timeout":           {job.Policy{Timeout: -2}, []string{"Policy.Timeout: -2ns is negative; use job.NoTimeout for none"}},
		"max below":         {job.Policy{Backoff: job.Backoff{Initial: 2, Max: 1}}, []string{"Policy.Backoff: Max 1ns is below Initial 2ns"}},
		"initial":           {job.Policy{Backoff: job.Backoff{Initial: -1}}, []string{"must not be negative"}},
		"until done":        {job.Policy{Window: job.UntilDone}, nil},
		"window":            {job.Policy{Window: 2 * time.Hour, MaxAge: time.Hour}, nil},
		"window, MaxAge":    {job.Policy{Window: 47 * time.Hour}, []string{"Policy.Window: 47h0m0s is less than twice MaxAge (24h0m0s)"}},
		"window below zero": {job.Policy{Window: -2}, []string{"Policy.Window: -2ns is negative; use job.UntilDone"}},
		"strict":            {job.Policy{Order: job.ByKeyStrict, OnDead: job.Block, MaxFollowers: 1}, nil},
		"on dead":           {job.Policy{Order: job.ByKeyStrict, OnDead: 2}, []string{"Policy.OnDead: 2 is none of"}},
		"followers":         {job.Policy{Order: job.ByKeyStrict, MaxFollowers: -1}, []string{"Policy.MaxFollowers: -1 is negative"}},
		"not strict":        {job.Policy{OnDead: job.Block, MaxFollowers: 1}, []string{"Policy.OnDead: job.Block needs", "Policy.MaxFollowers: it needs"}},
		"strict window":     {job.Policy{Order: job.ByKeyStrict, Window: job.UntilDone}, []string{"Policy.Window: it cannot be set beside Policy.Order job.ByKeyStrict"}},
		"nan": {job.Policy{Backoff: job.Backoff{Factor: math.NaN(), Jitter: math.NaN()}},
			[]string{"Policy.Backoff.Factor: NaN", "Policy.Backoff.Jitter: NaN"}},
		"jitter above": {job.Policy{Backoff: job.Backoff{Jitter: 1.1}}, []string{"Policy.Backoff.Jitter: 1.1"}},
		"jitter below": {job.Policy{Backoff: job.Backoff{Jitter: -0.5}}, []string{"Policy.Backoff.Jitter: -0.5"}},
		"all at once": {job.Policy{Order: 9, Timeout: -2, MaxAttempts: -1, MaxAge: -1, Backoff: job.Backoff{Max: -1, Factor: 0.5, Jitter: 2}},
			[]string{"Policy.Order", "Policy.Timeout", "Policy.MaxAttempts", "Policy.MaxAge", "Policy.Backoff:", "Policy.Backoff.Factor", "Policy.Backoff.Jitter"}},
	} {
		for when, p := range map[string]job.Policy{"before": c.p, "after": c.p.WithDefaults()} {
			err := p.Validate()
			if (err == nil) != (len(c.want) == 0) {
				t.Errorf("%s, %s the defaults: %v", name, when, err)
			}
			for _, w := range c.want {
				if err != nil && !strings.Contains(err.Error(), w) {
					t.Errorf("%s, %s the defaults: lacks %q:\n%v", name, when, w, err)
				}
			}
		}
	}
}

// Defaults can be applied again, keep what is valid valid, and never cure a fault.
func TestPolicyDefaultsProperty(t *testing.T) {
	dur := rapid.Int64Range(-2, 5)
	rapid.Check(t, func(t *rapid.T) {
		p := job.Policy{
			Guarantee:   job.Guarantee(rapid.IntRange(0, 2).Draw(t, "guarantee")),
			Order:       job.Order(rapid.IntRange(0, 4).Draw(t, "order")),
			Timeout:     time.Duration(dur.Draw(t, "timeout")),
			MaxAttempts: int(dur.Draw(t, "attempts")),
			MaxAge:      time.Duration(dur.Draw(t, "age")),
			Backoff: job.Backoff{
				Initial: time.Duration(dur.Draw(t, "initial")), Max: time.Duration(dur.Draw(t, "max")),
				Factor: float64(dur.Draw(t, "factor")) / 2, Jitter: float64(dur.Draw(t, "jitter")) / 2,
			},
		}
		once := p.WithDefaults()
		if again := once.WithDefaults(); again != once {
			t.Fatalf("%+v became %+v, then %+v", p, once, again)
		}
		if before, after := p.Validate(), once.Validate(); (before == nil) != (after == nil) {
			t.Fatalf("%+v: %v before the defaults, %v after", p, before, after)
		}
	})
}

func TestOrderNames(t *testing.T) {
	for o, want := range map[job.Order]string{job.ByKey: "by_key", job.ByPartition: "by_partition", job.Unordered: "unordered", 7: "order_7"} {
		if o.String() != want {
			t.Errorf("%d is %q, want %q", uint8(o), o, want)
		}
	}
}
