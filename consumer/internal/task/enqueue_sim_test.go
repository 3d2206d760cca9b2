package task

import (
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// The kinds of the world that have a window of their own, as an independent reader knows them.
const (
	soonWindow = 40 // seconds
	soon       = "soon"
	until      = "until"
)

func windowed(kind string) bool { return kind == soon || kind == until }

// enqueued tells what is asked of each enqueue of a job apart; of kinds without a window a job has one.
type enqueued struct {
	id     job.Identity
	origin int64
}

func enqueueOf(e *job.Envelope) enqueued {
	if windowed(e.Kind) {
		return enqueued{e.Identity, e.Origin.Offset}
	}
	return enqueued{e.Identity, 0}
}

// staleAt is stale for a record of that origin.
func (a fact) staleAt(origin int64, gen, hop uint32) bool {
	if a.state != 0 && a.repeats && origin != a.origin {
		return origin < a.origin
	}
	return a.stale(gen, hop)
}

// open reports whether a job of that fact may be enqueued again by a record.
func (a fact) open(g *job.Envelope, now int64) bool {
	return a.final() && (g.Kind == until || min(g.Origin.Time.UnixNano(), now) > (int64(a.at)+soonWindow)*1e9)
}

// owe notes a record that is certainly a job of its own: its job has ended, everybody knows it, and there is no other
// enqueue that it could be a duplicate of.
func (w *world) owe(g *job.Envelope) {
	f := w.folds[len(w.folds)-1].facts[g.Identity]
	if !windowed(g.Kind) || g.Fault != "" || f.state == 0 || !f.open(g, w.now) || w.redriven[g.Identity] > f.gen || len(w.orphans) > 0 {
		return
	}
	for _, o := range w.main().ghost[:g.Offset] {
		if o.Identity == g.Identity && !f.staleAt(o.Offset, 0, 0) {
			return
		}
	}
	for _, p := range w.procs {
		if !p.gone && w.folds[p.m.cfg.Store.Position().Next].facts[g.Identity] != f {
			return
		}
	}
	w.owed[g.Offset] = true
}

// skipped reports whether a record of the job topic may have been settled as a duplicate of an earlier enqueue.
func (w *world) skipped(g *job.Envelope, known fact) bool {
	return windowed(g.Kind) && g.Topic == "main" && known.state != 0 && !w.owed[g.Offset] && (known.origin < g.Offset || w.redriven[g.Identity] > 0)
}

// checkEnqueue: a record that is not of the enqueue that is known runs only if its job has ended, and its window; nothing runs
// that was read while its job, now done, was not.
func (p *proc) checkEnqueue(e *Entry) {
	w, env := p.w, &e.env
	if env.Topic != "main" || !windowed(env.Kind) {
		return
	}
	f := p.known[env.Identity].join(w.folds[p.m.cfg.Store.Position().Next].facts[env.Identity])
	if f.state != 0 && f.origin < env.Offset && !f.open(env, w.now) {
		w.fail("WINDOW: %s runs %s of %d beside %+v", p.name, p.title(e), env.Offset, f)
	}
	if p.swallowed[env.Offset] {
		w.fail("WINDOW: %s runs %s of %d, which was read before the job was done", p.name, p.title(e), env.Offset)
	}
}

// swallow notes what a job that is done in a process in force makes duplicates.
func (p *proc) swallow(e *Entry) {
	if e.env.Kind != until || p.m.phase == gone {
		return
	}
	held := func(at int64) bool {
		return slices.Contains(p.m.main.win.all(), slot{offset: at})
	}
	for _, g := range p.w.main().ghost[:p.fetch["main"]] {
		if g.Identity != e.env.Identity || g.Offset <= e.env.Origin.Offset {
			continue
		}
		if g.Digest != e.env.Digest {
			return
		}
		if held(g.Offset) {
			p.swallowed[g.Offset] = true
		}
	}
}

// checkReach: once a segment of an owner in force says that a job is done, the log settles what that swallowed.
func (w *world) checkReach(e *dedupe.Entry, by *proc, after *fold) {
	for i := range e.Segment.Receipts {
		r := &e.Segment.Receipts[i]
		for at := range by.swallowed {
			if g := w.main().ghost[at]; r.State == dedupe.Done && g.Identity == r.Identity && r.Origin < at && !after.facts[r.Identity].staleAt(at, 0, 0) && len(e.Segment.Frontiers) > 0 {
				w.fail("WINDOW: %s of %d is done, and the log does not say that %d is a duplicate of it: %+v", w.name(r.Identity), r.Origin, at, after.facts[r.Identity])
			}
		}
	}
}
