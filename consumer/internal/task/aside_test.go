package task

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// roomy is a task that holds 16 jobs, two of them of one key when it is full, and has no kind that forbids to set any aside.
func roomy(w *world) {
	w.limits = Limits{Records: 16, Bytes: 1 << 20, Tier: 16, Ahead: 100, Reruns: 1000}
	delete(w.kinds, until)
}

// mixed are n jobs of one key with as many others between them.
func mixed(kind string, n int) (ms []job.Message) {
	for i := range n {
		ms = append(ms, msg(kind, fmt.Sprint("hot", i), "k"), msg("free", fmt.Sprint(i), ""))
	}
	return ms
}

// What a key has beyond its share is set aside instead of pausing the partition, read again when it has room, and run in order.
func TestHotKeyIsSetAside(t *testing.T) {
	r := newRig(t, roomy)
	r.give(mixed("keyed", 8)...)
	r.said("!pause main")
	st := r.p.m.Stats()
	equal(t, "set aside", st.Aside, 6)
	equal(t, "held", st.Held, 10)

	for i := range 8 {
		r.end(fmt.Sprint("free/", i), success)
	}
	r.give(mixed("keyed", 20)[16:]...) // hot8 to hot19 and their others
	r.said("!pause main", "!run keyed/hot1")
	equal(t, "set aside", r.p.m.Stats().Aside, 18)
	for i := range 12 {
		r.end(fmt.Sprint("free/", 8+i), success)
	}
	for i := range 20 {
		r.end(fmt.Sprint("keyed/hot", i), success)
		r.p.settleDown()
	}
	r.said("read main again from 4", "run keyed/hot2 ", "run keyed/hot19 ")
	st = r.p.m.Stats()
	equal(t, "set aside", st.Aside, 0)
	equal(t, "done", st.Done, 40)
	r.p.tick(true)
	r.p.settleDown()
	r.said("commit main=40")
}

// Where a lane is all there is, reading on would find nothing but more of it.
func TestOnlyKeyIsNotSetAside(t *testing.T) {
	r := newRig(t, roomy)
	for i := range 16 {
		r.give(msg("keyed", fmt.Sprint(i), "k"))
	}
	r.said("pause main (backpressure)")
	equal(t, "set aside", r.p.m.Stats().Aside, 0)
}

// Retention may take what is set aside: it is counted, and said, and holds nothing up.
func TestSetAsideIsLost(t *testing.T) {
	r := newRig(t, roomy)
	r.unchecked = true
	r.give(mixed("keyed", 8)...)
	r.main().start = 14 // hot7 is left
	for i := range 8 {
		r.end(fmt.Sprint("free/", i), success)
	}
	for _, i := range []int{0, 1, 7} {
		r.end(fmt.Sprint("keyed/hot", i), success)
		r.p.settleDown()
	}
	r.said("5 jobs of keys", "run keyed/hot7 ")
	st := r.p.m.Stats()
	equal(t, "lost", st.Lost, 5)
	equal(t, "set aside", st.Aside, 0)
	r.p.tick(true)
	r.p.settleDown()
	r.said("commit main=16")
}

// The next owner begins at what was set aside, and runs none of the others again.
func TestSetAsideAfterACrash(t *testing.T) {
	r := newRig(t, roomy)
	r.give(mixed("keyed", 8)...)
	for i := range 8 {
		r.end(fmt.Sprint("free/", i), success)
	}
	r.end("keyed/hot0", success)
	r.p.tick(true)
	r.p.settleDown()
	r.p.crash()
	r.lines = nil
	r.p = r.runs("b")
	r.p.fetchAll()
	r.said("start main at 2", "run keyed/hot1 ", "!run free/")
}

// Under AtLeastOnce no first success leaves a receipt, so that jobs would wait for a frontier that what is set aside holds back.
// Theirs leave one then.
func TestFarAheadOfWhatIsSetAside(t *testing.T) {
	r := newRig(t, roomy, func(w *world) { w.limits.Reruns = 10 })
	r.give(mixed("again", 12)...)
	r.said("!pause main")
	r.give(msg("again", "far", "another key"))
	r.end("again/far", success)
	r.p.tick(true)
	r.said("run again/far", "again/far done")
}

// stray is a copy in the first tier of a job whose record an owner hopped that died before it could say so.
func stray(r *rig, at int64) {
	e := *r.main().ghost[at]
	r.append(r.topics[1], e.Key, e.Payload, job.CopyHeaders(nil, &e, &job.Stamp{Hop: 1, Delay: 2 * time.Second, Origin: e.Origin}))
}

// A copy of a strict job stands behind what is set aside of its key, whether it came to its lane before that or after.
func TestCopyBehindWhatIsSetAside(t *testing.T) {
	for _, first := range []bool{true, false} {
		t.Run(fmt.Sprint("copy first: ", first), func(t *testing.T) {
			r := newRig(t, roomy)
			r.unchecked = true // nobody hopped that copy
			copied := func() {
				stray(r, 6) // of hot3
				r.wait(3 * time.Second)
				r.p.tick(true)
				r.p.fetchAll()
			}
			r.give(mixed("strict", 4)...)
			if first {
				copied()
			}
			r.give(mixed("strict", 8)[8:]...)
			if r.p.m.Stats().Aside == 0 {
				t.Fatal("nothing is set aside")
			}
			if !first {
				copied()
			}
			for i := range 8 {
				r.end(fmt.Sprint("free/", i), success)
			}
			for i := range 3 {
				r.said("!run strict/hot3 ")
				r.end(fmt.Sprint("strict/hot", i), success)
				r.p.settleDown()
			}
			r.said("!run strict/hot3 ") // its copy hopped, and then its record was stale
			r.wait(11 * time.Second)
			r.p.tick(true)
			r.p.fetchAll()
			r.said("run strict/hot3 ")
		})
	}
}

// A record of what is set aside that the log no longer has, in the midst of others, holds nothing up.
func TestSetAsideIsGone(t *testing.T) {
	r := newRig(t, roomy)
	r.unchecked = true
	r.give(mixed("keyed", 8)...)
	for i := range 8 {
		r.end(fmt.Sprint("free/", i), success)
	}
	r.end("keyed/hot0", success)
	at, end := r.p.again.At, int64(len(r.main().recs))
	r.p.again = nil
	kept := slices.DeleteFunc(slices.Clone(r.main().recs[at:]), func(x Record) bool { return x.Offset == 6 })
	r.p.m.Reread(at, kept, end, r.now)
	r.p.carry()
	st := r.p.m.Stats()
	equal(t, "lost", st.Lost, 1)
	equal(t, "vanished", st.Vanished, 1)
	for _, i := range []int{1, 2, 4, 5, 6, 7} {
		r.end(fmt.Sprint("keyed/hot", i), success)
		r.p.settleDown()
	}
	r.p.tick(true)
	r.p.settleDown()
	r.said("1 jobs of keys", "commit main=16")
}

// Lanes are cut for their bytes too, and what is read again of them does not pass the budget by much.
func TestLargeJobsAreSetAside(t *testing.T) {
	large := make([]byte, 8<<10)
	r := newRig(t, func(w *world) {
		roomy(w)
		w.limits = Limits{Records: 1000, Bytes: 400 << 10, Tier: 16, Ahead: 1000, Reruns: 1000}
	})
	ms := mixed("keyed", 30)
	for i := range ms {
		ms[i].Payload = large
	}
	r.give(ms...)
	if st := r.p.m.Stats(); st.Aside == 0 {
		t.Errorf("nothing was set aside: %+v", st)
	}
	first, most := r.p.m.Stats().HeldBytes, int64(0) // it came at once
	for i := range 30 {
		for _, name := range []string{fmt.Sprint("free/", i), fmt.Sprint("keyed/hot", i)} {
			r.end(name, success)
			r.p.settleDown()
			r.p.fetchAll()
			most = max(most, r.p.m.Stats().HeldBytes)
		}
	}
	if st := r.p.m.Stats(); st.Done != 60 || st.Again == 0 || most > first {
		t.Errorf("%+v, at most %d bytes held", st, most)
	}
}

// A lane that may have been set aside takes no more than its share of the suspects, and none from those behind it.
func TestHotKeyIsNotAllSuspect(t *testing.T) {
	m := New(Config{Topic: "main"})
	m.before.intake, m.main.doubts = 800, 800
	for i := range 5000 {
		equal(t, "may have run", m.mayHaveRun(1), i < 100)
		equal(t, "given back", m.main.doubts, map[bool]int64{true: 900, false: 800}[i >= 100])
	}
}

// What is through in less than that is not read twice: lanes are cut only once the topic has been full, or paused for it, for as
// long as the limits say.
func TestPatienceBeforeLanesAreCut(t *testing.T) {
	r := newRig(t, roomy, func(w *world) { w.limits.Patience = time.Second })
	r.give(mixed("keyed", 8)...)
	r.said("pause main (backpressure)")
	r.wait(999 * time.Millisecond)
	r.p.tick(false)
	r.said("!resume main")
	equal(t, "set aside", r.p.m.Stats().Aside, 0)
	r.wait(time.Millisecond)
	r.p.tick(false)
	equal(t, "set aside", r.p.m.Stats().Aside, 6)
	for i := range 2 {
		r.end(fmt.Sprint("free/", i), success)
	}
	r.said("resume main")
}
