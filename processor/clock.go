package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// clock is the context of an attempt: its parent with a deadline. It differs from context.WithTimeout in price only: the
// timer and the tie to the parent, which cost four allocations and the parent's lock shared by all workers, are made when
// somebody first waits for Done or when the end has come; a handler that does neither pays nothing.
//
// Like every context it outlives its attempt when somebody keeps it: it is cancelled then. Safe for concurrent use.
type clock struct {
	parent  context.Context
	timeout time.Duration
	end     time.Time // zero: none (job.NoTimeout, and a parent without a deadline)
	own     bool      // the end is the timeout's, not the parent's deadline

	mu    sync.Mutex
	inner context.Context // the real context, nil until needed
	drop  context.CancelFunc
	over  bool // the attempt has ended
}

// start begins the attempt. Nobody else may know c yet.
func (c *clock) start(parent context.Context, now time.Time, timeout time.Duration) {
	c.parent, c.timeout = parent, timeout
	if c.own = timeout != job.NoTimeout; c.own {
		c.end = now.Add(timeout)
	}
	if end, ok := parent.Deadline(); ok && (!c.own || end.Before(c.end)) {
		c.end, c.own = end, false
	}
}

// stop ends the attempt: the context is cancelled unless it has ended before.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.drop != nil {
		c.drop()
	}
}

// expired reports whether the attempt's own timeout ended the context. To be asked before stop.
func (c *clock) expired() bool { return c.own && errors.Is(c.Err(), context.DeadlineExceeded) }

// verdict marks err as that of an attempt past its deadline, if it is one. Panics and undecodable payloads stay what they are.
func (c *clock) verdict(err error) error {
	if err == nil || !c.expired() || codeOf(err) != job.CodeHandlerError {
		return err
	}
	return &fault{job.CodeDeadline, fmt.Errorf("the attempt ran past its timeout of %v: %w", c.timeout, err)}
}

// arm returns the real context, made now if need be.
func (c *clock) arm() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.own {
			c.inner, c.drop = context.WithDeadline(c.parent, c.end)
		} else { // a timer of ours at the same instant could fire before the parent has ended
			c.inner, c.drop = context.WithCancel(c.parent)
		}
		if c.over {
			c.drop()
		}
	}
	return c.inner
}

// Deadline, Done, Err and Value make c a context.Context.
func (c *clock) Deadline() (time.Time, bool) { return c.end, !c.end.IsZero() }

func (c *clock) Done() <-chan struct{} { return c.arm().Done() }

func (c *clock) Err() error {
	c.mu.Lock()
	idle := c.inner == nil && !c.over
	c.mu.Unlock()
	if idle && c.parent.Err() == nil && (c.end.IsZero() || time.Now().Before(c.end)) {
		return nil
	}
	return c.arm().Err() // from here on the answer never changes
}

// Value asks the real context once there is one, so that package context ties children to it without a goroutine.
func (c *clock) Value(key any) any {
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return c.parent.Value(key)
}

func (c *clock) String() string {
	if c.end.IsZero() {
		return "processor.attempt"
	}
	return "processor.attempt(until " + c.end.Format(time.RFC3339Nano) + ")"
}

// ended reports whether err says that ctx, which must have ended, has ended.
func ended(ctx context.Context, err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	return errors.Is(err, context.Cause(ctx))
}
