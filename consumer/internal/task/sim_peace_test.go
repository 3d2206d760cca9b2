package task

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// peace: no more faults; whoever is not the member ends; handlers succeed; everything must become final and durable (I14,
// I15), every frontier reach the end, and a drain end.
func (s *sim) peace() {
	s.fuse = 0
	for _, p := range s.procs {
		p.lazy = false
		if !p.gone {
			p.carry()
		}
	}
	for _, p := range s.procs {
		if !p.gone && (p != s.member || p.drained || p.m.phase == draining || p.m.Gone()) {
			p.crash()
		}
	}
	for i := 0; len(s.orphans) > 0; i++ {
		s.orphans[0].landAll()
		s.orphans = s.orphans[1:]
	}
	if s.member == nil {
		s.assign("last")
	}
	p := s.member
	if !p.lease {
		p.lease = true
		p.m.Hold(Lease, false, s.now)
		p.carry()
	}
	if len(s.topics) > 2 && p.m.byTopic["retry.2m"] == nil {
		p.m.AddTier("retry.2m", s.topics[2].id, 2*time.Minute, s.now)
		p.carry()
	}
	for range 400 {
		s.calm(p)
		if s.violation != "" || s.finished(p) {
			break
		}
		s.free()
		s.now = max(s.now+1e8, p.m.NextDue())
	}
	if s.violation == "" && !s.finished(p) {
		s.fail("I15: not everything is final: %s", s.unfinished(p))
	}
	s.drainLast(p)
}

// free redrives what holds its key, as an operator would: nothing behind it runs before.
func (s *sim) free() {
	for _, l := range s.letters {
		id := l.env.Identity
		if f := s.folds[len(s.folds)-1].facts[id]; f.state == dedupe.Dead && f.holding && f.gen == l.env.Generation && s.redriven[id] <= f.gen && l.disp != dlq.Conflict {
			s.freed++
			s.redrive(l, l.env.Payload)
		}
	}
}

// calm takes every step that can be taken now.
func (s *sim) calm(p *proc) {
	p.tick(true)
	for range 100 {
		for _, x := range slices.Concat(p.logq, p.writes) {
			x.res, x.failed, x.blind = Acked, false, false
		}
		for len(p.writes) > 0 && p.writes[0].landed > 0 {
			p.writes[0].answer()
		}
		p.settleDown()
		p.fetchAll()
		if len(p.pool) == 0 && len(p.logq) == 0 && len(p.writes) == 0 {
			break
		}
		if len(p.pool) > 0 {
			p.end(slices.Clone(p.pool), job.Outcome{})
		}
		s.check()
	}
	s.check()
}

func (s *sim) finished(p *proc) bool { return s.unfinished(p) == "" }

func (s *sim) unfinished(p *proc) string {
	f := s.folds[len(s.folds)-1]
	for _, t := range s.topics {
		if f.fr[t.id] != int64(len(t.recs)) || s.committed[t.name] != (place{int64(len(t.recs)), true}) {
			return fmt.Sprintf("%s ends at %d, its frontier is %d, committed %+v; %+v", t.name, len(t.recs), f.fr[t.id], s.committed[t.name], p.m.Status())
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.names), func(a, b job.Identity) int { return slices.Compare(a[:], b[:]) }) {
		if !s.world.ended(id, &f) {
			return fmt.Sprintf("%s is %+v", s.name(id), f.facts[id])
		}
	}
	return ""
}

func (s *sim) drainLast(p *proc) {
	// What another owner left in the log is found now, by the ack of a segment: a drain that finds it lets go at once.
	s.produce(job.Message{Kind: "free", ID: "before the drain", Payload: []byte("p")})
	p.fetchAll()
	for range 3 {
		s.calm(p)
		s.now += 1e8
	}
	if s.violation != "" {
		return
	}
	s.produce(job.Message{Kind: "free", ID: "during the drain", Payload: []byte("p")})
	p.fetchAll()
	p.m.Revoke(s.now)
	p.carry()
	for range 5 {
		s.calm(p)
		s.now += 1e8
	}
	if !p.drained {
		s.fail("the drain does not end: %+v", p.m.Status())
	} else if why := s.unfinished(p); why != "" {
		s.fail("drained, but %s", why)
	}
}
