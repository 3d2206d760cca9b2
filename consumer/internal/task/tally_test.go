package task

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// tally is one for the kinds of a world, numbered anew.
func (w *world) tally() *Tally {
	seen := map[*Kind]bool{}
	for _, k := range w.kinds {
		if !seen[k] {
			k.Index = len(seen)
			seen[k] = true
		}
	}
	return NewTally(len(seen), len(w.tiers))
}

// checkTally is I8 and I11 as metrics show them: what was read has an end, is held or was released; and a lag covers all
// that is not settled.
func (p *proc) checkTally(s Stats) {
	w, t := p.w, p.m.cfg.Tally
	var ends, hops, letters, conflicts int64
	var byEnd [EndConflict + 1]int64
	for i := range t.Kinds {
		for e, n := range t.Kinds[i].Ends {
			ends += n
			byEnd[e] += n
		}
		for d, n := range t.Kinds[i].Letters {
			if letters += n; dlq.Disposition(d) == dlq.Conflict {
				conflicts += n
			}
		}
	}
	held := s.Held + s.Aside
	if p.m.phase == gone {
		held = 0
	}
	if read := t.Read[0] + t.Read[1]; read != ends+t.Released+held || read != s.Read {
		w.fail("I8: the tally of %s has %d read, %d ended, %d released; %d are held", p.name, read, ends, t.Released, held)
	}
	for _, h := range t.Hops {
		for e, n := range h {
			if hops += n; n > 0 && !End(e).Hop() {
				w.fail("%s counts hops that end as %v", p.name, End(e))
			}
		}
	}
	same := [...][2]int64{{byEnd[EndDone], s.Done}, {hops, s.Hopped}, {byEnd[EndDead], s.Dead}, {byEnd[EndDiscarded], s.Discarded}, {byEnd[EndExpired], s.Expired},
		{byEnd[EndDuplicate], s.Duplicate}, {byEnd[EndStale], s.Stale}, {byEnd[EndConflict], s.Conflict}, {letters, s.Dead + s.Conflict},
		{conflicts, s.Conflict}, {t.Lost, s.Lost}, {t.Misrouted, s.Misrouted}, {ends, s.Settled()}}
	for i, x := range same {
		if x[0] != x[1] {
			w.fail("%s: the tally says %d where the status says %d (pair %d)", p.name, x[0], x[1], i)
		}
	}
	if p.m.phase == gone {
		return
	}
	unread := int64(0)
	l := p.m.Load(func(topic string) int64 {
		of := w.topic(topic)
		if of == nil { // its end is not known
			return 0
		}
		end := int64(len(of.recs))
		if src := p.m.byTopic[topic]; src.ready {
			unread += max(0, end-src.next)
		}
		return end
	})
	if l.Ready < 0 || l.Waiting < 0 || l.Blocked < 0 || l.Ready+l.Waiting+l.Blocked != unread+held {
		w.fail("%s: lag %+v does not add up to %d unread and %d held", p.name, l, unread, held)
	}
}

// The lag of jobs says why they do not run.
func TestLoad(t *testing.T) {
	r := newRig(t)
	load := func() Load { return r.p.m.Load(func(topic string) int64 { return int64(len(r.topic(topic).recs)) }) }
	lag := func(when string, ready, waiting, blocked int64) {
		t.Helper()
		if l := load(); l.Ready != ready || l.Waiting != waiting || l.Blocked != blocked {
			t.Errorf("%s: ready %d, waiting %d, held %d; want %d, %d, %d", when, l.Ready, l.Waiting, l.Blocked, ready, waiting, blocked)
		}
	}
	lag("idle", 0, 0, 0)
	r.give(msg("keyed", "a", "k"), msg("keyed", "b", "k"), msg("keyed", "c", "other"))
	lag("one behind another", 2, 0, 1)
	r.produce(msg("keyed", "d", "k"))
	lag("one is not read", 3, 0, 1)
	r.p.m.Hold(Lease, true, r.now)
	r.p.carry()
	lag("no lease", 2, 0, 2)
	if l := load(); len(l.Paused) != len(r.p.m.sources) || !slices.Equal(l.Paused[0].Reasons, []Reason{Lease}) {
		t.Errorf("paused: %+v", l.Paused)
	}
	r.p.m.Hold(Lease, false, r.now)
	r.p.carry()
	r.end("keyed/a", job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError})
	r.p.settleDown()
	r.p.fetchAll()
	lag("a copy is not due", 2, 1, 1)
	if l := load(); l.Phase != "running" || l.Held != 4 || l.HeldBytes == 0 || l.Restore != 0 {
		t.Errorf("%+v", l)
	}
}

// A machine that reads its log says how much is left.
func TestLoadRestore(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"a", "b", "c"} {
		r.give(msg("keyed", id, id))
		r.end("keyed/"+id, job.Outcome{})
		r.p.tick(true)
		r.p.settleDown()
	}
	r.p.crash()
	q := r.assign("b")
	x := q.logq[0]
	x.landLog()
	if err := x.answerLog(); err != nil {
		t.Fatal(err)
	}
	none := func(string) int64 { return 0 }
	for want := int64(len(r.log)); want > 0; want-- {
		if l := q.m.Load(none); l.Restore != want || l.Phase != "restoring" {
			t.Fatalf("restore: %d in phase %s, want %d", l.Restore, l.Phase, want)
		}
		q.readSome(1)
	}
	q.settleDown()
	if l := q.m.Load(none); l.Restore != 0 || l.Phase != "running" || l.Receipts != 3 {
		t.Errorf("%+v", l)
	}
}

// Attempts are counted by what came of them, once each, with what they took and waited; one that never started is none.
func TestTallyAttempts(t *testing.T) {
	r := newRig(t)
	tally := r.p.m.cfg.Tally
	tally.Skew = 2 * time.Second
	r.give(msg("keyed", "a", ""), msg("keyed", "b", ""), msg("keyed", "c", ""))
	for _, id := range []string{"a", "b"} {
		e := r.entry("keyed/" + id)
		e.Began, e.Took = e.ready+int64(time.Second), 3*time.Millisecond
	}
	r.end("keyed/a", job.Outcome{})
	r.end("keyed/b", job.Outcome{Verdict: job.VerdictRetry, Code: job.CodePanic})
	r.end("keyed/c", job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled})
	k := &tally.Kinds[r.kinds["keyed"].Index]
	for v := range k.Attempts {
		for c, n := range k.Attempts[v] {
			want := int64(0)
			if job.Verdict(v) == job.VerdictDone && job.Code(c) == job.CodeNone || job.Verdict(v) == job.VerdictRetry && job.Code(c) == job.CodePanic {
				want = 1
			}
			if n != want {
				t.Errorf("%d attempts are %v with %v, want %d", n, job.Verdict(v), job.Code(c), want)
			}
		}
	}
	if h := k.Took[job.VerdictDone]; h.Sum != int64(3*time.Millisecond) || h.Counts[bucket(TookBounds, h.Sum)] != 1 {
		t.Errorf("took: %+v", h)
	}
	if h := k.Delay[0]; h.Sum != int64(6*time.Second) || h.Counts[bucket(DelayBounds, int64(3*time.Second))] != 2 || k.Delay[1].Any() {
		t.Errorf("waited: %+v", h)
	}
	c := tally.Clone()
	c.Add(tally)
	if k.Ends[EndDone] != 1 || c.Kinds[0].Ends[EndDone]+c.Kinds[len(c.Kinds)-1].Ends[EndDone] > 2 || c.Read[0] != 6 || c.Kinds[r.kinds["keyed"].Index].Delay[0].Sum != int64(12*time.Second) {
		t.Errorf("the sum of two: %+v", c)
	}
}

// bucket looks for a value's bucket the slow way.
func bucket(b Bounds, v int64) int {
	i := slices.IndexFunc(b.LE(), func(le int64) bool { return v <= le })
	if i < 0 {
		return bounds
	}
	return i
}

func TestHistogramBuckets(t *testing.T) {
	for _, b := range []Bounds{TookBounds, DelayBounds} {
		values := []int64{0, 1, -1, 1 << 62}
		for _, le := range b.LE() {
			values = append(values, le-1, le, le+1)
		}
		for range 10_000 {
			values = append(values, rand.Int64N(1<<rand.IntN(60)+1))
		}
		for i, le := range b.LE()[1:] {
			if le < 2*b.LE()[i] {
				t.Errorf("bound %d is less than twice %d", le, b.LE()[i])
			}
		}
		for _, v := range values {
			var h Histogram
			if h.observe(&b, v); h.Counts[bucket(b, max(v, 0))] != 1 || h.Sum != max(v, 0) {
				t.Errorf("%d: %+v, want bucket %d", v, h, bucket(b, v))
			}
		}
	}
}
