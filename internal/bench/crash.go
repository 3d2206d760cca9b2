package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Two kills a round, each in a group of its own: a worker is killed (SIGKILL) when half of the jobs have ended, and
// another one ends the rest. The first job of the topic, at the front of its partition, has no deadline that comes and
// never ends: nothing behind it in its partition is ever below the group's offset. What ran stands in a ledger that a
// worker writes to before its handler returns, and which outlives it; the parent alone judges by it.
var crashCase = Case{
	Name:     "crash",
	Measures: "how many jobs are skipped, and how many run again, when a worker is killed and started again",
	jobs:     1_000_000,
	run:      runCrash,
}

const (
	killsPerRound = 2
	stuckJob      = 0
	// crashSession is how long the group waits for the killed worker: the least that brokers allow, so that kills take less time.
	crashSession = 6 * time.Second
	// crashLimit is how long a worker may end no job before what is left counts as skipped.
	crashLimit = 90 * time.Second
	crashPoll  = 5 * time.Millisecond
)

type crashParams struct {
	Topic string `json:"topic"`
	Group string `json:"group"`
	File  string `json:"file"` // of the ledger
}

// kill is what one of them came to.
type kill struct {
	skipped   int     // jobs that never ended, and offsets that say so of one that did not
	unsettled int64   // offsets below the end, in the other partitions than that of the stuck job
	reruns    int     // jobs that the second worker began, though the first one had
	ended     int     // of them, those that had ended
	inFlight  int     // jobs begun and not ended at the kill, without the stuck one
	tickJobs  int     // jobs that ended in the last tick before the kill
	idle      float64 // seconds from the kill to the next job
}

// ofBound is the reruns as a share of what is allowed: what was in flight and one tick.
func (k kill) ofBound() float64 {
	if k.reruns == 0 {
		return 0
	}
	return float64(k.reruns) / float64(max(1, k.inFlight+k.tickJobs))
}

func (k kill) String() string {
	return fmt.Sprintf("skipped %d, reruns %d (%d had ended), in_flight %d, tick_jobs %d", k.skipped, k.reruns, k.ended, k.inFlight, k.tickJobs)
}

func runCrash(ctx context.Context, e *env) error {
	if e.jobs() < 2 {
		return errors.New("--jobs: a crash needs at least 2, one of which never ends")
	}
	load := Load{Jobs: e.jobs(), Keys: e.jobs(), Even: true}
	topic, err := e.load(ctx, load)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "waybill-bench-crash-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	var kills []kill
	var texts []string
	for i := range e.Rounds * killsPerRound {
		k, err := e.kill(ctx, load, topic, dir)
		if err != nil {
			return fmt.Errorf("kill %d: %w", i+1, err)
		}
		e.say("kill %d of %d: %v; %.1f s to the next job", i+1, e.Rounds*killsPerRound, k, k.idle)
		kills, texts = append(kills, k), append(texts, k.String())
	}
	r := e.row("", atMost("skipped", 0), atMost("unsettled", 0), atMost("reruns_of_bound", 1))
	r.add("kills", float64(len(kills)))
	r.add("skipped", each(kills, func(k kill) float64 { return float64(k.skipped) }).high)
	r.add("unsettled", each(kills, func(k kill) float64 { return float64(k.unsettled) }).high)
	r.addSpread("reruns", each(kills, func(k kill) float64 { return float64(k.reruns) }))
	r.add("reruns_most", each(kills, func(k kill) float64 { return float64(k.reruns) }).high)
	r.add("reruns_of_bound", each(kills, kill.ofBound).high) // the worst
	r.addSpread("in_flight", each(kills, func(k kill) float64 { return float64(k.inFlight) }))
	r.addSpread("tick_jobs", each(kills, func(k kill) float64 { return float64(k.tickJobs) }))
	r.note("each_kill", strings.Join(texts, "; "))
	return e.Report(r)
}

// kill runs the jobs in a new group, with one kill.
func (e *env) kill(ctx context.Context, load Load, topic, dir string) (k kill, err error) {
	p := crashParams{Topic: topic, Group: e.name("crash")}
	before, err := e.victim(ctx, p, dir, load.Jobs, func(l *ledger) (bool, error) { return l.ended >= load.Jobs/2, nil })
	if err != nil {
		return k, err
	}
	k.inFlight, k.tickJobs = before.running(), before.lately(commitEvery)
	settled := func(l *ledger) (bool, error) {
		if missing(before, l, load.Jobs) > 0 {
			return false, nil
		}
		var err error
		k.unsettled, err = e.unsettled(ctx, load, topic, p.Group)
		return k.unsettled == 0, err
	}
	k.unsettled = math.MaxInt32 // where it is never looked at
	after, err := e.victim(ctx, p, dir, load.Jobs, settled)
	if err != nil {
		return k, err
	}
	k.skipped = missing(before, after, load.Jobs)
	for seq := range before.times {
		switch b, a := before.times[seq], after.times[seq]; {
		case seq == stuckJob:
			if b.began == 0 || a.began == 0 { // it must be begun by both
				k.skipped++
			}
		case b.began > 0 && a.began > 0:
			k.reruns++
			if b.ended > 0 {
				k.ended++
			}
		}
	}
	k.idle = float64(after.first-before.last) / 1e9
	return k, e.clean(ctx, p.Group)
}

// missing counts the jobs that no worker has ended, but for the one that never ends.
func missing(before, after *ledger, jobs int) (n int) {
	for seq := range jobs {
		if seq != stuckJob && before.times[seq].ended == 0 && after.times[seq].ended == 0 {
			n++
		}
	}
	return n
}

// victim starts a worker, kills it when its ledger is as wanted or nothing has happened for too long, and returns the ledger.
func (e *env) victim(ctx context.Context, p crashParams, dir string, jobs int, until func(*ledger) (bool, error)) (*ledger, error) {
	p.File = filepath.Join(dir, fmt.Sprintf("ledger-%d", e.made.Add(1)))
	if err := os.WriteFile(p.File, nil, 0o600); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(p.File) }()
	l, err := readLedger(p.File, jobs)
	if err != nil {
		return nil, err
	}
	defer l.close()
	w, err := e.start(ctx, "crash", p, nil)
	if err != nil {
		return nil, err
	}
	kill := func() {
		_ = w.cmd.Process.Kill() // it fails where the worker has ended
		<-w.done
		w.stop()
	}
	defer kill()
	for last, met := time.Now(), false; !met && time.Since(last) < crashLimit; {
		select {
		case <-w.done:
			return nil, fmt.Errorf("the worker ended by itself: %w", w.err)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(crashPoll):
		}
		n := l.ended
		if err := l.read(); err != nil {
			return nil, err
		}
		if l.ended > n {
			last = time.Now()
		}
		if met, err = until(l); err != nil {
			return nil, err
		}
	}
	kill()
	return l, l.read() // what it wrote until it was killed
}

// unsettled is how many offsets the group has not committed, without the partition of the job that never ends.
func (e *env) unsettled(ctx context.Context, load Load, topic, group string) (n int64, err error) {
	stuck := int32(partitionOf(keyOf(stuckJob), load.withDefaults().Partitions))
	ends, err := e.admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	offsets, err := e.admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	ends.Each(func(end kadm.ListedOffset) {
		o, _ := offsets.Lookup(topic, end.Partition)
		switch {
		case end.Partition != stuck:
			n += end.Offset - max(0, o.At)
		case o.At > 0: // it is the first of its partition
			err = fmt.Errorf("the group's offset %d says that the job that never ends has ended", o.At)
		}
	})
	return n, err
}

// crashSide is the role of a worker; it is killed.
func crashSide(ctx context.Context, s *side) (any, error) {
	var p crashParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	book, err := openLedger(p.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = book.Close() }()
	var failed atomic.Pointer[error]
	note := func(seq int, ended bool) {
		if err := book.note(seq, ended); err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Policy: job.Policy{Timeout: math.MaxInt64 / 4},
		Handle: func(ctx context.Context, j *job.Job[blob]) error {
			seq := j.Args.seq()
			note(seq, false)
			if seq == stuckJob {
				<-ctx.Done()
				return ctx.Err()
			}
			time.Sleep(workTime)
			note(seq, true)
			return nil
		}})
	cfg := consumer.Config{Group: p.Group, Topics: []string{p.Topic}, Mux: mux, SessionTimeout: crashSession, Heartbeat: crashSession / 6}
	err = s.instance(ctx, cfg, func(ctx context.Context) error {
		for sleep(ctx, 100*time.Millisecond) {
			if err := failed.Load(); err != nil {
				return *err
			}
		}
		return nil
	})
	return nil, err
}
