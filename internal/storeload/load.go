// Package storeload is the work that benchmarks put through a receipt store: a stream of jobs over some tasks, each looked up and then
// recorded, while what is older than a window expires. It knows the store as dedupe.Store only, and measures nothing: that is for those
// who call it (internal/bench, and the benchmarks of dedupe/disk).
package storeload

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Batch is how many jobs a segment has: about a tick of a busy task.
const Batch = 1000

const (
	duplicates  = 100     // one job in so many was done before
	buckets     = 8       // hours that a window lasts
	expireEvery = 1 << 17 // jobs
)

// Load is a stream of jobs. One goroutine uses it.
type Load struct {
	// Next is the number of the next job.
	Next int

	tasks   []dedupe.Store
	offsets []int64
	live    int
	room    func(context.Context) error
	entry   dedupe.Entry
}

// New begins a stream over tasks that are empty. live is how many receipts a window has; 0: nothing expires. room waits until the
// store takes more.
func New(tasks []dedupe.Store, live int, room func(context.Context) error) *Load {
	return &Load{tasks: tasks, offsets: make([]int64, len(tasks)), live: live, room: room, entry: dedupe.Entry{Segment: &dedupe.Segment{}}}
}

// Fill records jobs up to that number without looking them up.
func (l *Load) Fill(ctx context.Context, to int) error { return l.until(ctx, to, false) }

// Run looks up and records jobs up to that number; one in a hundred was recorded before, anywhere in the younger half of the
// window. It is an error if the store knows a job that is new, or does not know one that is not.
func (l *Load) Run(ctx context.Context, to int) error { return l.until(ctx, to, true) }

func (l *Load) until(ctx context.Context, to int, check bool) error {
	for l.Next < to {
		if err := l.batch(check); err != nil {
			return err
		}
		if err := l.room(ctx); err != nil {
			return err
		}
	}
	return nil
}

// batch makes one segment of the task whose turn it is.
func (l *Load) batch(check bool) error {
	k := l.Next / Batch % len(l.tasks)
	list := l.entry.Segment.Receipts[:0]
	for n := l.Next; n < l.Next+Batch; n++ {
		id := Identity(n)
		if done, ok := l.duplicate(n); check && ok {
			if _, known := l.tasks[k].Get(Identity(done)); !known {
				return fmt.Errorf("job %d is not known after %d", done, l.Next)
			}
			continue
		}
		if check {
			if _, known := l.tasks[k].Get(id); known {
				return fmt.Errorf("job %d is known before it came", n)
			}
		}
		list = append(list, dedupe.Receipt{Identity: id, State: dedupe.Done, Attempt: 1, Origin: int64(n), KeyHash: uint64(n), Digest: uint64(n) * 3})
	}
	l.entry.Segment.Receipts, l.entry.Offset, l.entry.Time = list, l.offsets[k], l.at(l.Next)
	l.offsets[k]++
	if err := l.tasks[k].Apply(&l.entry); err != nil {
		return err
	}
	l.Next += Batch
	if l.live > 0 && l.Next%expireEvery < Batch {
		for _, t := range l.tasks {
			t.Expire(l.at(l.Next - l.live))
		}
	}
	return nil
}

// at is when a job was appended: a window passes while as many jobs come as are live.
func (l *Load) at(n int) time.Time {
	start := time.Unix(1_700_000_000, 0)
	if l.live == 0 {
		return start
	}
	return start.Add(time.Duration(float64(n) / float64(max(l.live, expireEvery)) * buckets * float64(time.Hour)))
}

// duplicate is a job of the same task that was recorded before, in place of job n, for one in duplicates.
func (l *Load) duplicate(n int) (done int, ok bool) {
	round := len(l.tasks) * Batch // after so many jobs it is the task's turn again
	span := n / 2 / round
	if l.live > 0 {
		span = min(span, l.live/2/round)
	}
	if n%duplicates != duplicates/2 || span == 0 {
		return 0, false
	}
	return n - 1 - (1+rand.IntN(span))*round, true
}

// Identity is a job's, of that number: it looks like the hash it usually is.
func Identity(n int) (id job.Identity) {
	mix := func(v uint64) uint64 {
		v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
		v = (v ^ v>>27) * 0x94d049bb133111eb
		return v ^ v>>31
	}
	binary.LittleEndian.PutUint64(id[:8], mix(uint64(n)))
	binary.LittleEndian.PutUint64(id[8:], mix(uint64(n)+1<<63))
	return id
}
