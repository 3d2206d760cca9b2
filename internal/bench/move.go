package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// One worker works all the time; in each round a second one, a process of its own as well, joins, works for a while and is
// told to end. Meanwhile jobs come at a steady pace, one to each partition in turn. A pause is the longest time between
// the starts of two jobs that follow each other in one partition, whoever ran them, around the join or the leave: a stall
// of the producer, or of the machine, counts as well, and "steady" says how long the longest is when nobody comes or goes.
var moveCase = Case{
	Name:     "move",
	Measures: "how long tasks pause when a worker joins and leaves under load: those that move, and those that do not",
	Rows:     []string{"join", "leave"},
	jobs:     4000, // a second
	run:      runMove,
}

const (
	moveSettle = 3 * time.Second  // between the events of a round
	moveLimit  = 60 * time.Second // for an event to have its effect
)

type moveParams struct {
	Topic      string `json:"topic"`
	Group      string `json:"group"`
	Partitions int    `json:"partitions"`
}

// starts are the times at which one worker began its jobs, by partition, in microseconds of Unix time.
type starts [][]int64

// pauses are the longest of one round, in milliseconds.
type pauses struct {
	moved, unmoved, steady float64
	tasks                  int // that moved
}

func runMove(ctx context.Context, e *env) error {
	topic := e.name("jobs")
	stop, err := e.stream(ctx, topic)
	if err != nil {
		return err
	}
	joins, leaves, err := e.moves(ctx, topic)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	for _, v := range []struct {
		row    string
		rounds []pauses
	}{{"join", joins}, {"leave", leaves}} {
		if !e.wants(v.row) {
			continue
		}
		r := e.row(v.row, atMost("unmoved_pause_ms", 100), atMost("moved_pause_ms", 1000))
		r.addSpread("unmoved_pause_ms", each(v.rounds, func(p pauses) float64 { return p.unmoved }))
		r.addSpread("moved_pause_ms", each(v.rounds, func(p pauses) float64 { return p.moved }))
		r.addSpread("steady_pause_ms", each(v.rounds, func(p pauses) float64 { return p.steady }))
		r.addSpread("moved_tasks", each(v.rounds, func(p pauses) float64 { return float64(p.tasks) }))
		r.add("tasks", partitions)
		r.add("rate", float64(e.jobs()))
		if err := e.Report(r); err != nil {
			return err
		}
	}
	return nil
}

// stream produces the case's jobs a second until the returned function is called, which tells what went wrong.
func (e *env) stream(ctx context.Context, topic string) (stop func() error, err error) {
	f, err := newFeed(ctx, e.Connection, Load{Topic: topic})
	if err != nil {
		return nil, err
	}
	keys := make([][]int, partitions)
	for k := 0; slices.ContainsFunc(keys, func(k []int) bool { return len(k) < 64 }); k++ {
		p := partitionOf(keyOf(k), partitions)
		keys[p] = append(keys[p], k)
	}
	paced, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		began, sent := time.Now(), 0
		for sleep(paced, time.Millisecond) {
			for want := int(time.Since(began).Seconds() * float64(e.jobs())); sent < want; sent++ {
				in := keys[sent%partitions]
				if err := f.send(sent, in[sent/partitions%len(in)]); err != nil {
					ended <- err
					return
				}
			}
		}
		ended <- nil
	}()
	return func() error {
		cancel()
		return errors.Join(<-ended, f.close())
	}, nil
}

// moves runs the rounds.
func (e *env) moves(ctx context.Context, topic string) (joins, leaves []pauses, err error) {
	p := moveParams{Topic: topic, Group: e.name("group"), Partitions: partitions}
	stays, err := e.mover(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_, _ = stays.end()
		}
	}()
	type round struct{ steady, join, leave, end time.Time }
	var rounds []round
	var others []starts
	if err := stays.working(ctx, partitions); err != nil {
		return nil, nil, err
	}
	settle := scaled(e, moveSettle)
	for range e.Rounds {
		var t round
		t.steady = time.Now()
		if !sleep(ctx, settle) {
			return nil, nil, ctx.Err()
		}
		t.join = time.Now()
		comes, err := e.mover(ctx, p)
		if err != nil {
			return nil, nil, err
		}
		err = comes.working(ctx, partitions/2)
		sleep(ctx, settle)
		t.leave = time.Now()
		s, eerr := comes.end()
		if err != nil || eerr != nil {
			return nil, nil, fmt.Errorf("the worker that joins: %w", errors.Join(err, eerr))
		}
		if err := stays.working(ctx, partitions); err != nil {
			return nil, nil, err
		}
		sleep(ctx, settle)
		t.end = time.Now()
		rounds, others = append(rounds, t), append(others, s)
	}
	one, err := stays.end()
	if err != nil {
		return nil, nil, err
	}
	for i, t := range rounds {
		steady := longest(one, nil, t.steady, t.join, nil)
		for _, w := range []struct {
			into        *[]pauses
			from, until time.Time
		}{{&joins, t.join, t.leave}, {&leaves, t.leave, t.end}} {
			moved := func(part int) bool { return len(others[i][part]) > 0 }
			ps := pauses{steady: steady}
			ps.moved = longest(one, others[i], w.from, w.until, moved)
			ps.unmoved = longest(one, others[i], w.from, w.until, func(part int) bool { return !moved(part) })
			for part := range partitions {
				if moved(part) {
					ps.tasks++
				}
			}
			*w.into = append(*w.into, ps)
		}
		e.say("round %d of %d: steady %.0f ms; join: unmoved %.0f ms, moved %.0f ms; leave: unmoved %.0f ms, moved %.0f ms", i+1, len(rounds), steady,
			joins[i].unmoved, joins[i].moved, leaves[i].unmoved, leaves[i].moved)
	}
	return joins, leaves, nil
}

// longest is the longest pause in milliseconds, between two instants, of the partitions of which is true (nil: of all).
func longest(a, b starts, from, until time.Time, which func(partition int) bool) float64 {
	most := int64(0)
	for part := range a {
		if which != nil && !which(part) {
			continue
		}
		all := slices.Clone(a[part])
		if b != nil {
			all = append(all, b[part]...)
		}
		slices.Sort(all)
		last := from.UnixMicro()
		for _, at := range all {
			if at >= until.UnixMicro() {
				break
			}
			if at >= from.UnixMicro() {
				most, last = max(most, at-last), at
			}
		}
		most = max(most, until.UnixMicro()-last)
	}
	if most == 0 {
		return math.NaN()
	}
	return float64(most) / 1000
}

// mover is a worker as its parent sees it.
type mover struct {
	*process
	mu    sync.Mutex
	parts int // in which it worked lately
	news  chan struct{}
}

func (e *env) mover(ctx context.Context, p moveParams) (*mover, error) {
	m := &mover{news: make(chan struct{}, 1)}
	var err error
	m.process, err = e.start(ctx, "move", p, func(text json.RawMessage) {
		var n int
		if json.Unmarshal(text, &n) != nil {
			return
		}
		m.mu.Lock()
		m.parts = n
		m.mu.Unlock()
		select {
		case m.news <- struct{}{}:
		default:
		}
	})
	return m, err
}

// working waits until the worker works in so many partitions.
func (m *mover) working(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	for {
		m.mu.Lock()
		n := m.parts
		m.mu.Unlock()
		if n >= want {
			return nil
		}
		select {
		case <-m.news:
		case <-m.done:
			return fmt.Errorf("it ended: %w", m.err)
		case <-ctx.Done():
			return fmt.Errorf("a worker has jobs of %d partitions and not of %d: %w", n, want, ctx.Err())
		}
	}
}

// end tells the worker to end and returns what it did.
func (m *mover) end() (s starts, err error) {
	m.stop()
	return s, m.wait(&s)
}

// moveSide is the role of a worker: it notes when each job starts, tells several times a second in how many partitions it
// works, and ends when it is told to.
func moveSide(ctx context.Context, s *side) (any, error) {
	var p moveParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	all := make(starts, p.Partitions)
	for i := range all {
		all[i] = []int64{}
	}
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Handle: func(_ context.Context, j *job.Job[blob]) error {
		now := time.Now().UnixMicro()
		mu.Lock()
		defer mu.Unlock()
		all[j.Origin.Partition] = append(all[j.Origin.Partition], now)
		return nil
	}})
	err := s.instance(ctx, consumer.Config{Group: p.Group, Topics: []string{p.Topic}, Mux: mux}, func(ctx context.Context) error {
		for sleep(ctx, 50*time.Millisecond) {
			mu.Lock()
			n, lately := 0, time.Now().Add(-200*time.Millisecond).UnixMicro()
			for _, at := range all {
				if len(at) > 0 && at[len(at)-1] > lately {
					n++
				}
			}
			mu.Unlock()
			if err := s.tell(n); err != nil {
				return err
			}
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	return all, err
}
