package task

import (
	"slices"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

func runOf(e *Entry) run { return run{enqueueOf(&e.env), e.env.Generation, e.env.Hop} }

// die ends a process with the attempts that run in it, one of which may be why.
func (s *sim) die(p *proc) {
	if s.member == p {
		for _, e := range s.started(p.pool) {
			s.deaths[runOf(e)]++
		}
	}
	p.crash()
}

// checkDeaths: a run that was running when owners died is marked the next time, runs alone the third time, and not a fourth
// time. Nothing is poison that was not running in two that ended without a release.
func (s *sim) checkDeaths() {
	for _, p := range s.procs {
		if p.gone || p.m.phase == gone || s.member != p {
			continue
		}
		for _, e := range p.pool {
			n := s.deaths[runOf(e)]
			if e.Kind.Policy.Guarantee == job.AtMostOnce || s.limits != (Limits{}) { // it takes in more than these say
				continue
			}
			if n > 2 || n == 2 && e.Suspicion() != Alone || n == 1 && e.Suspicion() == NoSuspect {
				s.fail("%s runs %s, suspicion %d, which was running when %d owners died", p.name, p.title(e), e.Suspicion(), n)
			}
		}
	}
	for _, l := range s.letters {
		if l.disp == dlq.Poison {
			s.count["poison"]++
			if n := s.unreleased(); n < 3 {
				s.fail("%s is filed as poison after %d owners ended without a release", s.name(l.env.Identity), n)
			}
		}
	}
}

// unreleased is how many epochs there are that the log does not know to be let go.
func (s *sim) unreleased() (n int) {
	for i, l := range s.log {
		if l.entry.Owner != nil && !slices.ContainsFunc(s.log[i:], func(x logged) bool {
			return x.entry.Segment != nil && x.entry.Segment.Epoch == int64(i) && x.entry.Segment.Release != 0
		}) {
			n++
		}
	}
	return n
}
