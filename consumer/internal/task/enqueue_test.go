package task

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// TestEnqueuedAgain tells stories of one job: what of its name was enqueued again when, and which of it runs.
func TestEnqueuedAgain(t *testing.T) {
	const k = "k"
	enqueue := func(r *rig, kind, payload string) {
		m := msg(kind, "a", k)
		m.Payload = []byte(payload)
		r.give(m)
	}
	durable := func(r *rig) { r.p.tick(true); r.p.settleDown() }
	runs := func(r *rig, want int) {
		r.t.Helper()
		equal(r.t, "attempts offered", len(r.p.pool), want)
	}
	done := func(r *rig, kind string) { r.t.Helper(); runs(r, 1); r.end(kind+"/a", success); durable(r) }
	crash := func(r *rig) { r.p.crash(); r.p = r.runs("next"); r.p.fetchAll() }
	rewind := func(r *rig) {
		r.p.crash()
		r.committed["main"], r.rewound = place{0, false}, true
		r.p = r.runs("next")
		r.p.fetchAll()
	}
	hop := func(r *rig, kind string) {
		r.t.Helper()
		r.end(kind+"/a", failure)
		r.write().landWrite()
		r.write().answer()
		durable(r)
	}
	retried := func(r *rig) { r.wait(3 * time.Minute); r.p.fetchAll(); r.p.tick(false) }

	for name, story := range map[string]func(r *rig){
		"until done: once done it is a job of its own": func(r *rig) {
			enqueue(r, until, "p")
			done(r, until)
			enqueue(r, until, "p")
			done(r, until)
			rewind(r)
			runs(r, 0)
		},
		"until done: with another payload too": func(r *rig) {
			enqueue(r, until, "p")
			done(r, until)
			enqueue(r, until, "q")
			done(r, until)
			rewind(r)
			runs(r, 0)
			r.said("!letter")
		},
		"until done: not while it runs": func(r *rig) {
			enqueue(r, until, "p")
			enqueue(r, until, "p")
			done(r, until)
			runs(r, 0)
			rewind(r)
			runs(r, 0)
		},
		"until done: not while it waits in a tier, nor when that is read again": func(r *rig) {
			enqueue(r, until, "p")
			hop(r, until)
			enqueue(r, until, "p")
			runs(r, 0)
			crash(r)
			retried(r)
			done(r, until)
			rewind(r)
			runs(r, 0)
		},
		"until done: another payload behind it is not swallowed": func(r *rig) {
			enqueue(r, until, "p")
			enqueue(r, until, "q")
			enqueue(r, until, "p")
			r.end(until+"/a", success)
			equal(r.t, "payload", string(r.entry(until+"/a").env.Payload), "q")
			durable(r)
			crash(r)
			equal(r.t, "payload", string(r.entry(until+"/a").env.Payload), "q")
			done(r, until)
			done(r, until) // the third, which is no duplicate of the second
			rewind(r)
			runs(r, 0)
		},
		"until done: another payload while it waits is a conflict": func(r *rig) {
			enqueue(r, until, "p")
			hop(r, until)
			enqueue(r, until, "q")
			r.p.settleDown()
			r.said("letter until/a attempts 0: conflict")
		},
		"until done: what waits runs in the place of one that died": func(r *rig) {
			enqueue(r, until, "p")
			enqueue(r, until, "p")
			r.end(until+"/a", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
			r.p.settleDown()
			done(r, until)
			rewind(r)
			runs(r, 0)
		},
		"until done: a crash before the receipt runs one of both": func(r *rig) {
			enqueue(r, until, "p")
			enqueue(r, until, "p")
			r.end(until+"/a", success)
			runs(r, 0)
			crash(r)
			done(r, until)
			runs(r, 0)
		},
		"until done: a zombie's late word is of its own enqueue": func(r *rig) {
			enqueue(r, until, "p")
			old := r.p
			r.p = r.runs("next")
			r.p.fetchAll()
			done(r, until)
			enqueue(r, until, "p")
			hop(r, until)
			old.fetchAll() // it reads the second enqueue as one of the first
			old.end([]*Entry{old.pool[0]}, success)
			old.tick(true)
			old.logq[0].landAll()
			retried(r)
			done(r, until)
		},
		"window: a duplicate within it, a job of its own after": func(r *rig) {
			enqueue(r, soon, "p")
			done(r, soon)
			r.wait(soonWindow * time.Second / 2)
			enqueue(r, soon, "p")
			runs(r, 0)
			r.wait(soonWindow * time.Second)
			enqueue(r, soon, "p")
			done(r, soon)
			r.wait(time.Hour)
			rewind(r)
			runs(r, 0)
		},
		"window: it counts from the record's time, whenever that is read": func(r *rig) {
			enqueue(r, soon, "p")
			done(r, soon)
			r.produce(func() job.Message { m := msg(soon, "a", k); m.Payload = []byte("p"); return m }())
			r.wait(time.Hour)
			r.p.fetchAll()
			runs(r, 0)
		},
		"window: not while it waits in a tier, however long": func(r *rig) {
			enqueue(r, soon, "p")
			hop(r, soon)
			r.wait(time.Hour)
			enqueue(r, soon, "p")
			done(r, soon) // the copy
			runs(r, 0)
		},
		"window: another payload within it is a conflict, after it a job": func(r *rig) {
			enqueue(r, soon, "p")
			done(r, soon)
			enqueue(r, soon, "q")
			r.p.settleDown()
			r.said("letter soon/a attempts 0: conflict")
			r.wait(time.Hour)
			enqueue(r, soon, "q")
			done(r, soon)
		},
		"a window taken away: the instance's holds": func(r *rig) {
			enqueue(r, until, "p")
			hop(r, until)
			r.kinds[until].Policy.Window = 0
			crash(r)
			retried(r)
			done(r, until)
			enqueue(r, until, "p")
			runs(r, 0)
		},
		"a window given: what was done before may be enqueued": func(r *rig) {
			r.kinds[until].Policy.Window = 0
			enqueue(r, until, "p")
			done(r, until)
			r.kinds[until].Policy.Window = job.UntilDone
			crash(r)
			enqueue(r, until, "p")
			done(r, until)
			rewind(r)
			runs(r, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.unchecked = name[:8] == "a window" // the checks know of one policy
			story(r)
		})
	}
}
