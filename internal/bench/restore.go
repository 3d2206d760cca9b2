package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
)

// A round is an instance that begins with nothing and works on two topics: the receipt log of the one holds the receipts of a
// window, that of the other is empty. While the one's tasks are being restored jobs are enqueued for the other, one every few
// milliseconds, and go on when all are; a latency runs from before the produce to the start of the handler. It counts from when the other's
// tasks all work, which is soon: beside_began_s says how long after the first task was seen reading. The time of the restore is that
// from when the first task is seen reading until the last one works.
var restoreCase = Case{
	Name:     "restore",
	Measures: "how fast the receipts of 10 million jobs are read from their log, and what that does to the latency of tasks that work",
	Rows:     []string{"dir", "memory"},
	jobs:     3_000_000, // which stand for liveReceipts
	run:      runRestore,
}

const (
	besideGap  = 2 * time.Millisecond // between two jobs of the tasks beside
	besideWarm = 500 * time.Millisecond
	lookEvery  = 10 * time.Millisecond // at the status
)

type restoreParams struct {
	Topic   string  `json:"topic"` // whose log is read
	Group   string  `json:"group"`
	Dir     string  `json:"dir"`    // empty: in memory
	Beside  string  `json:"beside"` // empty: none
	Seconds float64 `json:"seconds"`
}

// restored is what one round saw. Latencies are in nanoseconds, sorted.
type restored struct {
	Receipts int     `json:"receipts"`
	Seconds  float64 `json:"seconds"`
	CPU      float64 `json:"cpu"`   // seconds
	Began    float64 `json:"began"` // seconds until the tasks beside worked
	During   []int64 `json:"during"`
	After    []int64 `json:"after"`
}

func (r restored) rate() float64 { return float64(r.Receipts) / r.Seconds }

// worse is how much later a late job of the tasks beside starts while others are restored, in milliseconds.
func (r restored) worse() float64 { return (quantile(r.During, 0.99) - quantile(r.After, 0.99)) / 1e6 }

func runRestore(ctx context.Context, e *env) error {
	for _, row := range e.of.Rows {
		if !e.wants(row) {
			continue
		}
		var rounds []restored
		for i := range e.Rounds {
			m, err := e.restoreRound(ctx, row == "dir")
			if err != nil {
				return err
			}
			e.say("%s round %d of %d: %d receipts at %.0f/s; p99 beside %.2f ms, %.2f ms above that afterwards", row, i+1, e.Rounds, m.Receipts, m.rate(),
				quantile(m.During, 0.99)/1e6, m.worse())
			rounds = append(rounds, m)
		}
		r := e.row(row, atLeast("rate", 700_000), atMost("p99_above_ms", 2))
		r.addSpread("rate", each(rounds, restored.rate))
		r.addSpread("cpu_us_per_receipt", each(rounds, func(m restored) float64 { return m.CPU * 1e6 / float64(m.Receipts) }))
		r.addSpread("p99_ms", each(rounds, func(m restored) float64 { return quantile(m.During, 0.99) / 1e6 }))
		r.addSpread("after_p99_ms", each(rounds, func(m restored) float64 { return quantile(m.After, 0.99) / 1e6 }))
		r.addSpread("p99_above_ms", each(rounds, restored.worse))
		r.addSpread("beside_began_s", each(rounds, func(m restored) float64 { return m.Began }))
		r.addSpread("jobs_beside", each(rounds, func(m restored) float64 { return float64(len(m.During)) }))
		r.addSpread("receipts", each(rounds, func(m restored) float64 { return float64(m.Receipts) }))
		r.Seconds = each(rounds, func(m restored) float64 { return m.Seconds }).low
		if err := e.Report(r); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) restoreRound(ctx context.Context, onDisk bool) (m restored, err error) {
	p := restoreParams{Topic: e.name("jobs"), Beside: e.name("beside"), Group: e.name("restore"), Seconds: e.Seconds}
	for _, t := range []string{p.Topic, p.Beside} {
		if err := Fill(ctx, e.Connection, Load{Topic: t}); err != nil {
			return m, err
		}
	}
	if err := e.writeLog(ctx, p.Group, Load{Topic: p.Topic}, e.live()); err != nil {
		return m, err
	}
	err = e.inDir(func(dir string) error {
		if onDisk {
			p.Dir = dir
		}
		return e.side(ctx, "restore", p, &m)
	})
	return m, errors.Join(err, e.clean(ctx, e.prefix))
}

// restoreSide is the role of a round, and of who prepares a Dir.
func restoreSide(ctx context.Context, s *side) (any, error) {
	var p restoreParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	b := newBeside(p.Beside)
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Handle: func(_ context.Context, j *job.Job[blob]) error {
		b.started(j.Args.seq())
		return nil
	}})
	cfg := consumer.Config{Group: p.Group, Topics: []string{p.Topic}, Mux: mux, Dir: p.Dir}
	if p.Beside != "" {
		cfg.Topics = append(cfg.Topics, p.Beside)
	}
	c, err := consumer.New(s.configured(cfg))
	if err != nil {
		return nil, err
	}
	var out restored
	before := processorTime()
	err = alive(ctx, c.Run, func(ctx context.Context) error {
		stop, err := b.send(ctx, s)
		if err != nil {
			return err
		}
		from, live, to, err := watchRestore(ctx, c, &p, &out)
		out.Seconds, out.CPU = to.Sub(from).Seconds(), (processorTime() - before).Seconds()
		if err == nil && p.Beside != "" {
			sleep(ctx, besideWarm+time.Duration(p.Seconds*float64(time.Second)))
		}
		err = errors.Join(err, stop())
		out.Began = live.Sub(from).Seconds()
		if out.During = b.latencies(live, to); len(out.During) == 0 { // a log so short that they came after it
			out.During = b.latencies(from, to)
		}
		out.After = b.latencies(to.Add(besideWarm), time.Now())
		return err
	})
	return out, err
}

// watchRestore waits until every task has been restored and says from when to when that was, and since when all tasks beside work.
func watchRestore(ctx context.Context, c *consumer.Consumer, p *restoreParams, out *restored) (from, live, to time.Time, err error) {
	for sleep(ctx, lookEvery) {
		working, beside, receipts := 0, 0, 0
		now := time.Now()
		for _, t := range c.Status().Tasks {
			if t.Topic != p.Topic {
				if t.Phase == "running" {
					beside++
				}
				continue
			}
			receipts += t.Receipts
			if t.Phase == "running" {
				working++
			}
			if from.IsZero() && t.Phase == "restoring" {
				from = now
			}
		}
		if from.IsZero() && working > 0 { // it was too short to be seen
			from = now.Add(-lookEvery)
		}
		if live.IsZero() && beside == partitions {
			live = now
		}
		if working == partitions {
			out.Receipts = receipts
			if live.IsZero() {
				live = now
			}
			return from, live, now, nil
		}
	}
	return from, live, time.Now(), ctx.Err()
}

// beside is a stream of jobs for tasks that work, and when they were sent and started.
type beside struct {
	topic string
	mu    sync.Mutex
	sent  []time.Time
	took  []time.Duration // -1: not yet
	n     atomic.Int64    // sent and not started
}

func newBeside(topic string) *beside { return &beside{topic: topic} }

// started is called by the handler.
func (b *beside) started(seq int) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if seq >= 0 && seq < len(b.sent) && b.took[seq] < 0 {
		b.took[seq] = now.Sub(b.sent[seq])
		b.n.Add(-1)
	}
}

// latencies are those of the jobs sent in between, in nanoseconds, sorted. A job that has not started has waited until now.
func (b *beside) latencies(from, to time.Time) (out []int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, at := range b.sent {
		switch {
		case at.Before(from) || at.After(to):
		case b.took[i] < 0:
			out = append(out, int64(time.Since(at)))
		default:
			out = append(out, int64(b.took[i]))
		}
	}
	slices.Sort(out)
	return out
}

// send enqueues jobs until the returned function is called, which waits for what is on its way.
func (b *beside) send(ctx context.Context, s *side) (stop func() error, err error) {
	if b.topic == "" {
		return func() error { return nil }, nil
	}
	cl, err := kgo.NewClient(append(s.opts[:len(s.opts):len(s.opts)], kgo.DefaultProduceTopic(b.topic), kgo.RecordPartitioner(producer.Partitioner()), kgo.ProducerLinger(0))...)
	if err != nil {
		return nil, err
	}
	paced, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		payloads := newValues(Load{ValueBytes: valueBytes})
		for seq := 0; sleep(paced, besideGap); seq++ {
			payload, err := payloads.of(seq)
			if err != nil {
				ended <- err
				return
			}
			b.mu.Lock()
			b.sent, b.took = append(b.sent, time.Now()), append(b.took, -1)
			b.mu.Unlock()
			b.n.Add(1)
			r := &kgo.Record{Key: strconv.AppendInt([]byte("key-"), int64(seq), 10), Value: payload,
				Headers: []kgo.RecordHeader{{Key: "waybill-kind", Value: []byte(KindRaw)}, {Key: "waybill-id", Value: strconv.AppendInt(nil, int64(seq), 10)}}}
			cl.Produce(ctx, r, nil)
		}
		ended <- cl.Flush(ctx)
	}()
	return func() error {
		cancel()
		err := <-ended
		for range 500 { // what came last may start yet
			if b.n.Load() <= 0 || err != nil {
				break
			}
			sleep(ctx, lookEvery)
		}
		cl.Close()
		if n := b.n.Load(); n > 0 && err == nil {
			err = fmt.Errorf("%d jobs beside did not start", n)
		}
		return err
	}, nil
}
