package bench

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-dev/waybill/job"
)

// scrapeEvery is how often a side with metrics is scraped: oftener than anybody does.
const scrapeEvery = time.Second

// scraped makes a registry that is read until the returned function is called.
func scraped(ctx context.Context) (reg *prometheus.Registry, stop func()) {
	reg = prometheus.NewRegistry()
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for sleep(ctx, scrapeEvery) {
			_, _ = reg.Gather() // its samples are nobody's; that it works is tested elsewhere
		}
	})
	return reg, func() { cancel(); wg.Wait() }
}

// runMetrics measures what a registry costs a job: both sides are Waybill's, one counts and is scraped. Which of them is
// first alternates too, since a share of a few per cent is asked for.
func runMetrics(ctx context.Context, e *env) error {
	topic, err := e.load(ctx, Load{Jobs: e.jobs()})
	if err != nil {
		return err
	}
	p := passParams{Topic: topic, Jobs: e.jobs(), Seconds: e.Seconds, Policy: job.Policy{Guarantee: job.AtLeastOnce}}
	type both [2]sample // without, with
	var rounds []both
	for i := range e.Rounds {
		var b both
		for j := range b {
			with := (i + j) % 2
			p.Metrics, p.Group = with == 1, e.name("metrics")
			if err := e.side(ctx, "waybill-passes", p, &b[with]); err != nil {
				return err
			}
			if err := e.clean(ctx, p.Group); err != nil {
				return err
			}
		}
		e.say("metrics round %d of %d: without %.0f/s at %.3f us, with %.0f/s at %.3f us, cpu ratio %.3f", i+1, e.Rounds,
			b[0].rate(), b[0].micros(), b[1].rate(), b[1].micros(), b[1].micros()/b[0].micros())
		rounds = append(rounds, b)
	}
	r := e.row("metrics", atMost("cpu_ratio", 1.03))
	r.addSpread("rate", each(rounds, func(b both) float64 { return b[1].rate() }))
	r.addSpread("plain_rate", each(rounds, func(b both) float64 { return b[0].rate() }))
	r.addSpread("cpu_us_per_job", each(rounds, func(b both) float64 { return b[1].micros() }))
	r.addSpread("plain_cpu_us_per_job", each(rounds, func(b both) float64 { return b[0].micros() }))
	r.addSpread("cpu_ratio", each(rounds, func(b both) float64 { return b[1].micros() / b[0].micros() }))
	for _, b := range rounds {
		r.lasted(b[:]...)
	}
	return e.Report(r)
}
