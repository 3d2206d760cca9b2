package pool

import "github.com/waybill-dev/waybill/consumer/internal/task"

// run is an entry and what may be run behind it, one after the other: n entries in all.
type run struct {
	first *task.Entry
	n     int
}

// ring is a growing FIFO of runs. The length of its buffer is a power of two.
type ring struct {
	buf  []run
	head int
	n    int
}

// grow makes room for one more.
func (r *ring) grow() {
	if r.n == len(r.buf) {
		grown := make([]run, max(64, 2*len(r.buf)))
		n := copy(grown, r.buf[r.head:])
		copy(grown[n:], r.buf[:r.head])
		r.buf, r.head = grown, 0
	}
}

func (r *ring) push(x run) {
	r.grow()
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = x
	r.n++
}

func (r *ring) pushFront(x run) {
	r.grow()
	r.head = (r.head - 1) & (len(r.buf) - 1)
	r.buf[r.head] = x
	r.n++
}

func (r *ring) pop() run {
	x := r.buf[r.head]
	r.buf[r.head] = run{}
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	return x
}

// queues is what waits in a pool. The caller holds the pool's lock.
type queues struct {
	fresh, retried ring
	batches        map[*task.Kind]*ring
	order          []*task.Kind // of batches, for taking turns
	turn           int
	starts         int // since the last retry, while both wait
	n              int // entries
}

// retryShare is one start in so many that goes to a retry while fresh jobs wait too (design section 6.2: 1:3).
const retryShare = 4

func (q *queues) push(e *task.Entry) {
	x := run{e, 1 + e.Chain()}
	q.n += x.n
	if e.Kind.Processor.BatchSize() > 0 {
		r := q.batches[e.Kind]
		if r == nil {
			r = &ring{}
			q.batches[e.Kind] = r
			q.order = append(q.order, e.Kind)
		}
		r.push(x)
	} else {
		q.single(e).push(x)
	}
}

// pushFront takes back single jobs that were taken and not begun.
func (q *queues) pushFront(x run) {
	q.n += x.n
	q.single(x.first).pushFront(x)
}

// pushBack takes back what is left of a chain.
func (q *queues) pushBack(x run) {
	q.n += x.n
	q.single(x.first).push(x)
}

func (q *queues) single(e *task.Entry) *ring {
	if e.Retried() {
		return &q.retried
	}
	return &q.fresh
}

// take appends to dst what one worker is to do next: one batch of one kind, or runs of single jobs until they are at least
// limit.
func (q *queues) take(dst []run, limit int) []run {
	places := len(q.order) + 1
	for i := range places {
		at := (q.turn + i) % places
		if at == len(q.order) {
			if q.fresh.n+q.retried.n > 0 {
				q.turn = at + 1
				return q.singles(dst, limit)
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

func (q *queues) singles(dst []run, limit int) []run {
	for n := 0; n < limit && q.fresh.n+q.retried.n > 0; {
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
		x := r.pop()
		dst = append(dst, x)
		n += x.n
		q.n -= x.n
	}
	return dst
}
