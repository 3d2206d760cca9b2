package retrytopics

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestDelayQueueEmpty(t *testing.T) {
	var q DelayQueue[string]
	if _, _, ok := q.Peek(); ok || q.Len() != 0 {
		t.Error("the zero queue holds something")
	}
	if _, _, ok := q.Pop(); ok {
		t.Error("popped from the zero queue")
	}
	q.Push(-1, "a")
	if due, v, ok := q.Pop(); !ok || due != -1 || v != "a" || q.Len() != 0 {
		t.Errorf("popped %d %q %v", due, v, ok)
	}
}

func TestDelayQueueLetsGo(t *testing.T) {
	var q DelayQueue[*int]
	q.Push(1, new(int))
	q.Push(2, new(int))
	q.Pop()
	q.Pop()
	for i, item := range q.heap[:cap(q.heap)] {
		if item.value != nil {
			t.Errorf("slot %d still refers to a popped value", i)
		}
	}
}

// The queue behaves like a list kept in order by a stable sort.
func TestDelayQueueModel(t *testing.T) {
	type item struct{ due, n int64 }
	rapid.Check(t, func(t *rapid.T) {
		var q DelayQueue[int64]
		var model []item
		for n := range int64(rapid.IntRange(0, 200).Draw(t, "steps")) {
			if rapid.IntRange(0, 2).Draw(t, "pop") == 0 {
				due, v, ok := q.Pop()
				if ok != (len(model) > 0) || ok && (item{due, v} != model[0]) {
					t.Fatalf("popped %d %d %v, want the first of %v", due, v, ok, model)
				}
				if ok {
					model = model[1:]
				}
			} else {
				due := rapid.Int64Range(-3, 3).Draw(t, "due")
				q.Push(due, n)
				model = append(model, item{due, n})
				slices.SortStableFunc(model, func(a, b item) int { return int(a.due - b.due) })
			}
			due, v, ok := q.Peek()
			if q.Len() != len(model) || ok != (len(model) > 0) || ok && (item{due, v} != model[0]) {
				t.Fatalf("peeked %d %d %v of %d, want the first of %v", due, v, ok, q.Len(), model)
			}
		}
	})
}

func BenchmarkDelayQueue(b *testing.B) {
	var q DelayQueue[*int]
	v := new(int)
	x := uint64(1)
	for range 10_000 {
		x = x*6364136223846793005 + 1442695040888963407
		q.Push(int64(x>>40), v)
	}
	b.ReportAllocs()
	for b.Loop() {
		x = x*6364136223846793005 + 1442695040888963407
		due, v, _ := q.Pop()
		q.Push(due+int64(x>>40), v)
	}
}
