package task

import (
	"bytes"
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// forgettable are the jobs that an operator may have forgotten: they are at their end, and it is no harm to run them twice.
func (s *sim) forgettable() (ids []job.Identity) {
	for _, g := range s.main().ghost {
		if k := s.kinds[g.WireKind]; k == nil || g.Fault != "" || windowed(g.Kind) || k.Policy.Guarantee != job.EffectivelyOnce {
			continue
		}
		if s.folds[len(s.folds)-1].facts[g.Identity].final() {
			ids = append(ids, g.Identity)
		}
	}
	slices.SortFunc(ids, func(a, b job.Identity) int { return bytes.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// calmEnough reports whether nobody but one owner may still write to the log: what another writes behind an order, of the time
// before it, would be known again, and perhaps of no record that is left.
func (s *sim) calmEnough() bool {
	alive := 0
	for _, p := range s.procs {
		if !p.gone {
			alive++
		}
	}
	return len(s.orphans) == 0 && alive <= 1
}

// forgetOne lands an order to forget a job. What is known of it from then on is what is written behind the order, by whoever has
// not heard of it too.
func (s *sim) forgetOne(id job.Identity) {
	s.trace("forget %s", s.name(id))
	s.forgot[id] = true
	delete(s.redriven, id)
	delete(s.redrivenAt, id)
	maps.DeleteFunc(s.deaths, func(x run, _ int) bool { return x.id == id })
	s.land(nil, dedupe.Entry{Segment: &dedupe.Segment{Epoch: -1, Forget: []job.Identity{id}}})
}

// hear drops what the process knew of jobs that its machine has read to be forgotten.
func (p *proc) hear() {
	for next := p.m.cfg.Store.Position().Next; p.heard < next; p.heard++ {
		if seg := p.w.log[p.heard].entry.Segment; seg != nil {
			for _, id := range seg.Forget {
				delete(p.known, id)
			}
		}
	}
}
