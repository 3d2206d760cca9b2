package bench

import (
	"context"
	"errors"

	"github.com/waybill-dev/waybill/job"
)

// A round is two passes of Waybill through one topic, each in a group and with a Config.Dir of its own: one group begins with an
// empty receipt log, the other one's holds the receipts of a window, which an instance has read into its Dir before the topic is
// loaded. One job in a hundred is among them: it is not run there. All receipts of the log were appended just now: nothing expires.
var liveCase = Case{
	Name:     "live",
	Measures: "how fast a backlog is worked through with receipts on disk, above 10 million live receipts and above none",
	jobs:     3_000_000,
	run:      runLive,
}

// duplicates: one job of a backlog in so many was done before.
const duplicates = 100

// livePair is one round.
type livePair struct{ empty, live sample }

func (p livePair) ratio() float64 { return p.live.rate() / p.empty.rate() }

func runLive(ctx context.Context, e *env) error {
	var rounds []livePair
	for i := range e.Rounds {
		p, err := e.liveRound(ctx)
		if err != nil {
			return err
		}
		e.say("round %d of %d: %.0f/s at %.2f us, empty %.0f/s at %.2f us, ratio %.3f", i+1, e.Rounds,
			p.live.rate(), p.live.micros(), p.empty.rate(), p.empty.micros(), p.ratio())
		rounds = append(rounds, p)
	}
	r := e.row("", atLeast("ratio", 0.85))
	r.addSpread("rate", each(rounds, func(p livePair) float64 { return p.live.rate() }))
	r.addSpread("empty_rate", each(rounds, func(p livePair) float64 { return p.empty.rate() }))
	r.addSpread("ratio", each(rounds, livePair.ratio))
	r.addSpread("cpu_us_per_job", each(rounds, func(p livePair) float64 { return p.live.micros() }))
	r.addSpread("empty_cpu_us_per_job", each(rounds, func(p livePair) float64 { return p.empty.micros() }))
	r.add("live", float64(e.live()))
	for _, p := range rounds {
		r.lasted(p.empty, p.live)
	}
	return e.Report(r)
}

// liveRound measures both sides on a topic of their own, and deletes what they left.
func (e *env) liveRound(ctx context.Context) (p livePair, err error) {
	load := Load{Topic: e.name("jobs"), Known: duplicates}
	if err := Fill(ctx, e.Connection, load); err != nil { // the topic alone
		return p, err
	}
	load.Jobs = e.jobs()
	err = e.inDir(func(dir string) error {
		params := passParams{Topic: load.Topic, Jobs: load.Jobs, Group: e.name("live"), Seconds: onePass, Dir: dir, Run: load.Jobs - load.knownJobs(),
			Policy: job.Policy{Order: job.ByKey}}
		group := numbered(params.Group, 0)
		if err := e.writeLog(ctx, group, load, e.live()); err != nil {
			return err
		}
		var read restored
		if err := e.side(ctx, "restore", restoreParams{Topic: load.Topic, Group: group, Dir: dirOf(dir, group)}, &read); err != nil {
			return err
		}
		e.say("loading %d jobs into %s", load.Jobs, load.Topic)
		if err := Fill(ctx, e.Connection, load); err != nil {
			return err
		}
		return e.side(ctx, "waybill-passes", params, &p.live)
	})
	if err != nil {
		return p, err
	}
	err = e.inDir(func(dir string) error {
		params := passParams{Topic: load.Topic, Jobs: load.Jobs, Group: e.name("empty"), Seconds: onePass, Dir: dir, Policy: job.Policy{Order: job.ByKey}}
		return e.side(ctx, "waybill-passes", params, &p.empty)
	})
	return p, errors.Join(err, e.clean(ctx, load.Topic), e.clean(ctx, e.prefix))
}
