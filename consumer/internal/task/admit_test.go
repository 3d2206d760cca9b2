package task

import (
	"math"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

func TestLanes(t *testing.T) {
	for _, c := range []struct {
		name    string
		jobs    []job.Message
		offered []string
	}{
		{"by key: one of each key", []job.Message{msg("keyed", "1", "x"), msg("keyed", "2", "x"), msg("keyed", "3", "y")}, []string{"keyed/1", "keyed/3"}},
		{"by key: an alias is the same kind", []job.Message{msg("keyed", "1", "x"), msg("oldkeyed", "2", "x")}, []string{"keyed/1"}},
		{"by key: a nil key orders nothing", []job.Message{msg("keyed", "1", ""), msg("keyed", "2", "")}, []string{"keyed/1", "keyed/2"}},
		{"by key: an empty key is a key", []job.Message{withKey(msg("keyed", "1", ""), []byte{}), withKey(msg("keyed", "2", ""), []byte{})}, []string{"keyed/1"}},
		{"by partition", []job.Message{msg("part", "1", "x"), msg("part", "2", "y"), msg("part", "3", "")}, []string{"part/1"}},
		{"unordered", []job.Message{msg("free", "1", "x"), msg("free", "2", "x"), msg("free", "3", "")}, []string{"free/1", "free/2", "free/3"}},
		{"unordered: one identity at a time", []job.Message{msg("free", "1", "x"), msg("free", "1", "x")}, []string{"free/1"}},
		{"unordered: another key is another job", []job.Message{msg("free", "1", "x"), msg("free", "1", "y")}, []string{"free/1", "free/1"}},
		{"kinds of different order do not wait for each other", []job.Message{msg("keyed", "1", "x"), msg("free", "2", "x"), msg("part", "3", "x")},
			[]string{"keyed/1", "free/2", "part/3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.give(c.jobs...)
			same(t, "offered", r.offered(), c.offered...)
		})
	}
}

func withKey(m job.Message, key []byte) job.Message { m.Key = key; return m }

func TestLaneGoesOnInOrder(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "1", "x"), msg("keyed", "2", "x"), msg("keyed", "3", "x"), msg("keyed", "4", "x"))
	r.end("keyed/1", success)
	same(t, "after success", r.offered(), "keyed/2")
	r.end("keyed/2", failure)
	same(t, "a hop lets successors pass, acked or not", r.offered(), "keyed/3")
	r.p.settleDown()
	r.end("keyed/3", job.Outcome{Verdict: job.VerdictCancelled})
	same(t, "a cancelled job stays the head", r.offered())
	r.p.tick(false)
	same(t, "and runs again", r.offered(), "keyed/3")
	equal(t, "attempt", r.entry("keyed/3").env.Attempt, 1)
}

// A lane may hold thousands of duplicates in a row.
func TestManyDuplicates(t *testing.T) {
	r := newRig(t)
	for range 5000 {
		r.produce(msg("keyed", "1", "x"))
	}
	r.p.fetchAll()
	r.end("keyed/1", success)
	equal(t, "duplicates", r.p.m.Stats().Duplicate, 4999)
	equal(t, "held", r.p.m.Stats().Held, 0)
}

func TestRecordsBelowTheFetchAreCut(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.produce(msg("free", "3", ""))
	r.p.deliver("main", 1, 2) // the client fetched all three anew
	same(t, "offered", r.offered(), "free/1", "free/2", "free/3")
	r.p.m.Records("elsewhere", r.main().recs, r.now)
	equal(t, "read", r.p.m.Stats().Read, 3)
}

func TestTiersAreNeverEarly(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "1", "x"))
	r.end("keyed/1", failure)
	r.p.settleDown()
	r.p.fetchAll()
	due := r.topics[1].recs[0].Time.Add(10 * time.Second).UnixNano()
	equal(t, "NextDue", r.p.m.NextDue(), due)
	for _, c := range []struct {
		at      int64
		offered int
	}{{due - 1e9, 0}, {due - 1, 0}, {due, 1}} {
		r.now = c.at
		r.p.tick(false)
		equal(t, "offered", len(r.p.pool), c.offered)
	}
	equal(t, "NextDue", r.p.m.NextDue(), 0)
	equal(t, "attempt", r.p.pool[0].env.Attempt, 2)
	equal(t, "retried", r.p.pool[0].Retried(), true)
}

// Tiers are read ahead and ordered by due time, not by offset.
func TestTierOrder(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.end("free/1", job.Outcome{Verdict: job.VerdictSnooze, Delay: 9 * time.Second})
	r.end("free/2", job.Outcome{Verdict: job.VerdictSnooze, Delay: 4 * time.Second})
	r.p.settleDown()
	r.p.fetchAll()
	equal(t, "waiting", r.p.m.Status().Sources[1].Waiting, 2)
	r.wait(5 * time.Second)
	r.p.tick(false)
	same(t, "offered", r.offered(), "free/2")
	equal(t, "a snooze burns no attempt", r.entry("free/2").env.Attempt, 1)
	r.wait(5 * time.Second)
	r.p.tick(false)
	same(t, "offered", r.offered(), "free/2", "free/1")
}

// Append times are whole milliseconds: a job with an instant between two of them must not run in the one before.
func TestInstantBetweenMilliseconds(t *testing.T) {
	r := newRig(t)
	m := msg("free", "1", "")
	m.At = r.time().Add(5 * time.Second) // the append time is cut by 345 us
	r.give(m)
	r.p.settleDown()
	r.p.fetchAll()
	equal(t, "NextDue", r.p.m.NextDue(), m.At.UnixNano())
	for range 3 {
		if len(r.p.pool) == 0 {
			r.now = max(r.now, r.p.m.NextDue())
			r.p.tick(false)
		}
	}
	equal(t, "now", r.now, m.At.UnixNano())
	equal(t, "hops", r.p.m.Stats().Hopped, 1)
	equal(t, "the handler sees the instant", r.entry("free/1").env.At, m.At)
}

func TestDueAt(t *testing.T) {
	at := day0
	for _, c := range []struct {
		name  string
		delay time.Duration
		at    time.Time
		want  time.Time
	}{
		{"delay", 5 * time.Second, time.Time{}, at.Add(5 * time.Second)},
		{"never longer than the tier's", math.MaxInt64, time.Time{}, at.Add(10 * time.Second)},
		{"an instant just after is waited for", 5 * time.Second, at.Add(5*time.Second + 999*time.Millisecond), at.Add(5*time.Second + 999*time.Millisecond)},
		{"a later one costs a hop", 5 * time.Second, at.Add(6 * time.Second), at.Add(5 * time.Second)},
		{"an earlier one does not matter", 5 * time.Second, at, at.Add(5 * time.Second)},
	} {
		env := &job.Envelope{Delay: c.delay}
		env.At = c.at
		if got := dueAt(env, at, 10*time.Second); got != c.want.UnixNano() {
			t.Errorf("%s: got %v, want %v", c.name, time.Unix(0, got).UTC(), c.want)
		}
	}
}

// Times outside of what 64 bits of nanoseconds can say stand in headers all the same: "expires 9999-12-31" means never.
func TestDistantTimes(t *testing.T) {
	far := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	r := newRig(t)
	m := msg("free", "expires late", "")
	m.Expires = far
	r.give(m)
	same(t, "offered", r.offered(), "free/expires late")
	m = msg("free", "at the end of days", "")
	m.At = far
	r.give(m)
	same(t, "offered", r.offered(), "free/expires late")
	x := r.write()
	equal(t, "instant of the copy", x.write.Stamp.At, far)
	m = msg("free", "expired long ago", "")
	m.Expires = time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)
	r.p.settleDown()
	r.give(m)
	equal(t, "action", r.write().write.Action, "expire")
}

func TestWindow(t *testing.T) {
	var w window
	if _, ok := w.first(); ok {
		t.Error("an empty window has no first")
	}
	const n = 5000
	index := make([]uint64, n)
	for i := range n {
		index[i] = w.push(int64(i * 2))
	}
	for i := n - 1; i >= 0; i-- { // settled from the last to the first: nothing may move until the first is
		w.settle(index[i], uint64(n-i))
		w.advance(math.MaxUint64)
		if first, ok := w.first(); i > 0 && (!ok || first != 0) {
			t.Fatalf("after %d were settled the first is %d, %v", n-i, first, ok)
		}
	}
	equal(t, "left", w.len(), 0)
	a, b := w.push(1), w.push(2)
	w.settle(b, 7)
	w.settle(a, 8)
	w.advance(7) // what was settled after the limit is not in the segment
	equal(t, "left", w.len(), 2)
	w.advance(8)
	equal(t, "left", w.len(), 0)
	for i := range 3 * n { // one open at a time, so that the window slides and gives its memory back
		x := w.push(int64(i))
		w.settle(x, uint64(i+9))
		if i%1500 == 0 {
			w.advance(math.MaxUint64)
		}
	}
	w.advance(math.MaxUint64)
	equal(t, "left", w.len(), 0)
}
