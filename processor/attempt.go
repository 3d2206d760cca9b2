package processor

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// runner is a kind with its type: everything inside the middleware. It is immutable, but for its pool.
type runner[T job.Args] struct {
	name        string
	handle      func(context.Context, *job.Job[T]) error
	reconcile   func(context.Context, *job.Job[T]) (bool, error)
	batch       func(context.Context, []*job.Job[T]) []error
	version     int
	upcast      func(int, []byte) ([]byte, error)
	codec       job.Codec
	contentType string
	timeout     time.Duration
	fresh       func() T  // nil unless T is a pointer type
	blocks      sync.Pool // of *[]attempt[T], what is left of a block
}

// attempt is all that one attempt needs: its context and its job.
type attempt[T job.Args] struct {
	clock clock
	job   job.Job[T]
}

// attempts in one allocation: enough to make it cheap, few enough that one that is kept does not keep many.
const attempts = 16

// attempt is a new one. None is used twice: handlers may keep what they were given.
func (r *runner[T]) attempt() *attempt[T] {
	block, _ := r.blocks.Get().(*[]attempt[T])
	if block == nil {
		block = new([]attempt[T])
	}
	if len(*block) == 0 {
		*block = make([]attempt[T], attempts)
	}
	a := &(*block)[0]
	*block = (*block)[1:]
	r.blocks.Put(block)
	return a
}

// one is the deadline around recover around decode around the handler.
func (r *runner[T]) one(ctx context.Context, m *job.Message) error {
	return r.single(ctx, m, time.Time{})
}

// single is one with the clock as read a moment ago; zero: it is read.
func (r *runner[T]) single(ctx context.Context, m *job.Message, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return err // it ended while middleware was at work: an instance that stops starts nothing
	}
	a := r.attempt()
	if now.IsZero() {
		now = time.Now()
	}
	a.clock.start(ctx, now, r.timeout)
	defer a.clock.stop()
	return a.clock.verdict(r.call(a, m))
}

func (r *runner[T]) call(a *attempt[T], m *job.Message) (err error) {
	ended := false
	defer func() {
		if !ended {
			err = caught(recover())
		}
	}()
	if err = r.decode(&a.job, m); err == nil {
		if r.handle != nil {
			err = r.sure(a)
		} else {
			err = r.match(r.batch(&a.clock, []*job.Job[T]{&a.job}), 1)[0]
		}
	}
	ended = true
	return err
}

// sure is the handler, or for a job with an attempt that nobody knows the end of first the question whether its effect happened.
func (r *runner[T]) sure(a *attempt[T]) error {
	if m := a.job.Message; m.Unsure && r.reconcile != nil {
		happened, err := r.reconcile(&a.clock, &a.job)
		if err != nil {
			return err
		}
		if m.Unsure = false; happened {
			return nil
		}
	}
	return r.handle(&a.clock, &a.job)
}

// open is decode behind its own recover, for batches.
func (r *runner[T]) open(j *job.Job[T], m *job.Message) (err error) {
	ended := false
	defer func() {
		if !ended {
			err = caught(recover())
		}
	}()
	err = r.decode(j, m)
	ended = true
	return err
}

// decode fills j from m, or says in a *fault why m is not for this kind.
func (r *runner[T]) decode(j *job.Job[T], m *job.Message) error {
	if m.Version > r.version {
		return &fault{job.CodeUnknownVersion, fmt.Errorf("payload version %d is newer than %d, the newest this handler knows", m.Version, r.version)}
	}
	if !sameType(m.ContentType, r.contentType) {
		return &fault{job.CodeContentType, fmt.Errorf("content type %q is not %q", m.ContentType, r.contentType)}
	}
	payload := m.Payload
	if r.upcast != nil && m.Version < r.version {
		var err error
		if payload, err = r.upcast(m.Version, payload); err != nil {
			return &fault{job.CodeDecode, fmt.Errorf("upcast from version %d to %d: %w", m.Version, r.version, err)}
		}
	}
	j.Message = m
	target := any(&j.Args)
	if r.fresh != nil {
		j.Args = r.fresh()
		target = j.Args
	}
	if err := r.codec.Unmarshal(payload, target); err != nil {
		return &fault{job.CodeDecode, fmt.Errorf("decode payload: %w", err)}
	}
	return nil
}

// sameType compares media types without their parameters, in any case; no type at all is any type (RFC 9110, 8.3).
func sameType(got, want string) bool {
	if got == "" || got == want {
		return true
	}
	return strings.EqualFold(mediaType(got), mediaType(want))
}

func mediaType(s string) string {
	head, _, _ := strings.Cut(s, ";")
	return strings.TrimSpace(head)
}
