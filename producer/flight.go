package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// flight is one job from the moment Enqueue takes it until a broker has acknowledged it or it has failed.
type flight struct {
	number uint64
	began  time.Time // when the caller came
	kind   string
	where  Enqueued // ID and Topic from the start; the rest before done is closed
	weight int64    // taken from Producer.bytes, with one of Producer.jobs; touched by launch, then by the client's promise
	err    error    // set before done is closed
	done   chan struct{}
	handed bool // to the client; guarded by Producer.producing
	over   bool // guarded by Producer.mu
}

// launch hands a job that came at began to the client. It waits for room and, with a topic's first job, for the brokers to say what the topic
// takes; what goes wrong is in the flight.
//
// The client gets no context of ours: it would fail the other jobs of a batch with that of the first.
func (p *Producer) launch(ctx context.Context, began time.Time, kind string, where Enqueued, r *kgo.Record) *flight {
	f := &flight{began: began, kind: kind, where: where, done: make(chan struct{})}
	if !p.depart(f) {
		f.err = ErrClosed
		close(f.done)
		return f
	}
	if err := p.admit(ctx, f, r); err != nil {
		p.arrive(f, err)
		return f
	}
	p.producing.RLock()
	defer p.producing.RUnlock()
	if p.stopped {
		p.makeRoom(f)
		p.arrive(f, fmt.Errorf("not sent: %w", ErrClosed))
		return f
	}
	f.handed = true
	p.cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		if errors.Is(err, kerr.MessageTooLarge) { // the batch was; of the record only an answer to it alone says so
			p.limits.forget(r.Topic)
			p.alone.Send(r, func(r *kgo.Record, err error) { p.land(f, r, err) })
			return
		}
		p.land(f, r, err)
	})
	return f
}

// land ends a flight with what the brokers said.
func (p *Producer) land(f *flight, r *kgo.Record, err error) {
	p.makeRoom(f)
	if err != nil {
		p.arrive(f, explain(r.Topic, err))
		return
	}
	f.where.Partition, f.where.Offset = r.Partition, r.Offset
	p.arrive(f, nil)
}

// admit checks the size of a job's record and takes room for it.
func (p *Producer) admit(ctx context.Context, f *flight, r *kgo.Record) error {
	if ctx.Err() != nil {
		return notSent(ctx)
	}
	size := recordSize(r)
	weight := min(int64(size), p.cfg.MaxBufferedBytes)
	if limit, known := p.limits.known(r.Topic); known {
		if err := fits(size, limit); err != nil {
			return err
		}
		// Room that is there is taken without setting up a context that ends with Close.
		if p.jobs.TryAcquire(1) {
			if p.bytes.TryAcquire(weight) {
				f.weight = weight
				return nil
			}
			p.jobs.Release(1)
		}
	}
	return p.admitSlowly(ctx, f, r.Topic, size, weight)
}

func (p *Producer) admitSlowly(ctx context.Context, f *flight, topic string, size int, weight int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.life, func() { cancel(ErrClosed) })()
	limit, err := p.limits.learn(ctx, topic, f.began)
	switch {
	case errors.Is(err, kgo.ErrClientClosed): // may come before the context knows
		return fmt.Errorf("not sent: %w", ErrClosed)
	case err != nil && ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%w; the brokers: %w", notSent(ctx), err)
	case err != nil && ctx.Err() != nil:
		return notSent(ctx)
	case err != nil:
		return fmt.Errorf("not sent: %w", explain(topic, err))
	}
	if err := fits(size, limit); err != nil {
		return err
	}
	if p.jobs.Acquire(ctx, 1) != nil {
		return notSent(ctx)
	}
	if p.bytes.Acquire(ctx, weight) != nil {
		p.jobs.Release(1)
		return notSent(ctx)
	}
	f.weight = weight
	return nil
}

// makeRoom gives back what admit took.
func (p *Producer) makeRoom(f *flight) {
	p.bytes.Release(f.weight)
	p.jobs.Release(1)
}

func notSent(ctx context.Context) error { return fmt.Errorf("not sent: %w", context.Cause(ctx)) }

// wait returns the end of a flight, or what is known when ctx ends before.
func (p *Producer) wait(ctx context.Context, f *flight) (Enqueued, error) {
	select {
	case <-f.done:
	default:
		select {
		case <-f.done:
		case <-ctx.Done():
			where := nowhere(f.where.ID, f.where.Topic)
			return where, f.failure(fmt.Errorf("%w: %w", ErrUnknown, context.Cause(ctx)))
		}
	}
	if f.err != nil {
		return nowhere(f.where.ID, f.where.Topic), f.failure(f.err)
	}
	return f.where, nil
}

func (f *flight) failure(err error) error {
	return &JobError{Kind: f.kind, ID: f.where.ID, Topic: f.where.Topic, Err: err}
}

// depart notes a flight, unless the producer is closing.
func (p *Producer) depart(f *flight) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return false
	}
	f.number = p.next
	p.next++
	p.flights[f.number] = f
	return true
}

// arrive ends a flight; the second end of a flight changes nothing.
func (p *Producer) arrive(f *flight, err error) {
	p.mu.Lock()
	if f.over {
		p.mu.Unlock()
		return
	}
	f.over, f.err = true, err
	delete(p.flights, f.number)
	if p.closing {
		if err != nil {
			p.failed = append(p.failed, f)
		}
		if len(p.flights) == 0 {
			close(p.idle)
		}
	}
	p.mu.Unlock()
	close(f.done)
}

// Close takes no new jobs, writes those on their way, and closes the connections. When ctx ends before all are written it
// stops waiting: the error is an *UnsentError that lists the jobs no broker has acknowledged (a broker that hung may have
// written some of them), and whoever waits for one of them gets ErrUnknown. Later calls return what the first one did.
func (p *Producer) Close(ctx context.Context) error {
	p.closeOnce.Do(func() { p.closeErr = p.close(ctx) })
	return p.closeErr
}

func (p *Producer) close(ctx context.Context) error {
	p.mu.Lock()
	p.closing = true
	if len(p.flights) == 0 {
		close(p.idle)
	}
	p.mu.Unlock()

	if p.cl.Flush(ctx) == nil { // ends lingers; jobs that wait for room come after it
		select {
		case <-p.idle:
		case <-ctx.Done():
		}
	}
	cause := context.Cause(ctx)
	p.end(ErrClosed)
	p.producing.Lock()
	p.stopped = true
	p.producing.Unlock()
	p.cl.Close()
	p.alone.Close()
	return p.account(cause)
}

// account fails what is still on its way after the client was closed, and lists all that failed since Close began.
func (p *Producer) account(cause error) error {
	p.mu.Lock()
	left := make([]*flight, 0, len(p.flights))
	for _, f := range p.flights {
		left = append(left, f)
	}
	p.mu.Unlock()
	for _, f := range left {
		if err := fmt.Errorf("not sent: %w", ErrClosed); !f.handed { // and never will be: stopped is set
			p.arrive(f, err)
		} else {
			p.arrive(f, explain(f.where.Topic, kgo.ErrClientClosed))
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.failed) == 0 {
		return nil
	}
	slices.SortFunc(p.failed, func(a, b *flight) int { return cmp.Compare(a.number, b.number) })
	unsent := &UnsentError{Cause: cause}
	for _, f := range p.failed {
		unsent.IDs = append(unsent.IDs, f.where.ID)
	}
	if cause == nil { // the brokers answered, with refusals
		unsent.Cause = p.failed[0].err
	}
	return unsent
}
