package bench

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Each round is a new instance with the defaults, which fails every job once: all of them then wait in partition 0 of the
// smallest tier, the other seven stay empty. Lateness is from when a copy is due (the broker's append time, in whole
// milliseconds, and its delay) to when its handler starts, by this machine's clock: it is as true as the two clocks agree.
var retryCase = Case{
	Name:     "retry",
	Measures: "how late jobs start that wait in one partition of a retry tier, all due within moments",
	Rows:     []string{"exact", "jitter"},
	jobs:     10_000,
	run:      runRetry,
}

const retryTier = 5 * time.Second

type retryParams struct {
	Topic  string        `json:"topic"`
	Group  string        `json:"group"`
	Jobs   int           `json:"jobs"`
	Tier   time.Duration `json:"tier"`
	Policy job.Policy    `json:"policy"`
}

// lateness is what one round saw, in milliseconds.
type lateness struct {
	Early  int     `json:"early"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
	Spread float64 `json:"spread"` // from the first to the last due time
}

func runRetry(ctx context.Context, e *env) error {
	for _, v := range []struct {
		row    string
		policy job.Policy
	}{
		{"exact", job.Policy{Backoff: job.Backoff{Jitter: job.NoJitter}}},
		{"jitter", job.Policy{}}, // up to a tenth sooner
	} {
		if !e.wants(v.row) {
			continue
		}
		topic, err := e.load(ctx, Load{Jobs: e.jobs(), OnePartition: true})
		if err != nil {
			return err
		}
		var rounds []lateness
		for i := range e.Rounds {
			p := retryParams{Topic: topic, Group: e.name(v.row), Jobs: e.jobs(), Tier: scaled(e, retryTier), Policy: v.policy}
			var l lateness
			if err := e.side(ctx, "retry", p, &l); err != nil {
				return err
			}
			if err := e.clean(ctx, p.Group); err != nil {
				return err
			}
			e.say("%s round %d of %d: %d early, late by %.1f ms (median), %.1f ms (p99), due within %.0f ms", v.row, i+1, e.Rounds, l.Early, l.Median, l.P99, l.Spread)
			rounds = append(rounds, l)
		}
		r := e.row(v.row, atMost("late_p99_ms", 100), atMost("early", 0))
		r.addSpread("late_p99_ms", each(rounds, func(l lateness) float64 { return l.P99 }))
		r.addSpread("late_p50_ms", each(rounds, func(l lateness) float64 { return l.Median }))
		r.addSpread("late_max_ms", each(rounds, func(l lateness) float64 { return l.Max }))
		r.add("early", each(rounds, func(l lateness) float64 { return float64(l.Early) }).high)
		r.addSpread("due_within_ms", each(rounds, func(l lateness) float64 { return l.Spread }))
		if err := e.Report(r); err != nil {
			return err
		}
	}
	return nil
}

// scaled is a time of the method, shortened as much as the sides are.
func scaled(e *env, d time.Duration) time.Duration {
	if e.Seconds >= Seconds {
		return d
	}
	return max(200*time.Millisecond, time.Duration(float64(d)*e.Seconds/Seconds).Truncate(time.Millisecond))
}

var errOnce = errors.New("the first attempt of every job fails")

// retrySide is the role of a round.
func retrySide(ctx context.Context, s *side) (any, error) {
	var p retryParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var late []int64
	var first, last time.Time
	full := make(chan struct{})
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Policy: p.Policy, Handle: func(_ context.Context, j *job.Job[blob]) error {
		now := time.Now()
		if j.Attempt == 1 {
			return errOnce
		}
		due, err := dueOf(j.Message)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		late = append(late, now.UnixNano()-due.UnixNano())
		if first.IsZero() || due.Before(first) {
			first = due
		}
		if due.After(last) {
			last = due
		}
		if len(late) == p.Jobs {
			close(full)
		}
		return nil
	}})
	err := s.instance(ctx, consumer.Config{Group: p.Group, Topics: []string{p.Topic}, Mux: mux, Tiers: []time.Duration{p.Tier, 2 * time.Minute, 30 * time.Minute}},
		func(ctx context.Context) error {
			select {
			case <-full:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	if err != nil {
		return nil, err
	}
	slices.Sort(late)
	early, _ := slices.BinarySearch(late, 0)
	const ms = float64(time.Millisecond)
	return lateness{Early: early, Median: quantile(late, 0.5) / ms, P99: quantile(late, 0.99) / ms, Max: quantile(late, 1) / ms, Spread: float64(last.Sub(first)) / ms}, nil
}

// dueOf is when a copy may start: its record says so, whatever the engine made of it.
func dueOf(m *job.Message) (time.Time, error) {
	var r *kgo.Record
	if !m.As(&r) {
		return time.Time{}, errors.New("a job without its record")
	}
	for _, h := range r.Headers {
		if h.Key == job.HeaderDelay {
			d, err := time.ParseDuration(string(h.Value) + "ms")
			return r.Timestamp.Add(d), err
		}
	}
	return time.Time{}, errors.New("a copy without a delay")
}
