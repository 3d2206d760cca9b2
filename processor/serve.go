package processor

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// Attempt is one attempt for Serve to run.
type Attempt struct {
	Processor *Processor
	Context   context.Context
	Message   *job.Message
	Now       time.Time // the clock as read a moment ago, from which the deadline counts; zero: it is read
}

// Serve is the loop of a worker: it asks next for an attempt, runs it as Processor.Run does and hands the outcome to
// done, until next says false. It blocks until then. All this happens in one goroutine, joined by Serve, and in a new one
// after a handler has called runtime.Goexit, so that an attempt costs no goroutine. next and done are never called at the
// same time, nor during an attempt.
func Serve(next func() (Attempt, bool), done func(job.Outcome)) {
	s := server{next: next, done: done}
	for !s.finished {
		s.wg.Add(1)
		go s.loop()
		s.wg.Wait()
		switch {
		case s.running:
			s.running = false
			s.done(s.out)
		case !s.finished:
			runtime.Goexit() // it was next or done that ended the goroutine: they are the caller's
		}
	}
}

// server is one call of Serve; its goroutine and its caller take turns with it.
type server struct {
	next     func() (Attempt, bool)
	done     func(job.Outcome)
	wg       sync.WaitGroup
	out      job.Outcome
	running  bool // an attempt has begun and not returned
	finished bool
}

func (s *server) loop() {
	defer s.wg.Done()
	for {
		a, ok := s.next()
		if !ok {
			s.finished = true
			return
		}
		s.running = true
		a.Processor.attempt(a.Context, a.Message, a.Now, &s.out)
		s.running = false
		s.done(s.out)
	}
}
