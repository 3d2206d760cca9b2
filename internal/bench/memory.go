package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// A round is an instance with the defaults whose handlers sleep, so that it always holds as much as it may. It is a process
// of its own, and what is measured is the most that process ever had in memory: VmHWM of /proc/self/status, the Go runtime
// and the program's text included.
var memoryCase = Case{
	Name:     "memory",
	Measures: "how much memory a worker with slow handlers takes at most, in front of a backlog of 5 GB and of batches that compress away",
	Rows:     []string{"small", "large", "compressible"},
	run:      runMemory,
}

// backlog is the bytes of values that a topic is loaded with.
const backlog = 5e9

type memoryParams struct {
	Topic   string        `json:"topic"`
	Group   string        `json:"group"`
	Seconds float64       `json:"seconds"`
	Takes   time.Duration `json:"takes"` // one attempt
	Budget  int           `json:"budget"`
	Heap    string        `json:"heap"` // file for a heap profile at the peak, empty for none
}

// peak is what one round saw.
type peak struct {
	HWM   int64 `json:"hwm"` // bytes
	Live  int64 `json:"live"`
	Fresh int64 `json:"fresh"`
	Jobs  int64 `json:"jobs"`
}

func runMemory(ctx context.Context, e *env) error {
	budget := consumer.Config{}.WithDefaults().Memory
	for _, v := range []struct {
		row   string
		load  Load
		takes time.Duration
	}{
		{"small", Load{}, 10 * time.Millisecond},
		{"large", Load{ValueBytes: 64 << 10}, 50 * time.Millisecond},
		{"compressible", Load{ValueBytes: 100_000, Zeros: true}, 100 * time.Millisecond}, // a batch of 1 MB is 1 kB
	} {
		if !e.wants(v.row) {
			continue
		}
		if v.load.Jobs = e.jobs(); v.load.Jobs == 0 {
			v.load.Jobs = backlog / max(v.load.ValueBytes, valueBytes)
		}
		topic, err := e.load(ctx, v.load)
		if err != nil {
			return err
		}
		var rounds []peak
		for i := range e.Rounds {
			p := memoryParams{Topic: topic, Group: e.name(v.row), Seconds: e.Seconds, Takes: v.takes, Budget: budget, Heap: e.profile("heap")}
			var m peak
			if err := e.side(ctx, "memory", p, &m); err != nil {
				return err
			}
			if err := e.clean(ctx, p.Group); err != nil {
				return err
			}
			e.say("%s round %d of %d: %.0f MiB at most", v.row, i+1, e.Rounds, mib(m.HWM))
			rounds = append(rounds, m)
		}
		r := e.row(v.row, atMost("over_budget_mib", 256))
		r.Seconds = e.Seconds
		r.addSpread("over_budget_mib", each(rounds, func(m peak) float64 { return max(0, mib(m.HWM)-mib(int64(budget))) }))
		r.addSpread("peak_mib", each(rounds, func(m peak) float64 { return mib(m.HWM) }))
		r.addSpread("live_mib", each(rounds, func(m peak) float64 { return mib(m.Live) }))
		r.addSpread("heap_mib", each(rounds, func(m peak) float64 { return mib(m.Fresh) }))
		r.add("budget_mib", mib(int64(budget)))
		r.add("backlog_mib", mib(int64(v.load.Jobs*max(v.load.ValueBytes, valueBytes))))
		r.addSpread("rate", each(rounds, func(m peak) float64 { return float64(m.Jobs) / e.Seconds }))
		if err := e.Report(r); err != nil {
			return err
		}
		if err := e.clean(ctx, topic); err != nil { // the next row needs the disk
			return err
		}
	}
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// memorySide is the role of a round.
func memorySide(ctx context.Context, s *side) (any, error) {
	var p memoryParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	var n atomic.Int64
	seen, unwatch := context.WithCancel(ctx)
	defer unwatch()
	heap := watchHeap(seen, p.Heap)
	began := make(chan struct{})
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Handle: func(ctx context.Context, _ *job.Job[blob]) error {
		if n.Add(1) == 1 {
			close(began)
		}
		sleep(ctx, p.Takes)
		return ctx.Err()
	}})
	err := s.instance(ctx, consumer.Config{Group: p.Group, Topics: []string{p.Topic}, Mux: mux, Memory: p.Budget}, func(ctx context.Context) error {
		select {
		case <-began:
		case <-ctx.Done():
			return ctx.Err()
		}
		sleep(ctx, time.Duration(p.Seconds*float64(time.Second)))
		return ctx.Err()
	})
	unwatch()
	<-heap.done
	if err := errors.Join(err, heap.err); err != nil {
		return nil, err
	}
	hwm, err := highWater()
	return peak{HWM: hwm, Live: int64(heap.live), Fresh: int64(heap.fresh), Jobs: n.Load()}, err
}

// highWater is the most memory this process ever had.
func highWater() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("the most memory a process ever had is known on Linux only: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" && f[2] == "kB" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no VmHWM")
}
