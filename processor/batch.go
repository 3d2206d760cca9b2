package processor

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// direct is a batch without middleware.
func (r *runner[T]) direct(ctx context.Context, ms []*job.Message, out []job.Outcome) {
	for i := range out { // what a codec that ends the goroutine leaves behind
		out[i] = job.Outcome{Verdict: job.VerdictRetry, Code: job.CodePanic, Text: ErrGoexit.Error()}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		jobs, at := r.openAll(ctx, ms, out)
		for k, err := range r.callBatch(ctx, jobs) {
			settle(ctx, err, &out[at[k]])
		}
	})
	wg.Wait()
}

// openAll decodes ms. It settles those that do not decode, and returns the others' jobs with their indexes in ms.
func (r *runner[T]) openAll(ctx context.Context, ms []*job.Message, out []job.Outcome) (jobs []*job.Job[T], at []int) {
	slab := make([]job.Job[T], len(ms))
	jobs, at = make([]*job.Job[T], 0, len(ms)), make([]int, 0, len(ms))
	for i, m := range ms {
		if err := r.open(&slab[i], m); err != nil {
			settle(ctx, err, &out[i])
			continue
		}
		jobs, at = append(jobs, &slab[i]), append(at, i)
	}
	return jobs, at
}

// callBatch calls Batch under the deadline, in a goroutine of its own, and returns one error for each job.
func (r *runner[T]) callBatch(ctx context.Context, jobs []*job.Job[T]) []error {
	if len(jobs) == 0 {
		return nil
	}
	n := len(jobs) // Batch may do with its slice what it likes
	c := new(clock)
	c.start(ctx, time.Now(), r.timeout)
	defer c.stop()
	var errs []error
	var wg sync.WaitGroup
	wg.Go(func() {
		ended := false
		defer func() {
			if !ended {
				errs = repeat(caught(recover()), n)
			}
		}()
		errs = r.match(r.batch(c, jobs), n)
		ended = true
	})
	wg.Wait()
	for i := range errs {
		errs[i] = c.verdict(errs[i])
	}
	return errs
}

// match brings what Batch returned to n errors, in a slice of our own.
func (r *runner[T]) match(got []error, n int) []error {
	errs := make([]error, n)
	copy(errs, got)
	if len(got) == n {
		return errs
	}
	wrong := fmt.Errorf("kind %q: Batch returned %d errors for %d jobs; it must return one for each", r.name, len(got), n)
	for i := range errs {
		if errs[i] == nil {
			errs[i] = wrong
		}
	}
	return errs
}

func repeat(err error, n int) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// table is where the messages of one batch meet when they come through middleware.
type table[T job.Args] struct {
	r      *runner[T]
	ready  chan struct{} // closed when no message is awaited any more
	served chan struct{} // closed when the guests' errors are set

	mu      sync.Mutex
	awaited int  // messages that have neither sat down nor gone home
	closed  bool // Batch has been called, or will not be
	seats   []seat[T]
}

// seat is one message's place.
type seat[T job.Args] struct {
	table *table[T]
	job   *job.Job[T] // set when the message has sat down
	gone  bool        // its middleware has returned
	err   error       // set before served is closed
}

// seatKey is the context key of a message's seat, different for each kind.
type seatKey struct{ runner any }

// seated is the innermost handler of a batch kind: it sits down at the table its context knows of and waits for Batch, or
// runs a batch of one, when there is no table, or the table is closed, or middleware has called it before.
func (r *runner[T]) seated(ctx context.Context, m *job.Message) error {
	s, ok := ctx.Value(seatKey{r}).(*seat[T])
	if !ok || !s.free() {
		return r.one(ctx, m)
	}
	j := new(job.Job[T])
	if err := r.open(j, m); err != nil {
		return err
	}
	if !s.sit(j) {
		return r.one(ctx, m)
	}
	<-s.table.served
	return s.err
}

func (s *seat[T]) free() bool {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	return !s.table.closed && s.job == nil && !s.gone
}

func (s *seat[T]) sit(j *job.Job[T]) bool {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || s.job != nil || s.gone {
		return false
	}
	s.job = j
	t.settled()
	return true
}

// leave is called when the message's middleware has returned.
func (s *seat[T]) leave() {
	t := s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	s.gone = true
	if s.job == nil {
		t.settled()
	}
}

// settled counts a message no longer awaited; t.mu is held.
func (t *table[T]) settled() {
	if t.awaited--; t.awaited == 0 {
		close(t.ready)
	}
}

// gather is a batch with middleware: every message goes through the chain of p to the table.
func (r *runner[T]) gather(ctx context.Context, p *Processor, ms []*job.Message, out []job.Outcome) {
	t := &table[T]{
		r: r, ready: make(chan struct{}), served: make(chan struct{}), awaited: len(ms), seats: make([]seat[T], len(ms)),
	}
	var wg sync.WaitGroup
	for i, m := range ms {
		s := &t.seats[i]
		s.table = t
		wg.Go(func() {
			defer s.leave()
			p.attempt(context.WithValue(ctx, seatKey{r}, s), m, time.Time{}, &out[i])
		})
	}
	t.wait(ctx)
	t.serve(ctx)
	wg.Wait()
}

// wait returns when every message has sat down or gone home, or none is worth waiting for.
func (t *table[T]) wait(ctx context.Context) {
	most := t.r.timeout
	if most == job.NoTimeout { // middleware that lets one through at a time would wait for ever
		most = job.Policy{}.WithDefaults().Timeout
	}
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-t.ready:
	case <-late.C:
	case <-ctx.Done():
	}
}

// serve closes the table and calls Batch with those at it, in the order of the messages.
func (t *table[T]) serve(ctx context.Context) {
	t.mu.Lock()
	t.closed = true
	var jobs []*job.Job[T]
	var guests []*seat[T]
	for i := range t.seats {
		if s := &t.seats[i]; s.job != nil {
			jobs, guests = append(jobs, s.job), append(guests, s)
		}
	}
	t.mu.Unlock()
	var errs []error
	if err := ctx.Err(); err != nil {
		errs = repeat(err, len(jobs))
	} else {
		errs = t.r.callBatch(ctx, jobs)
	}
	for i, s := range guests {
		s.err = errs[i]
	}
	close(t.served)
}
