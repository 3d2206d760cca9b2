package bench

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// timedParams say what a side works through whose handlers take time.
type timedParams struct {
	Load    Load          `json:"load"` // what the topic holds
	Group   string        `json:"group"`
	Seconds float64       `json:"seconds"`
	Workers int           `json:"workers"`
	Work    time.Duration `json:"work"`  // of each job
	Hot     time.Duration `json:"hot"`   // of each job of the hot key
	Limit   time.Duration `json:"limit"` // after the first start a pass ends, whatever is done; 0: never
}

// timed is what it measured: of the jobs, those of the hot key not among them.
type timed struct {
	sample
	Ideal float64 `json:"ideal"` // seconds that the ideal schedule takes
	Mean  float64 `json:"mean"`  // seconds a handler took
}

func (t timed) idealRate() float64 { return float64(t.Jobs) / t.Ideal }

// timedPasses is the role of Waybill's side where handlers take time. The clock runs from the first start of a handler to
// the last end.
func timedPasses(ctx context.Context, s *side) (any, error) {
	var p timedParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	var total timed
	for total.Seconds < p.Seconds {
		one := newTimedPass(p)
		before := processorTime()
		err := s.instance(ctx, consumer.Config{Group: numbered(p.Group, total.Passes), Topics: []string{p.Load.Topic}, Mux: one.mux(), Workers: p.Workers},
			func(ctx context.Context) error {
				if err := one.wait(ctx); err != nil {
					return err
				}
				total.Jobs += p.Load.Jobs - int(one.left.Load())
				total.CPU += (processorTime() - before).Seconds()
				return nil
			})
		if err != nil {
			return nil, err
		}
		total.Passes++
		total.Seconds += float64(one.end.Load()-one.first.Load()) / 1e9
		took := make([]time.Duration, p.Load.Jobs)
		for i := range took {
			took[i] = time.Duration(one.took[i].Load())
			total.Mean += took[i].Seconds()
		}
		total.Ideal += ideal(p.Load.keys(), took, p.Workers).Seconds()
	}
	total.Mean /= float64(total.Jobs)
	return total, nil
}

// timedPass is one way through the topic. Its handler runs on all workers at once.
type timedPass struct {
	p     timedParams
	first atomic.Int64 // when the first handler began, nanoseconds of the clock
	took  []atomic.Int64
	left  atomic.Int64
	end   atomic.Int64 // when the last one ended
	full  chan struct{}
	begun chan struct{} // closed with the first start
}

func newTimedPass(p timedParams) *timedPass {
	t := &timedPass{p: p, took: make([]atomic.Int64, p.Load.Jobs), full: make(chan struct{}), begun: make(chan struct{})}
	t.left.Store(int64(p.Load.Jobs))
	return t
}

// wait waits until all is done, or the limit has passed since the first start.
func (t *timedPass) wait(ctx context.Context) error {
	var limit <-chan time.Time
	begun := t.begun
	for {
		select {
		case <-begun:
			begun = nil
			if t.p.Limit > 0 {
				limit = time.After(t.p.Limit)
			}
		case <-limit:
			t.end.Store(time.Now().UnixNano())
			return nil
		case <-t.full:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (t *timedPass) mux() *processor.Mux {
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Handle: t.handle})
	return mux
}

func (t *timedPass) handle(ctx context.Context, j *job.Job[blob]) error {
	seq := j.Args.seq()
	if seq >= len(t.took) { // of the hot key; when the others are done it is cut short
		sleep(ctx, t.p.Hot)
		return ctx.Err()
	}
	began := time.Now()
	if t.first.Load() == 0 && t.first.CompareAndSwap(0, began.UnixNano()) {
		close(t.begun)
	}
	time.Sleep(t.p.Work)
	ended := time.Now()
	if t.took[seq].Swap(int64(ended.Sub(began))) == 0 && t.left.Add(-1) == 0 {
		t.end.Store(ended.UnixNano())
		close(t.full)
	}
	return nil
}

// keys are the keys of the jobs in the order of loading, the hot one's not among them.
func (l Load) keys() []int32 {
	l.Hot = false
	out := make([]int32, 0, l.Jobs)
	for _, key := range l.order {
		out = append(out, int32(key))
	}
	return out
}
