package bench

import (
	"context"

	"github.com/waybill-dev/waybill/job"
)

var noopCase = Case{
	Name:     "noop",
	Measures: "how fast a backlog of jobs with order by key is worked through when a job costs nothing, beside a raw loop",
	Rows:     []string{"at_least_once", "effectively_once", "json", "metrics"},
	jobs:     3_000_000,
	run:      runNoop,
}

func runNoop(ctx context.Context, e *env) error {
	for _, v := range []struct {
		row     string
		policy  job.Policy
		json    bool
		figures []Figure
	}{
		{"at_least_once", job.Policy{Guarantee: job.AtLeastOnce}, false, []Figure{atLeast("ratio", 0.55)}},
		{"effectively_once", job.Policy{}, false, []Figure{atLeast("ratio", 0.35)}},
		{"json", job.Policy{}, true, nil}, // the raw side decodes too
	} {
		if !e.wants(v.row) {
			continue
		}
		topic, err := e.load(ctx, Load{Jobs: e.jobs(), JSON: v.json})
		if err != nil {
			return err
		}
		p := passParams{Topic: topic, Jobs: e.jobs(), Seconds: e.Seconds, JSON: v.json, Policy: v.policy}
		rounds, err := e.pairs(ctx, v.row, p, p)
		if err != nil {
			return err
		}
		r := e.row(v.row, v.figures...)
		r.addPairs(rounds)
		if err := e.Report(r); err != nil {
			return err
		}
	}
	if e.wants("metrics") {
		return runMetrics(ctx, e)
	}
	return nil
}
