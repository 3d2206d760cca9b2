package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/disk"
	"github.com/waybill-dev/waybill/internal/storeload"
)

// A round is two processes, each with a store on disk of its own: one begins empty, the other one with the receipts of a whole window, in
// nine buckets, the oldest of which expire as new ones come. Each looks up and records the case's jobs, of which one in a
// hundred was recorded before, anywhere in the younger half of the window, again and again: the one goes on with another empty store each time.
// No broker takes part.
var storeCase = Case{
	Name:     "store",
	Measures: "what a check and a record cost in the store on disk alone, above 10 million live receipts and above none",
	jobs:     3_000_000,
	run:      runStore,
}

const liveReceipts = 10_000_000

// live is how many receipts are live: with fewer jobs than the method's, fewer in the same proportion.
func (e *env) live() int {
	return int(float64(liveReceipts) * float64(e.jobs()) / float64(e.of.jobs))
}

type storeParams struct {
	Dir  string `json:"dir"`
	Live int    `json:"live"` // receipts before the clock runs
	Jobs int    `json:"jobs"`

	Seconds float64 `json:"seconds"` // the clock runs at least
}

// stored is what one side measured.
type stored struct {
	sample
	Live        int     `json:"live"` // at the end
	Segments    int     `json:"segments"`
	HWM         int64   `json:"hwm"` // bytes
	Compactions int64   `json:"compactions"`
	Reopen      float64 `json:"reopen"` // seconds
}

// overhead is the memory beside 3.5 bytes a receipt, in MiB.
func (s stored) overhead() float64 { return max(0, mib(s.HWM)-3.5*float64(s.Live)/(1<<20)) }

// storePair is one round.
type storePair struct{ empty, live stored }

func (p storePair) ratio() float64 { return p.live.rate() / p.empty.rate() }

func runStore(ctx context.Context, e *env) error {
	var rounds []storePair
	for i := range e.Rounds {
		var p storePair
		for _, s := range []struct {
			live int
			into *stored
		}{{0, &p.empty}, {e.live(), &p.live}} {
			if err := e.inDir(func(dir string) error {
				return e.side(ctx, "store", storeParams{dir, s.live, e.jobs(), e.Seconds}, s.into)
			}); err != nil {
				return err
			}
		}
		e.say("round %d of %d: %.0f/s at %.2f us, empty %.0f/s at %.2f us, ratio %.3f; %d segments, %.0f MiB, %d compactions, reopened in %.0f ms", i+1, e.Rounds,
			p.live.rate(), p.live.micros(), p.empty.rate(), p.empty.micros(), p.ratio(), p.live.Segments, mib(p.live.HWM), p.live.Compactions, p.live.Reopen*1e3)
		rounds = append(rounds, p)
	}
	r := e.row("", atLeast("ratio", 0.85), atMost("cpu_us_per_job", 2), atMost("memory_beside_mib", 200), atMost("compactions", 0), atMost("reopen_ms", 1000))
	r.addSpread("rate", each(rounds, func(p storePair) float64 { return p.live.rate() }))
	r.addSpread("empty_rate", each(rounds, func(p storePair) float64 { return p.empty.rate() }))
	r.addSpread("ratio", each(rounds, storePair.ratio))
	r.addSpread("cpu_us_per_job", each(rounds, func(p storePair) float64 { return p.live.micros() }))
	r.addSpread("empty_cpu_us_per_job", each(rounds, func(p storePair) float64 { return p.empty.micros() }))
	r.addSpread("memory_beside_mib", each(rounds, func(p storePair) float64 { return p.live.overhead() }))
	r.addSpread("peak_mib", each(rounds, func(p storePair) float64 { return mib(p.live.HWM) }))
	r.addSpread("live", each(rounds, func(p storePair) float64 { return float64(p.live.Live) }))
	r.addSpread("segments", each(rounds, func(p storePair) float64 { return float64(p.live.Segments) }))
	r.add("compactions", each(rounds, func(p storePair) float64 { return float64(p.live.Compactions) }).high)
	r.addSpread("reopen_ms", each(rounds, func(p storePair) float64 { return p.live.Reopen * 1e3 }))
	for _, p := range rounds {
		r.lasted(p.empty.sample, p.live.sample)
	}
	return e.Report(r)
}

// inDir calls f with a directory that is removed afterwards.
func (e *env) inDir(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "waybill-bench-"+e.of.Name+"-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return f(filepath.Join(dir, "receipts"))
}

// storeSide is the role of a side.
func storeSide(ctx context.Context, s *side) (any, error) {
	var p storeParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	var out stored
	var dir string
	var db *disk.DB
	var l *storeload.Load
	for ; out.Seconds < p.Seconds || out.Passes == 0; out.Passes++ {
		if db == nil || p.Live == 0 { // one that begins empty is not for long
			if db != nil {
				if err := db.Close(); err != nil {
					return nil, err
				}
			}
			var err error
			dir = filepath.Join(p.Dir, strconv.Itoa(out.Passes))
			if db, l, err = filledStore(ctx, s, dir, p.Live); err != nil {
				return nil, err
			}
			defer func() { _ = db.Close() }() // again is nothing
		}
		from, began, before := l.Next, time.Now(), processorTime()
		if err := l.Run(ctx, from+p.Jobs); err != nil {
			return nil, err
		}
		out.Jobs += l.Next - from
		out.Seconds += time.Since(began).Seconds()
		out.CPU += (processorTime() - before).Seconds()
	}
	var err error
	if out.HWM, err = highWater(); err != nil {
		return nil, err
	}
	stats := db.Stats()
	out.Live, out.Segments, out.Compactions = stats.Jobs, stats.Segments, stats.Compactions
	if err := db.Close(); err != nil {
		return nil, err
	}
	began := time.Now()
	again, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		return nil, err
	}
	out.Reopen = time.Since(began).Seconds()
	if n := again.Stats().Jobs; n != out.Live {
		err = fmt.Errorf("%d jobs are known after reopening, %d were before", n, out.Live)
	}
	if cerr := again.Close(); err == nil {
		err = cerr
	}
	return out, err
}

// filledStore is a new store with so many receipts, and the stream of jobs that goes on from there.
func filledStore(ctx context.Context, s *side, dir string, live int) (*disk.DB, *storeload.Load, error) {
	db, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	tasks := make([]dedupe.Store, partitions)
	for i := range tasks {
		tasks[i] = db.Task(disk.Key{Job: dedupe.TopicID{1}, Log: dedupe.TopicID{2}, Partition: int32(i)})
	}
	l := storeload.New(tasks, live, db.Room)
	if err = l.Fill(ctx, live); err == nil {
		err = s.tell(fmt.Sprintf("%d receipts are live", db.Stats().Jobs))
	}
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, l, nil
}
