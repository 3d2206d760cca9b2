package retrytopics

// DelayQueue orders values by when they are due, and by when they were pushed where dues are equal. Dues are plain numbers
// (nanoseconds or milliseconds, as the caller likes). The zero value is an empty queue. One goroutine at a time.
//
// It is a binary heap written out, because container/heap boxes each value in an interface.
type DelayQueue[T any] struct {
	heap []delayed[T]
	seq  uint64 // of the next push; makes the order of equal dues total
}

type delayed[T any] struct {
	due   int64
	seq   uint64
	value T
}

func (a *delayed[T]) before(b *delayed[T]) bool {
	return a.due < b.due || a.due == b.due && a.seq < b.seq
}

// Len is the number of values held.
func (q *DelayQueue[T]) Len() int { return len(q.heap) }

// Push adds v, due at due.
func (q *DelayQueue[T]) Push(due int64, v T) {
	item := delayed[T]{due: due, seq: q.seq, value: v}
	q.seq++
	q.heap = append(q.heap, item)
	hole := len(q.heap) - 1
	for hole > 0 {
		parent := (hole - 1) / 2
		if !item.before(&q.heap[parent]) {
			break
		}
		q.heap[hole] = q.heap[parent]
		hole = parent
	}
	q.heap[hole] = item
}

// Peek returns the value due first without removing it; ok is false when the queue is empty.
func (q *DelayQueue[T]) Peek() (due int64, v T, ok bool) {
	if len(q.heap) == 0 {
		return 0, v, false
	}
	return q.heap[0].due, q.heap[0].value, true
}

// Pop removes and returns the value due first; ok is false when the queue is empty.
func (q *DelayQueue[T]) Pop() (due int64, v T, ok bool) {
	n := len(q.heap) - 1
	if n < 0 {
		return 0, v, false
	}
	top, item := q.heap[0], q.heap[n]
	q.heap[n] = delayed[T]{} // let go of what the value refers to
	q.heap = q.heap[:n]
	if n > 0 {
		q.sink(item)
	}
	return top.due, top.value, true
}

// sink puts item in the hole at the root and lets it sink to its place.
func (q *DelayQueue[T]) sink(item delayed[T]) {
	hole := 0
	for {
		child := 2*hole + 1
		if child >= len(q.heap) {
			break
		}
		if right := child + 1; right < len(q.heap) && q.heap[right].before(&q.heap[child]) {
			child = right
		}
		if !q.heap[child].before(&item) {
			break
		}
		q.heap[hole] = q.heap[child]
		hole = child
	}
	q.heap[hole] = item
}
