package bench

import (
	"cmp"
	"container/heap"
	"time"
)

// ideal is how long jobs of these durations take at least with so many workers when jobs of one key run one after the
// other: the list schedule (Graham 1969) in the order given, which never leaves a worker idle while a job may run. The
// slices are as long; nothing costs anything between two jobs.
func ideal(keys []int32, durations []time.Duration, workers int) time.Duration {
	after := chain(keys)
	busy := map[int32]bool{} // keys that have begun
	var ready queue[int]     // jobs that may run, in the order given
	for i, k := range keys {
		if !busy[k] {
			busy[k] = true
			ready.push(i)
		}
	}
	var running queue[finish]
	var now time.Duration
	for ready.Len()+running.Len() > 0 {
		for ready.Len() > 0 && running.Len() < workers {
			i := ready.pop()
			running.push(finish{now + durations[i], i})
		}
		f := running.pop()
		now = f.at
		if next := after[f.job]; next >= 0 {
			ready.push(int(next))
		}
	}
	return now
}

// chain is for each job the next of its key, -1 where there is none.
func chain(keys []int32) []int32 {
	after := make([]int32, len(keys))
	last := map[int32]int32{}
	for i := len(keys) - 1; i >= 0; i-- {
		after[i] = -1
		if next, ok := last[keys[i]]; ok {
			after[i] = next
		}
		last[keys[i]] = int32(i)
	}
	return after
}

// finish is the end of a running job.
type finish struct {
	at  time.Duration
	job int
}

func (f finish) before(g finish) bool {
	return cmp.Or(cmp.Compare(f.at, g.at), cmp.Compare(f.job, g.job)) < 0
}

// queue is a heap of ints or of finishes, the least first.
type queue[T int | finish] struct{ items []T }

func (q *queue[T]) push(v T) { heap.Push(q, v) }
func (q *queue[T]) pop() T   { return heap.Pop(q).(T) }

// Len is heap.Interface's.
func (q *queue[T]) Len() int { return len(q.items) }

// Swap is heap.Interface's.
func (q *queue[T]) Swap(i, j int) { q.items[i], q.items[j] = q.items[j], q.items[i] }

// Push is heap.Interface's.
func (q *queue[T]) Push(v any) { q.items = append(q.items, v.(T)) }

// Less is heap.Interface's.
func (q *queue[T]) Less(i, j int) bool {
	switch a := any(q.items[i]).(type) {
	case finish:
		return a.before(any(q.items[j]).(finish))
	case int:
		return a < any(q.items[j]).(int)
	}
	return false
}

// Pop is heap.Interface's.
func (q *queue[T]) Pop() any {
	last := len(q.items) - 1
	v := q.items[last]
	q.items = q.items[:last]
	return v
}
