package task

import (
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// checkStrict is I5 for strict kinds: when one of their jobs starts, every strict job of its key that stands before it in the
// job topic has ended, and none of the others of the key is known to wait for a retry. It is worked out from the records and from
// what the log says, up to where the process has read it, and the process has done since.
func (p *proc) checkStrict(e *Entry) {
	w, env := p.w, &e.env
	if e.Kind == nil || e.Kind.Policy.Order != job.ByKeyStrict || env.Key == nil {
		return
	}
	log := w.folds[p.m.cfg.Store.Position().Next].facts
	known := func(id job.Identity) fact { return log[id].join(p.known[id]) }
	if own := known(env.Identity); env.Generation > 0 && !own.holding { // a redrive has no place in the order
		return
	}
	for _, g := range w.main().ghost[:min(env.Origin.Offset, int64(len(w.main().ghost)))] {
		k := w.kinds[g.WireKind]
		if k == nil || g.Fault != "" || string(g.Key) != string(env.Key) || g.Key == nil || g.Identity == env.Identity {
			continue
		}
		if p.swallowed[g.Offset] { // its job is done and reaches that far, whatever others write of this record
			continue
		}
		f := known(g.Identity)
		if w.forgot[g.Identity] { // what is known of it may be of before the order, or be forgotten though it is not yet in the log
			continue
		}
		waits := false
		switch k.Policy.Order {
		case job.ByKeyStrict:
			waits = !f.final() && (f.gen == 0 || f.holding) || f.state == dedupe.Dead && f.holding
		case job.ByKey:
			waits = f.state == dedupe.Retrying && f.gen == 0 && f.origin == g.Offset // else a later enqueue waits
		}
		if waits {
			w.fail("I5: %s starts %s of offset %d before %s of offset %d, which is %+v", p.name, p.title(e), env.Origin.Offset, w.name(g.Identity), g.Offset, f)
		}
	}
}
