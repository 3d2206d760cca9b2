package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Each side is an instance with the defaults, in a new group and with tiers of 1, 2 and 4 s, in front of the same topic. A
// round is a side without failures, one where one job in twenty fails its first attempt, and one where they fail three.
// Finished is what succeeded: the rate counts from half of the side's length (5 s of 10) after the first attempt, when the
// retries of the first second are due, until the last fresh job was begun. A side ends when every job is finished. Before the
// first round a side without failures is run that does not count: a broker just started compiles itself meanwhile, which
// slows the first side, and would flatter the ratio.
var failingCase = Case{
	Name:     "failing",
	Measures: "how much of its pace a group keeps on a backlog of which 5% fail, once or three times",
	Rows:     []string{"once", "thrice"},
	jobs:     10_000_000,
	run:      runFailing,
}

// failEvery is one failing job in so many.
const failEvery = 20

type failingParams struct {
	Topic string          `json:"topic"`
	Group string          `json:"group"`
	Jobs  int             `json:"jobs"`
	Fails int             `json:"fails"` // attempts of a failing job that fail
	From  time.Duration   `json:"from"`
	Until time.Duration   `json:"until"` // the side ends then; 0: when every job is finished
	Tiers []time.Duration `json:"tiers"`
}

// pace is what one side saw.
type pace struct {
	Rate   float64 `json:"rate"`   // finished a second
	Window float64 `json:"window"` // seconds over which that was counted
	Fresh  float64 `json:"fresh"`  // seconds until the last fresh job was begun
	All    float64 `json:"all"`    // seconds until all were finished
	CPU    float64 `json:"cpu"`    // seconds of the whole side
}

// failingRows are the rows and how many attempts fail in them.
var failingRows = []struct {
	row   string
	fails int
	least float64
}{{"once", 1, 0.8}, {"thrice", 3, 0.6}}

func runFailing(ctx context.Context, e *env) error {
	topic, err := e.load(ctx, Load{Jobs: e.jobs()})
	if err != nil {
		return err
	}
	if _, err := e.failing(ctx, topic, 0, time.Duration(e.Seconds*float64(time.Second))); err != nil {
		return err
	}
	e.say("the side before the first is over")
	whole := make([]pace, 0, e.Rounds)
	paces := map[string][]pace{}
	for i := range e.Rounds {
		p, err := e.failing(ctx, topic, 0, 0)
		if err != nil {
			return err
		}
		if short := e.Seconds * 0.6; p.Fresh < short && e.Jobs == 0 {
			return fmt.Errorf("no fresh job was left after %.1f s, and the pace counts from %g s on: load more than %d jobs (--jobs)", p.Fresh, e.Seconds/2, e.jobs())
		}
		whole = append(whole, p)
		e.say("round %d of %d: without failures %.0f/s over %.1f s", i+1, e.Rounds, p.Rate, p.Window)
		for _, v := range failingRows {
			if !e.wants(v.row) {
				continue
			}
			f, err := e.failing(ctx, topic, v.fails, 0)
			if err != nil {
				return err
			}
			paces[v.row] = append(paces[v.row], f)
			e.say("round %d of %d: %s %.0f/s over %.1f s, ratio %.3f; all finished after %.1f s", i+1, e.Rounds, v.row, f.Rate, f.Window, f.Rate/p.Rate, f.All)
		}
	}
	for _, v := range failingRows {
		if !e.wants(v.row) {
			continue
		}
		if err := e.Report(e.failingRow(v.row, v.least, whole, paces[v.row])); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) failingRow(row string, least float64, whole, failing []pace) *Row {
	type round struct{ whole, failing pace }
	rounds := make([]round, len(whole))
	for i := range whole {
		rounds[i] = round{whole[i], failing[i]}
	}
	jobs := float64(e.jobs())
	r := e.row(row, atLeast("ratio", least))
	r.addSpread("rate", each(rounds, func(p round) float64 { return p.failing.Rate }))
	r.addSpread("unfailing_rate", each(rounds, func(p round) float64 { return p.whole.Rate }))
	r.addSpread("ratio", each(rounds, func(p round) float64 { return p.failing.Rate / p.whole.Rate }))
	r.addSpread("cpu_us_per_job", each(rounds, func(p round) float64 { return p.failing.CPU * 1e6 / jobs }))
	r.addSpread("unfailing_cpu_us_per_job", each(rounds, func(p round) float64 { return p.whole.CPU * 1e6 / jobs }))
	r.addSpread("window_seconds", each(rounds, func(p round) float64 { return p.failing.Window }))
	r.addSpread("all_finished_seconds", each(rounds, func(p round) float64 { return p.failing.All }))
	r.Seconds = each(rounds, func(p round) float64 { return min(p.failing.Fresh, p.whole.Fresh) }).low
	return r
}

// failing measures one side, which ends when every job is finished, or after until if that is not 0.
func (e *env) failing(ctx context.Context, topic string, fails int, until time.Duration) (p pace, err error) {
	second := scaled(e, time.Second)
	params := failingParams{Topic: topic, Group: e.name("failing"), Jobs: e.jobs(), Fails: fails, From: time.Duration(e.Seconds / 2 * float64(time.Second)),
		Until: until, Tiers: []time.Duration{second, 2 * second, 4 * second}}
	if err := e.side(ctx, "failing", params, &p); err != nil {
		return p, err
	}
	return p, e.clean(ctx, params.Group)
}

// failingSide is the role of one side.
func failingSide(ctx context.Context, s *side) (any, error) {
	var p failingParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	w := &paceWatch{jobs: int64(p.Jobs), from: p.From, end: p.Until, began: make(chan struct{})}
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Policy: job.Policy{Backoff: job.Backoff{Jitter: job.NoJitter}},
		Handle: func(_ context.Context, j *job.Job[blob]) error {
			if j.Attempt == 1 && w.fresh.Add(1) == 1 {
				close(w.began)
			}
			if j.Attempt <= p.Fails && j.Args.seq()%failEvery == 0 {
				return errOnce
			}
			w.done.Add(1)
			return nil
		}})
	before := processorTime()
	var result pace
	err := s.instance(ctx, consumer.Config{Group: p.Group, Topics: []string{p.Topic}, Mux: mux, Tiers: p.Tiers}, func(ctx context.Context) (err error) {
		result, err = w.watch(ctx)
		return err
	})
	result.CPU = (processorTime() - before).Seconds()
	return result, err
}

// paceWatch looks at the counters of a side's handler.
type paceWatch struct {
	jobs        int64
	from, end   time.Duration
	fresh, done atomic.Int64 // jobs begun for the first time, and finished
	began       chan struct{}
}

// watch returns when every job is finished, or at the end that was set.
func (w *paceWatch) watch(ctx context.Context) (p pace, err error) {
	select {
	case <-w.began:
	case <-ctx.Done():
		return p, ctx.Err()
	}
	start := time.Now()
	var from, until struct {
		at   time.Duration
		done int64
	}
	for until.at == 0 || w.done.Load() < w.jobs {
		if !sleep(ctx, 10*time.Millisecond) {
			return p, fmt.Errorf("%d of %d jobs begun, %d finished: %w", w.fresh.Load(), w.jobs, w.done.Load(), ctx.Err())
		}
		at, done, fresh := time.Since(start), w.done.Load(), w.fresh.Load()
		if at < w.from && fresh < w.jobs {
			from.at, from.done = at, done
		}
		if until.at == 0 && fresh >= w.jobs {
			until.at, until.done = at, done
		}
		if w.end > 0 && at >= w.end {
			return p, nil
		}
	}
	p.All = time.Since(start).Seconds()
	if until.at < w.from { // a run to try things out: all of it counts
		from.at, from.done = 0, 0
	}
	p.Fresh, p.Window = until.at.Seconds(), (until.at - from.at).Seconds()
	p.Rate = float64(until.done-from.done) / p.Window
	return p, nil
}
