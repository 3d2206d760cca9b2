package pool

import "github.com/waybill-dev/waybill/consumer/internal/task"

// ring is a growing FIFO of entries.
type ring struct {
	buf  []*task.Entry
	head int
	n    int
}

// grow makes room for one more.
func (r *ring) grow() {
	if r.n == len(r.buf) {
		grown := make([]*task.Entry, max(64, 2*len(r.buf)))
		for i := range r.n {
			grown[i] = r.buf[(r.head+i)%len(r.buf)]
		}
		r.buf, r.head = grown, 0
	}
}

func (r *ring) push(e *task.Entry) {
	r.grow()
	r.buf[(r.head+r.n)%len(r.buf)] = e
	r.n++
}

func (r *ring) pushFront(e *task.Entry) {
	r.grow()
	r.head = (r.head + len(r.buf) - 1) % len(r.buf)
	r.buf[r.head] = e
	r.n++
}

func (r *ring) pop() *task.Entry {
	e := r.buf[r.head]
	r.buf[r.head] = nil
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	return e
}

// queues is what waits in a pool. The caller holds the pool's lock.
type queues struct {
	fresh, retried ring
	batches        map[*task.Kind]*ring
	order          []*task.Kind // of batches, for taking turns
	turn           int
	starts         int // since the last retry, while both wait
	n              int
}

// retryShare is one start in so many that goes to a retry while fresh jobs wait too (design section 6.2: 1:3).
const retryShare = 4

func (q *queues) push(e *task.Entry) {
	q.n++
	if e.Kind.Processor.BatchSize() > 0 {
		r := q.batches[e.Kind]
		if r == nil {
			r = &ring{}
			q.batches[e.Kind] = r
			q.order = append(q.order, e.Kind)
		}
		r.push(e)
	} else {
		q.single(e).push(e)
	}
}

// pushFront takes back a single job that was taken and not begun.
func (q *queues) pushFront(e *task.Entry) {
	q.n++
	q.single(e).pushFront(e)
}

func (q *queues) single(e *task.Entry) *ring {
	if e.Retried() {
		return &q.retried
	}
	return &q.fresh
}

// take appends to dst what one worker is to do next: one batch of one kind, or up to limit single jobs.
func (q *queues) take(dst []*task.Entry, limit int) []*task.Entry {
	single := q.fresh.n + q.retried.n
	places := len(q.order) + 1
	for i := range places {
		at := (q.turn + i) % places
		if at == len(q.order) {
			if single > 0 {
				q.turn = at + 1
				return q.singles(dst, min(limit, single))
			}
			continue
		}
		kind := q.order[at]
		if r := q.batches[kind]; r.n > 0 {
			q.turn = at + 1
			for range min(r.n, kind.Processor.BatchSize()) {
				dst = append(dst, r.pop())
				q.n--
			}
			return dst
		}
	}
	return dst
}

func (q *queues) singles(dst []*task.Entry, n int) []*task.Entry {
	for range n {
		r := &q.fresh
		switch {
		case q.retried.n == 0:
		case q.fresh.n == 0:
			r = &q.retried
		default:
			if q.starts++; q.starts >= retryShare {
				q.starts, r = 0, &q.retried
			}
		}
		dst = append(dst, r.pop())
		q.n--
	}
	return dst
}
