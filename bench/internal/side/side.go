// Package side is one side of the comparison: a peer in a process of its own, what it is told and what it answers.
//
// package suite starts the program again with Arg and writes a Task to its standard input; Serve answers with a Sample. A
// side creates nothing in the cluster but its group (and what Waybill makes for it); the suite deletes both.
package side

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/bench/internal/peers"
)

// Arg is the argument that turns the program into a side.
const Arg = "peers-side"

// Task is what a side is told.
type Task struct {
	Peer    string        `json:"peer"`
	Brokers []string      `json:"brokers"`
	Topic   string        `json:"topic"`
	Group   string        `json:"group"`   // a number is added for each pass
	Jobs    int           `json:"jobs"`    // in the topic; 0: the side enqueues them one by one and measures how long they take
	Seconds float64       `json:"seconds"` // at least
	Work    time.Duration `json:"work"`    // of each handler
	// Cut ends a pass when the side has lasted its seconds, after one job at least; otherwise the last pass goes on to the end of the topic.
	Cut bool `json:"cut"`
}

// Sample is what a side measured.
type Sample struct {
	Jobs    int     `json:"jobs"`
	Passes  int     `json:"passes"`
	Seconds float64 `json:"seconds"` // from the first handler's start to the last one's end, of all passes
	CPU     float64 `json:"cpu"`     // seconds of processor time, from before the client was made
	// Milliseconds from before produce to handler start; only of sides that enqueue.
	P50 float64 `json:"p50_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
}

// answer is what a side writes.
type answer struct {
	Sample Sample `json:"sample"`
	Error  string `json:"error,omitempty"`
}

// Serve is the whole life of a side's process. It ends with ctx.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	var t Task
	if err := json.NewDecoder(in).Decode(&t); err != nil {
		return fmt.Errorf("a side is told on standard input what to do: %w", err)
	}
	var a answer
	var err error
	if a.Sample, err = run(ctx, t); err != nil {
		a.Error = err.Error()
	}
	return json.NewEncoder(out).Encode(a)
}

// Read reads what a side wrote.
func Read(text []byte) (Sample, error) {
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		return Sample{}, fmt.Errorf("no answer: %w", err)
	}
	if a.Error != "" {
		return Sample{}, fmt.Errorf("%s", a.Error)
	}
	return a.Sample, nil
}

func run(ctx context.Context, t Task) (Sample, error) {
	p, ok := peers.Lookup(t.Peer)
	if !ok {
		return Sample{}, fmt.Errorf("no peer %q", t.Peer)
	}
	if t.Jobs == 0 {
		return latency(ctx, p, t)
	}
	watch, err := kgo.NewClient(kgo.SeedBrokers(t.Brokers...))
	if err != nil {
		return Sample{}, err
	}
	defer watch.Close()
	var total Sample
	for total.Passes == 0 || total.Seconds < t.Seconds {
		one := &pass{task: t, group: fmt.Sprintf("%s-%d", t.Group, total.Passes), limit: t.Seconds - total.Seconds,
			begun: make(chan struct{}), full: make(chan struct{})}
		if err := one.run(ctx, p, kadm.NewClient(watch), &total); err != nil {
			return Sample{}, fmt.Errorf("pass %d: %w", total.Passes+1, err)
		}
		total.Passes++
	}
	return total, nil
}

// pass is one way through the topic in a new group.
type pass struct {
	task  Task
	group string
	limit float64 // seconds from the first start; only where the task cuts
	// Written by handlers.
	started, ended atomic.Int64
	first, last    atomic.Int64 // nanoseconds of the clock
	begun, full    chan struct{}
}

// handle runs on any goroutine of the peer's.
func (p *pass) handle([]byte) {
	if p.started.Add(1) == 1 {
		p.first.Store(time.Now().UnixNano())
		close(p.begun)
	}
	if p.task.Work > 0 {
		time.Sleep(p.task.Work)
	}
	if p.ended.Add(1) == int64(p.task.Jobs) {
		p.last.Store(time.Now().UnixNano())
		close(p.full)
	}
}

// run makes the pass, adds what it measured to total, and holds the group's offsets against what was handled.
func (p *pass) run(ctx context.Context, peer peers.Peer, admin *kadm.Client, total *Sample) error {
	before := processorTime()
	work, stop := context.WithCancel(ctx)
	defer stop()
	left := make(chan error, 1)
	go func() {
		left <- peer.Run(work, peers.Work{Brokers: p.task.Brokers, Topic: p.task.Topic, Group: p.group, Handle: p.handle})
	}()
	early, err := p.wait(ctx, left)
	if !early {
		jobs := min(p.ended.Load(), int64(p.task.Jobs))
		p.last.CompareAndSwap(0, time.Now().UnixNano())
		total.CPU += (processorTime() - before).Seconds()
		total.Jobs += int(jobs)
		total.Seconds += float64(p.last.Load()-p.first.Load()) / 1e9
		stop()
		err = <-left
	}
	if err != nil {
		return err
	}
	if early {
		return fmt.Errorf("it ended by itself after %d of %d jobs", p.ended.Load(), p.task.Jobs)
	}
	return p.committed(ctx, admin)
}

// wait returns when the topic is done or the pass is cut; early says that the peer ended before.
func (p *pass) wait(ctx context.Context, left <-chan error) (early bool, err error) {
	var cut <-chan time.Time
	begun := p.begun
	for {
		select {
		case <-begun:
			begun = nil
			if p.task.Cut {
				timer := time.NewTimer(time.Duration(p.limit * float64(time.Second)))
				defer timer.Stop()
				cut = timer.C
			}
		case <-cut:
			if p.ended.Load() > 0 {
				return false, nil
			}
			cut = time.After(time.Millisecond)
		case <-p.full:
			return false, nil
		case err := <-left:
			return true, err
		case <-ctx.Done():
			return true, fmt.Errorf("after %d of %d jobs: %w", p.ended.Load(), p.task.Jobs, ctx.Err())
		}
	}
}

// committed checks that the peer committed what it handled and nothing else: all of a topic that was worked through.
func (p *pass) committed(ctx context.Context, admin *kadm.Client) error {
	offsets, err := admin.FetchOffsets(ctx, p.group)
	if err != nil {
		return fmt.Errorf("offsets of group %s: %w", p.group, err)
	}
	var sum int64
	for _, o := range offsets[p.task.Topic] {
		sum += max(0, o.At)
	}
	handled := p.ended.Load()
	if done := handled >= int64(p.task.Jobs); sum > handled || done && sum != int64(p.task.Jobs) {
		return fmt.Errorf("%d of %d jobs were handled and %d offsets committed", handled, p.task.Jobs, sum)
	}
	return nil
}
