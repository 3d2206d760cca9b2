package bench

import (
	"context"
	"time"
)

const (
	workTime    = time.Millisecond
	workWorkers = 100
)

var workCase = Case{
	Name:     "work",
	Measures: "how near 100 workers with 1 ms handlers come to the ideal schedule of the same jobs, keys and durations",
	Rows:     []string{"zipf", "even"},
	run:      runWork,
}

// runWork measures two rows: with keys by Zipf the schedule is that of the hottest key, whose jobs run one after the other;
// with even keys all workers are busy.
func runWork(ctx context.Context, e *env) error {
	for _, v := range []struct {
		row  string
		jobs int
		even bool
	}{{"zipf", 75_000, false}, {"even", 1_000_000, true}} {
		if !e.wants(v.row) {
			continue
		}
		load := Load{Jobs: e.jobsOr(v.jobs), Even: v.even}
		var err error
		if load.Topic, err = e.load(ctx, load); err != nil {
			return err
		}
		var rounds []timed
		for i := range e.Rounds {
			var t timed
			if err := e.timed(ctx, v.row, timedParams{Load: load, Workers: workWorkers, Work: workTime}, &t); err != nil {
				return err
			}
			e.say("%s round %d of %d: %.0f/s of %.0f/s, handlers took %.3f ms", v.row, i+1, e.Rounds, t.rate(), t.idealRate(), t.Mean*1e3)
			rounds = append(rounds, t)
		}
		r := e.row(v.row, atLeast("ratio", 0.9))
		r.addSpread("rate", each(rounds, func(t timed) float64 { return t.rate() }))
		r.addSpread("ideal_rate", each(rounds, timed.idealRate))
		r.addSpread("ratio", each(rounds, func(t timed) float64 { return t.Ideal / t.Seconds }))
		r.addSpread("cpu_us_per_job", each(rounds, func(t timed) float64 { return t.micros() }))
		r.addSpread("handler_ms", each(rounds, func(t timed) float64 { return t.Mean * 1e3 }))
		for _, t := range rounds {
			r.lasted(t.sample)
		}
		if err := e.Report(r); err != nil {
			return err
		}
	}
	return nil
}

// timed runs one side whose handlers take time, and deletes what it left.
func (e *env) timed(ctx context.Context, row string, p timedParams, into *timed) error {
	p.Group, p.Seconds = e.name(row), e.Seconds
	if err := e.side(ctx, "timed-passes", p, into); err != nil {
		return err
	}
	return e.clean(ctx, p.Group)
}
