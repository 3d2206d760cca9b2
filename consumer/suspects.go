package consumer

import (
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
)

// The suspects of a process (task.Suspicion) run at most suspectPlaces at a time, whatever their task; one that is to run
// alone takes all places. An attempt gives back its place when it ends, one that ran alone when that is durable, or after placeMost: a job that takes that long, as
// some are meant to, must not keep all others from being looked at. Its mark stands all the same.
const (
	suspectPlaces = 16
	placeMost     = 30 * time.Second
)

// suspects is the gate before the pools for jobs that may be why a process died. They pass it in order: a place, then a
// started mark in the log, then the pool. Its methods may be called by any goroutine and do not block.
type suspects struct {
	c *Consumer

	mu      sync.Mutex
	free    int
	waiting []suspect
	placed  map[*task.Entry]*placed
}

type suspect struct {
	h *handle
	e *task.Entry
}

type placed struct {
	places int
	timer  *time.Timer
}

func newSuspects(c *Consumer) *suspects {
	return &suspects{c: c, free: suspectPlaces, placed: map[*task.Entry]*placed{}}
}

func placesOf(e *task.Entry) int {
	if e.Suspicion() == task.Alone {
		return suspectPlaces
	}
	return 1
}

// add takes over an entry that was offered; its outcome comes by way of a pool, or from here when its task is let go before.
func (s *suspects) add(h *handle, e *task.Entry) {
	x := suspect{h, e}
	s.mu.Lock()
	late := h.stopped.Load() // letGo was here, or comes
	if !late {
		s.waiting = append(s.waiting, x)
	}
	s.mu.Unlock()
	if late {
		s.back(x)
	}
	s.admit()
}

// admit gives places to those that wait, the first first.
func (s *suspects) admit() {
	for {
		s.mu.Lock()
		if len(s.waiting) == 0 || placesOf(s.waiting[0].e) > s.free {
			s.mu.Unlock()
			return
		}
		x := s.waiting[0]
		s.waiting = slices.Delete(s.waiting, 0, 1)
		n := placesOf(x.e)
		s.free -= n
		s.placed[x.e] = &placed{places: n, timer: time.AfterFunc(placeMost, func() { s.leave(x.e) })}
		s.mu.Unlock()
		if _, ok := s.c.gate(x.e, time.Now()); ok {
			s.begin(x)
		} else {
			s.take(x.e)
			s.back(x)
		}
	}
}

// begin has the attempt marked and then run.
func (s *suspects) begin(x suspect) {
	mark := &task.Keep{Receipt: task.SuspectMark(x.e), Mark: true, Answer: func(k task.Kept) {
		if k != task.Durable {
			s.back(x)
			return
		}
		s.c.pools[x.e.Kind.Class].Submit([]*task.Entry{x.e})
	}}
	x.h.shard.post(x.h, func(m *task.Machine, now int64) { m.Keep(mark, now) })
}

// back returns an entry that has not begun to its task, which decides about it again if it goes on.
func (s *suspects) back(x suspect) {
	x.e.Cancel()
	s.c.deliver([]*task.Entry{x.e})
}

// done is told of each outcome before its task is. One that ran alone keeps its places until its task says that the log
// knows how it ended (task.Effects.Cleared).
func (s *suspects) done(es []*task.Entry) {
	for _, e := range es {
		if e.Suspicion() == task.Suspect || e.Suspicion() == task.Alone && e.Outcome.Verdict == job.VerdictCancelled {
			s.leave(e)
		}
	}
}

// leave gives the places of an entry to others, once.
func (s *suspects) leave(e *task.Entry) {
	if s.take(e) {
		s.admit()
	}
}

// take frees the places of an entry and reports whether it had any.
func (s *suspects) take(e *task.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.placed[e]
	if p == nil {
		return false
	}
	delete(s.placed, e)
	p.timer.Stop()
	s.free += p.places
	return true
}

// letGo returns those that wait for a task that is let go.
func (s *suspects) letGo(h *handle) {
	var mine []suspect
	s.mu.Lock()
	s.waiting = slices.DeleteFunc(s.waiting, func(x suspect) bool {
		if x.h == h {
			mine = append(mine, x)
		}
		return x.h == h
	})
	s.mu.Unlock()
	for _, x := range mine {
		s.back(x)
	}
	s.admit() // the one at the head may have been among them
}
