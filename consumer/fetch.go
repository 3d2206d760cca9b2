package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// fetchControl turns what machines want of fetching (start here, pause, resume) into calls to the client. It keeps the
// wanted state of each partition and brings the client to it, so that a pause and a resume in quick succession cost
// nothing, and a start waits until the client knows the partition: after an assignment it still looks up offsets.
type fetchControl struct {
	c    *Consumer
	wake chan struct{}

	mu    sync.Mutex
	parts map[commit.Partition]*fetchState
	dirty map[commit.Partition]struct{}
	then  []func() // to be called when the client has been brought to the state wanted now
}

type fetchState struct {
	start  int64 // to be set, -1 for none
	epoch  int32 // leader epoch of the record before start: the client has the broker confirm it. -1: not known
	paused bool  // wanted
	refuse bool  // paused whatever is wanted: see refusals
	is     bool  // paused in the client
	wait   time.Duration
	due    time.Time // when the client is next asked whether it knows the partition
}

// How long the client is given before it is asked again whether it knows a partition. The wait grows by a quarter each time, so a
// start is late by a quarter at most of what it had to wait, and one that never comes (its topic is gone) costs next to nothing.
const (
	firstWait = 5 * time.Millisecond
	lastWait  = 250 * time.Millisecond
)

// later puts off the next question.
func (s *fetchState) later(now time.Time) {
	s.wait = min(max(firstWait, s.wait+s.wait/4), lastWait)
	s.due = now.Add(s.wait)
}

func newFetchControl(c *Consumer) *fetchControl {
	return &fetchControl{c: c, wake: make(chan struct{}, 1), parts: map[commit.Partition]*fetchState{}, dirty: map[commit.Partition]struct{}{}}
}

// hold begins to control a partition that the client has paused.
func (f *fetchControl) hold(p commit.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.parts[p] = &fetchState{start: -1, paused: true, is: true}
}

func (f *fetchControl) release(ps []commit.Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range ps {
		delete(f.parts, p)
		delete(f.dirty, p)
	}
}

// apply takes the wishes of one machine.
func (f *fetchControl) apply(h *handle, e *task.Effects) {
	if len(e.Start)+len(e.Pause)+len(e.Resume) == 0 {
		return
	}
	f.mu.Lock()
	want := func(topic string, change func(*fetchState)) {
		p := commit.Partition{Topic: topic, Partition: h.key.partition}
		if s := f.parts[p]; s != nil {
			change(s)
			f.dirty[p] = struct{}{}
		}
	}
	for _, o := range e.Start {
		want(o.Topic, func(s *fetchState) { s.start, s.epoch, s.wait, s.due = o.At, o.Epoch, 0, time.Time{} })
	}
	for _, t := range e.Pause {
		want(t, func(s *fetchState) { s.paused = true })
	}
	for _, t := range e.Resume {
		want(t, func(s *fetchState) { s.paused = false })
	}
	f.mu.Unlock()
	f.awake()
}

// after calls done when the client knows what is wanted now.
func (f *fetchControl) after(done func()) {
	f.mu.Lock()
	f.then = append(f.then, done)
	f.mu.Unlock()
	f.awake()
}

func (f *fetchControl) awake() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// refuse pauses a partition beside what its machine wants, or ends that.
func (f *fetchControl) refuse(p commit.Partition, on bool) {
	f.mu.Lock()
	if s := f.parts[p]; s != nil {
		s.refuse = on
		f.dirty[p] = struct{}{}
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *fetchControl) run(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-again.C:
		}
		if due := f.round(time.Now()); !due.IsZero() {
			again.Reset(time.Until(due))
		}
	}
}

// round brings the client to the wanted state and returns when to try again where a start still waits for the client, zero where none does.
func (f *fetchControl) round(now time.Time) (again time.Time) {
	var known map[string]map[int32]kgo.EpochOffset
	starts := map[string]map[int32]kgo.EpochOffset{}
	pause, resume := map[string][]int32{}, map[string][]int32{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.dirty {
		s := f.parts[p]
		if s.start >= 0 {
			if !now.Before(s.due) {
				if known == nil {
					known = f.c.group.CommittedOffsets()
				}
				if _, ok := known[p.Topic][p.Partition]; !ok {
					s.later(now)
				}
			}
			if s.due.After(now) {
				if again.IsZero() || s.due.Before(again) {
					again = s.due
				}
				continue
			}
			if starts[p.Topic] == nil {
				starts[p.Topic] = map[int32]kgo.EpochOffset{}
			}
			starts[p.Topic][p.Partition] = kgo.EpochOffset{Epoch: s.epoch, Offset: s.start}
			s.start = -1
		}
		delete(f.dirty, p)
		if want := s.paused || s.refuse; want != s.is {
			s.is = want
			if want {
				pause[p.Topic] = append(pause[p.Topic], p.Partition)
			} else {
				resume[p.Topic] = append(resume[p.Topic], p.Partition)
			}
		}
	}
	// Under the lock, so that a release waits: nothing is set on a partition that a callback gave up.
	if len(pause) > 0 {
		f.c.group.PauseFetchPartitions(pause)
	}
	if len(starts) > 0 {
		f.c.group.SetOffsets(starts)
	}
	if len(resume) > 0 {
		f.c.group.ResumeFetchPartitions(resume)
	}
	for _, done := range f.then { // only counts
		done()
	}
	f.then = nil
	return again
}
