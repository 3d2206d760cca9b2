package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// How long a partition that a broker refuses to serve is left alone: longer each time, until it is granted.
const (
	firstRefusal = 250 * time.Millisecond
	lastRefusal  = 5 * time.Second
)

// refusals are the partitions that brokers refuse to serve, for want of a right for instance. The client would ask again
// at once, thousands of times a second, and each answer ends the wait for data of all other partitions of that broker. So
// such a partition is paused, beside what its machine wants, and asked for again now and then.
type refusals struct {
	c *Consumer

	mu sync.Mutex
	at map[commit.Partition]*refusal
}

type refusal struct {
	since time.Time
	until time.Time // when it is asked for again
	wait  time.Duration
	text  string // what was said, and what ends it
}

// settled is how long a partition that is asked for again must be silent to be taken for served.
func (r *refusals) settled() time.Duration { return time.Second + 2*r.c.cfg.FetchWait }

// refused notes the answer to a fetch and reports whether it was a refusal that only somebody else can end.
func (r *refusals) refused(p commit.Partition, err error) bool {
	var code *kerr.Error
	if !errors.As(err, &code) || code.Retriable || errors.Is(err, kerr.OffsetOutOfRange) || p.Partition < 0 || r.c.handleOf(p.Topic, p.Partition) == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now() // under the lock: who ends the pause takes it too
	x := r.at[p]
	switch {
	case x == nil || now.Sub(x.until) > r.settled():
		x = &refusal{since: now, wait: firstRefusal}
	case now.Before(x.until): // an answer to what was asked before the pause, or the partition went and came back since
		r.c.fetch.refuse(p, true)
		return true
	default:
		x = &refusal{since: x.since, wait: min(2*x.wait, lastRefusal)}
	}
	x.until, x.text = now.Add(x.wait), err.Error()
	if do := r.c.remedy(fetchTrouble, p.Topic, err); do != "" {
		x.text += "; " + do
	}
	r.at[p] = x
	r.c.fetch.refuse(p, true)
	r.c.spawn(func(ctx context.Context) {
		if sleep(ctx, x.wait) {
			r.askAgain(p)
		}
		if sleep(ctx, r.settled()) {
			r.forget(p, x)
		}
	})
	return true
}

// askAgain ends the pause of a partition.
func (r *refusals) askAgain(p commit.Partition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.c.fetch.refuse(p, false)
}

// forget ends a refusal that did not come again.
func (r *refusals) forget(p commit.Partition, x *refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at[p] == x {
		delete(r.at, p)
	}
}

// show adds the refusals to the status of a task.
func (r *refusals) show(st *task.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range st.Sources {
		s := &st.Sources[i]
		if x := r.at[commit.Partition{Topic: s.Topic, Partition: st.Partition}]; x != nil {
			s.Pauses = append(s.Pauses, task.PauseReason{Reason: task.Denied, Since: x.since, Text: x.text})
		}
	}
}
