package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

var scaleCase = Case{
	Name:     "scale",
	Measures: "whether processor time per job depends on the number of partitions or keys, and what a hot key costs the others",
	Rows:     []string{"partitions", "raw_partitions", "keys", "raw_keys", "hot_key"},
	jobs:     2_000_000,
	run:      runScale,
}

// scaleBatch is how large the batches of the topics are, in bytes: the same for every number of partitions, since a batch
// costs something whatever is in it. 100 records or so.
const scaleBatch = 32 << 10

func runScale(ctx context.Context, e *env) error {
	partitions := func(n int) Load { return Load{Partitions: n} }
	keys := func(n int) Load { return Load{Keys: n} }
	for _, v := range []struct {
		row    string
		points []int
		load   func(int) Load
		role   string
	}{
		{"partitions", []int{1, 16, 256}, partitions, "waybill-passes"},
		{"raw_partitions", []int{1, 16, 256}, partitions, "raw-passes"},
		{"keys", []int{10, 10_000, 1_000_000}, keys, "waybill-passes"},
		{"raw_keys", []int{10, 10_000, 1_000_000}, keys, "raw-passes"},
	} {
		if !e.wants(v.row) {
			continue
		}
		if err := e.scale(ctx, v.row, v.role, v.points, v.load); err != nil {
			return err
		}
	}
	if e.wants("hot_key") {
		return e.hotKey(ctx)
	}
	return nil
}

// scale measures a row of processor time at several points, which take turns.
func (e *env) scale(ctx context.Context, row, role string, points []int, load func(int) Load) error {
	topics := make([]string, len(points))
	for i, n := range points {
		l := load(n)
		l.Jobs, l.BatchBytes = e.jobs(), scaleBatch
		var err error
		if topics[i], err = e.load(ctx, l); err != nil {
			return err
		}
	}
	var rounds [][]sample
	for i := range e.Rounds {
		round := make([]sample, len(points))
		for j, topic := range topics {
			p := passParams{Topic: topic, Jobs: e.jobs(), Seconds: e.Seconds, Group: e.name(row), Steady: true}
			if err := e.side(ctx, role, p, &round[j]); err != nil {
				return err
			}
			if err := e.clean(ctx, p.Group); err != nil {
				return err
			}
			e.say("%s round %d of %d: %d: %.2f us a job at %.0f/s", row, i+1, e.Rounds, points[j], round[j].micros(), round[j].rate())
		}
		rounds = append(rounds, round)
	}
	var figures []Figure
	if role == "waybill-passes" {
		figures = []Figure{atMost("cpu_most_over_least", 1.15)}
	}
	r := e.row(row, figures...)
	r.addSpread("cpu_most_over_least", each(rounds, mostOverLeast))
	for j, n := range points {
		r.addSpread(fmt.Sprintf("cpu_us_per_job_%d", n), each(rounds, func(s []sample) float64 { return s[j].micros() }))
		r.addSpread(fmt.Sprintf("rate_%d", n), each(rounds, func(s []sample) float64 { return s[j].rate() }))
	}
	r.lasted(slices.Concat(rounds...)...)
	return e.Report(r)
}

// mostOverLeast is the ratio of the dearest point of a round to the cheapest.
func mostOverLeast(round []sample) float64 {
	low, high := round[0].micros(), round[0].micros()
	for _, s := range round[1:] {
		low, high = min(low, s.micros()), max(high, s.micros())
	}
	return high / low
}

// hotTime is how slow the handler of the hot key is.
const hotTime = 100 * time.Millisecond

// hotLimit is after how many times the seconds of a side it ends, even if jobs are left: a hot key may hold others up for as
// long as it lasts. What counts is how many of them were done till then.
const hotLimit = 2

// hotKey compares the rate of jobs with even keys without and with a key that has as many records as all of them.
func (e *env) hotKey(ctx context.Context) error {
	const row = "hot_key"
	loads := [2]Load{{Jobs: e.jobsOr(1_000_000), Even: true}, {Jobs: e.jobsOr(1_000_000), Even: true, Hot: true}}
	for i := range loads {
		var err error
		if loads[i].Topic, err = e.load(ctx, loads[i]); err != nil {
			return err
		}
	}
	var rounds [][2]timed
	for i := range e.Rounds {
		var round [2]timed
		for j, l := range loads {
			p := timedParams{Load: l, Workers: workWorkers, Work: workTime, Hot: hotTime, Limit: time.Duration(hotLimit * e.Seconds * float64(time.Second))}
			if err := e.timed(ctx, row, p, &round[j]); err != nil {
				return err
			}
		}
		e.say("%s round %d of %d: without %.0f/s, with %.0f/s", row, i+1, e.Rounds, round[0].rate(), round[1].rate())
		rounds = append(rounds, round)
	}
	r := e.row(row, atLeast("ratio", 0.95))
	r.addSpread("rate", each(rounds, func(t [2]timed) float64 { return t[1].rate() }))
	r.addSpread("rate_without", each(rounds, func(t [2]timed) float64 { return t[0].rate() }))
	r.addSpread("ratio", each(rounds, func(t [2]timed) float64 { return t[1].rate() / t[0].rate() }))
	r.addSpread("cpu_us_per_job", each(rounds, func(t [2]timed) float64 { return t[1].micros() }))
	r.addSpread("cpu_us_per_job_without", each(rounds, func(t [2]timed) float64 { return t[0].micros() }))
	for _, t := range rounds {
		r.lasted(t[0].sample, t[1].sample)
	}
	return e.Report(r)
}
