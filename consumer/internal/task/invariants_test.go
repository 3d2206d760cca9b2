package task

import (
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// checkRun is asked for each job that is offered: I5, I6, I7, I12.
func (p *proc) checkRun(e *Entry) {
	w, env := p.w, &e.env
	p.hear()
	if p.m.phase != running {
		w.fail("%s offers %s while %s", p.name, p.title(e), phaseText[p.m.phase])
	}
	if !p.lease {
		w.fail("I12: %s offers %s without a lease", p.name, p.title(e))
	}
	for _, f := range []fact{p.known[env.Identity], w.folds[p.m.cfg.Store.Position().Next].facts[env.Identity]} {
		if f.staleAt(env.Origin.Offset, env.Generation, env.Hop) {
			w.fail("I6: %s runs %s, which is stale by %+v", p.name, p.title(e), f)
		}
	}
	if f := w.folds[p.m.cfg.Store.Position().Next].facts[env.Identity]; w.topic(env.Topic).tier && env.Generation == 0 && f.state != 0 && f.gen == 0 && f.digest != env.Digest &&
		(!f.repeats || f.origin == env.Origin.Offset) {
		w.fail("I6: %s runs a copy of %s, which has another payload", p.name, p.title(e))
	}
	if n := progressOf(e); w.member == p && n < w.kept[enqueueOf(env)] && !w.forgot[env.Identity] {
		w.fail("KEPT: %s runs %s with progress %d, %d was durable", p.name, p.title(e), n, w.kept[enqueueOf(env)])
	}
	p.checkEnqueue(e)
	src := w.topic(env.Topic)
	if repeats(e) {
		p.checkRepeat(e)
	}
	if src.tier {
		if due := src.recs[env.Offset].Time.Add(env.Delay).UnixNano(); w.now < due {
			w.fail("I7: %s runs %s %d ns before it is due", p.name, p.title(e), due-w.now)
		}
	}
	if !env.At.IsZero() && w.time().Before(env.At) {
		w.fail("I7: %s runs %s %v before its instant", p.name, p.title(e), env.At.Sub(w.time()))
	}
	if !env.Expires.IsZero() && !w.time().Before(env.Expires) {
		w.fail("%s runs %s after it has expired", p.name, p.title(e))
	}
	order := orderOf(e)
	for x := range p.active {
		if x != e && (orderOf(x) == order && x.state != writing || x.env.Identity == env.Identity) { // one that waits for an ack has had its turn
			w.fail("I5: %s runs %s beside %s", p.name, p.title(e), p.title(x))
		}
	}
	if e.Kind != nil && e.Kind.Policy.Order == job.ByKeyStrict { // it may have left the line for a while
		order += ", strict"
	}
	if !src.tier && (env.Key != nil || order == "partition") {
		if last, ok := p.last[order]; ok && last > env.Offset {
			w.fail("I5: %s starts %s at %d after one at %d", p.name, p.title(e), env.Offset, last)
		}
		p.last[order] = env.Offset
	}
	p.checkStrict(e)
	p.active[e] = true
}

// repeats reports whether a success of the entry leaves no receipt.
func repeats(e *Entry) bool {
	return e.env.Topic == "main" && e.Kind != nil && e.Kind.Policy.Guarantee == job.AtLeastOnce && e.env.Progress() == nil && e.Suspicion() == NoSuspect && !e.noted
}

// checkRepeat: what leaves no receipt runs once in a process all the same, and not far past the frontier that the log holds.
func (p *proc) checkRepeat(e *Entry) {
	if p.done[e.env.Offset] {
		p.w.fail("I6: %s runs %s at %d again", p.name, p.title(e), e.env.Offset)
	}
	if f := &p.w.folds[len(p.w.folds)-1]; f.frEp == p.m.epoch && e.env.Offset >= f.fr[p.w.main().id]+int64(p.m.cfg.Limits.Reruns) {
		p.w.fail("MaxAhead: %s runs %s at %d, the frontier in force is %d", p.name, p.title(e), e.env.Offset, f.fr[p.w.main().id])
	}
}

// orderOf names what must not run beside the entry, worked out from the record and not from the lane.
func orderOf(e *Entry) string {
	if e.env.Fault != "" {
		return "job " + e.env.Identity.String()
	}
	if e.Kind != nil && e.Kind.Policy.Order == job.ByPartition {
		return "partition"
	}
	if e.Kind != nil && (e.Kind.Policy.Order == job.ByKey || e.Kind.Policy.Order == job.ByKeyStrict) && e.env.Key != nil {
		return "key " + string(e.env.Key)
	}
	return "job " + e.env.Identity.String()
}

// checkSegment is asked for each segment sent, late ones too: I3 and I4.
func (p *proc) checkSegment(s *Segment) {
	w := p.w
	for i := range s.Receipts {
		r := &s.Receipts[i]
		switch r.State {
		case dedupe.Retrying:
			if !slices.ContainsFunc(w.topics[1:], func(t *partition) bool {
				return slices.ContainsFunc(t.ghost, func(g *job.Envelope) bool {
					return g.Identity == r.Identity && g.Generation == r.Gen && g.Hop == r.Hop
				})
			}) {
				w.fail("I4: %s is settled as retrying hop %d, but no tier has that copy", w.name(r.Identity), r.Hop)
			}
		case dedupe.Dead:
			if w.letterOf(r.Identity, r.Gen, false) == nil {
				w.fail("I4: %s is settled as dead, but no letter was filed", w.name(r.Identity))
			}
		case dedupe.Done:
			if p.emits[r.Identity] {
				w.fail("I4: %s is done, but what it emitted is not acked", w.name(r.Identity))
			}
		case dedupe.Discarded, dedupe.Expired:
			if w.audits[r.Identity] == "" {
				w.fail("I4: %s is settled as %s without an audit entry", w.name(r.Identity), r.State)
			}
		}
	}
}

// checkLanded is asked for each entry of the log: I1, I2, I9.
func (w *world) checkLanded(e *dedupe.Entry, by *proc, before, after *fold) {
	if e.Segment == nil || after.frEp != e.Segment.Epoch || len(e.Segment.Frontiers) == 0 || e.Segment.Epoch != before.epoch {
		return
	}
	if before.frFrom != nil && before.frFrom.seq > by.seq {
		w.fail("I9: a frontier of %s is in force after one of %s, which owns the task since", by.name, before.frFrom.name)
	}
	for _, t := range w.topics {
		old, had := before.fr[t.id]
		if at, has := after.fr[t.id]; had && (!has || at < old) && !(t == w.main() && by.obeyed) {
			w.fail("I2: the frontier of %s in force goes back from %d to %d (%v)", t.name, old, at, has)
		}
	}
	w.checkReach(e, by, after)
	w.checkSettled(after, func(t *partition) (int64, bool) { at, ok := after.fr[t.id]; return at, ok }, "logged")
}

// checkSettled is I1: every record below the offsets is settled by what the log and the dead letters say.
func (w *world) checkSettled(f *fold, offset func(*partition) (int64, bool), how string) {
	for _, t := range w.topics {
		to, ok := offset(t)
		if !ok {
			continue
		}
		if to > int64(len(t.recs)) {
			w.fail("I1: the %s offset %d of %s is beyond its end", how, to, t.name)
			return
		}
		for _, g := range t.ghost[t.start:max(to, t.start)] {
			known := f.facts[g.Identity]
			if w.forgot[g.Identity] { // it was settled by what counts no more
				continue
			}
			other := !t.tier && known.digest != g.Digest && w.redriven[g.Identity] == 0 // another payload under a used identity
			if known.staleAt(g.Origin.Offset, g.Generation, g.Hop) && (!other || known.repeats && known.origin > g.Offset) || w.skipped(g, known) && !other || !t.tier && w.done[g.Offset] {
				continue
			}
			if !slices.ContainsFunc(w.letters, func(l *letter) bool {
				return l.disp == dlq.Conflict && l.env.Identity == g.Identity && l.env.Digest == g.Digest
			}) {
				w.fail("I1: the %s offset %d of %s is above %s gen %d hop %d at %d, which is not settled", how, to, t.name, w.name(g.Identity), g.Generation, g.Hop, g.Offset)
			}
		}
	}
}

// check holds after every step.
func (w *world) check() {
	last := &w.folds[len(w.folds)-1]
	w.checkSettled(last, func(t *partition) (int64, bool) { c, ok := w.committed[t.name]; return c.at, ok && c.ours }, "committed")
	w.checkAlive(last)
	for _, p := range w.procs {
		if !p.gone {
			w.checkProc(p)
		}
	}
}

// checkAlive is I14: what is not final has a record left, and no redrive is swallowed.
func (w *world) checkAlive(f *fold) {
	from := func(t *partition) int64 {
		if c, ok := w.committed[t.name]; ok && !c.ours {
			return c.at
		}
		if at, ok := f.fr[t.id]; ok {
			return at
		}
		return w.committed[t.name].at
	}
	for id := range w.names {
		e := f.facts[id]
		gen := w.redriven[id]
		alive, again := w.ended(id, f), gen == 0 || e.state == dedupe.Done || e.state != 0 && e.gen >= gen || e.repeats && e.origin > w.redrivenAt[id]
		if alive && again || w.forgot[id] {
			continue
		}
		for _, t := range w.topics {
			for _, g := range t.ghost[min(from(t), int64(len(t.ghost))):] {
				if g.Identity == id {
					alive = alive || !e.staleAt(g.Origin.Offset, g.Generation, g.Hop)
					again = again || g.Generation >= gen
				}
			}
		}
		if !alive {
			w.fail("I14: %s is not final (%+v) and has no record left", w.name(id), e)
		}
		if !again {
			w.fail("I14: the redrive of %s to generation %d was swallowed", w.name(id), gen)
		}
	}
}

// ended reports whether a job needs nothing more: its receipt says so, or there is none since its success leaves none.
func (w *world) ended(id job.Identity, f *fold) bool {
	e := f.facts[id]
	return e.final() || w.forgot[id] || (e.state == 0 || e.state == dedupe.Step || e.state == dedupe.Started) && slices.ContainsFunc(w.main().ghost, func(g *job.Envelope) bool { return g.Identity == id && w.done[g.Offset] })
}

// checkProc is I8 and I13.
func (w *world) checkProc(p *proc) {
	m := p.m
	s := m.Stats()
	if s.Read != s.Settled()+s.Held+s.Aside {
		w.fail("I8: %s has read %d records, settled %d, holds %d and has set %d aside", p.name, s.Read, s.Settled(), s.Held, s.Aside)
	}
	p.checkTally(s)
	var held, bytes, open, aside int
	for _, src := range m.sources {
		held += src.held
		bytes += src.bytes
		for _, x := range src.win.all() {
			switch x.seq {
			case 0:
				open++
			case asideSlot:
				aside++
			}
		}
	}
	if int64(held) != s.Held || int64(bytes) != s.HeldBytes || open != held || (held == 0) != (bytes == 0) {
		w.fail("I8: %s holds %d records of %d bytes; its sources say %d of %d, their windows %d", p.name, s.Held, s.HeldBytes, held, bytes, open)
	}
	if int64(aside) != s.Aside || (aside == 0) != (len(m.aside.lanes) == 0) {
		w.fail("I8: %s has set %d records aside, of %d lanes; its window says %d", p.name, s.Aside, len(m.aside.lanes), aside)
	}
	n := len(p.pool)
	for _, b := range p.behind {
		n += len(b)
	}
	if m.offered != n {
		w.fail("%s counts %d jobs offered, %d are", p.name, m.offered, n)
	}
	if m.phase != gone {
		if n := len(p.writes) + len(m.again); m.writing != n {
			w.fail("%s counts %d writes, %d are on the way or wait", p.name, m.writing, n)
		}
	}
	pos := m.cfg.Store.Position()
	f := &w.folds[pos.Next]
	if pos.Epoch != f.epoch || pos.FrontierEpoch != f.frEp || !maps.Equal(pos.Frontiers, f.fr) || m.cfg.Store.Len() != len(f.facts) {
		w.fail("I13: the store of %s at %d is %+v with %d jobs; the log says epoch %d, frontiers %v of %d, %d jobs", p.name, pos.Next, pos,
			m.cfg.Store.Len(), f.epoch, f.fr, f.frEp, len(f.facts))
	}
	for id, want := range f.facts {
		if r, _ := m.cfg.Store.Get(id); factOf(&r) != want {
			w.fail("I13: the store of %s says %+v of %s, the log %+v", p.name, factOf(&r), w.name(id), want)
		}
	}
}

// progressOf is how often the job has kept progress, as its attempt is told.
func progressOf(e *Entry) (n int) {
	if _, err := e.env.Resume(&n); err != nil {
		return -1
	}
	return n
}
