package task

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/job"
)

// menu is every step that can be taken in a state, always in the same order. Each is one event: a record of the network lands,
// an ack arrives, a handler ends, a process dies. What costs a fault is there while the scene allows more of them.
func (s *sim) menu() (all []step) {
	add := func(name string, do func()) { all = append(all, step{name: name, do: do}) }
	for _, p := range s.procs {
		if !p.gone {
			s.logMenu(p, add)
			s.workMenu(p, add)
			s.writeMenu(p, add)
			s.memberMenu(p, add)
		}
	}
	s.clusterMenu(add)
	return all
}

// settleLocal takes the steps at once that commute with everything others do: to read a part of the log whose end is known, and the end of
// a process that has nothing left to do.
func (s *sim) settleLocal() {
	for _, p := range s.procs {
		for !p.gone && p.read != nil {
			p.readSome(1 << 20)
		}
		if !p.gone && p.drained && len(p.pool)+len(p.logq)+len(p.writes)+len(p.want) == 0 {
			p.crash()
		}
	}
}

// costs is a step that needs a fault of that name.
func (s *sim) costs(fault string, do func()) func() {
	return func() {
		s.left[fault]--
		do()
	}
}

func (s *sim) logMenu(p *proc, add func(string, func())) {
	if len(p.logq) > 0 {
		x := p.logq[0]
		switch {
		case x.landed < len(x.parts):
			add("log lands", x.landLog)
			if s.fault("dup") && x.seg != nil {
				add("log lands twice", s.costs("dup", func() { x.landLog(); s.land(p, *x.parts[x.landed-1]) }))
			}
			if s.fault("refuse") {
				add("log refused", s.costs("refuse", func() { x.failed = true; s.ackLog(x) }))
			}
		default:
			add("log acked", func() { s.ackLog(x) })
			if s.fault("unsaid") {
				add("log ack lost", s.costs("unsaid", func() { x.failed = true; s.ackLog(x) }))
				add("log ack without a place", s.costs("unsaid", func() { x.blind = true; s.ackLog(x) }))
			}
		}
	}
	if p.asks > 0 {
		add("heartbeat", p.heartbeat)
	}
	if len(p.answers) > 0 {
		add("proof", p.prove)
	}
}

func (s *sim) workMenu(p *proc, add func(string, func())) {
	for _, t := range s.topics {
		if p.ready(t.name) > 0 && !p.paused[t.name] {
			add("deliver "+t.name, func() { p.deliver(t.name, 1, 0) })
		}
	}
	for _, e := range p.pool {
		if marked(e) && s.starting[e] != called {
			if s.starting[e] == 0 {
				add("start "+p.title(e), func() { s.startOne(p, e) })
			}
			continue
		}
		end := func(o job.Outcome) func() {
			return func() { delete(s.starting, e); p.end([]*Entry{e}, o) }
		}
		add("done "+p.title(e), end(success))
		if s.fault("fail") {
			add("fail "+p.title(e), s.costs("fail", end(failure)))
		}
		if s.fault("dead") {
			add("dead "+p.title(e), s.costs("dead", end(job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})))
		}
	}
	if p.m.phase == running || p.m.phase == draining {
		add("tick", func() { p.tick(true) })
	}
	if len(p.want) > 0 {
		add("commit", p.commit)
	}
}

func (s *sim) writeMenu(p *proc, add func(string, func())) {
	for _, x := range p.writes {
		what := " of " + p.title(x.write.Entry)
		if x.landed > 0 {
			add("ack"+what, x.answer)
			continue
		}
		add("write"+what, x.landWrite)
		if s.fault("refuse") {
			add("refuse"+what, s.costs("refuse", func() { x.res = Refused; x.answer() }))
		}
	}
}

func (s *sim) memberMenu(p *proc, add func(string, func())) {
	if s.fault("crash") {
		add("crash "+p.name, s.costs("crash", func() { s.die(p) }))
	}
	if s.member != p {
		if !p.m.Gone() {
			add("zombie notices", func() { p.m.Abandon(s.now); p.drained = true; p.carry() })
		}
		return
	}
	if s.fault("zombie") && p.m.phase == running {
		add("zombie "+p.name, s.costs("zombie", func() { s.member = nil }))
	}
	if s.fault("revoke") && p.m.phase == running {
		add("revoke", s.costs("revoke", func() { p.m.Revoke(s.now); p.carry() }))
	}
}

func (s *sim) clusterMenu(add func(string, func())) {
	if s.member == nil || s.member.gone || s.member.drained {
		add("assign", func() { s.assign(fmt.Sprintf("p%d", s.seq)) })
		if s.fault("rewind") && s.committed["main"].ours {
			add("rewind", s.costs("rewind", func() { s.member, s.committed["main"], s.rewound = nil, place{0, false}, true }))
		}
		if s.fault("lose") && !s.rewound && len(s.committed) > 0 {
			add("lose offsets", s.costs("lose", func() { clear(s.committed) }))
		}
	}
	if s.fault("redrive") {
		for _, l := range s.redrivable() {
			add("redrive "+s.name(l.env.Identity), s.costs("redrive", func() { s.redrive(l, l.env.Payload) }))
		}
	}
	for i, x := range s.orphans {
		if x.write == nil && slices.ContainsFunc(s.orphans[:i], func(y *flight) bool { return y.p == x.p && y.write == nil }) {
			continue // those of one producer to the log land in order
		}
		add("orphan lands", func() {
			if x.landAll(); x.write != nil || x.landed == len(x.parts) {
				s.orphans = slices.DeleteFunc(s.orphans, func(y *flight) bool { return y == x })
			}
		})
		add("orphan is lost", func() { // and what its producer would have sent after it
			s.orphans = slices.DeleteFunc(s.orphans, func(y *flight) bool { return y == x || x.write == nil && y.write == nil && y.p == x.p })
		})
	}
	if p := s.member; p != nil && !p.gone {
		if due := p.m.NextDue(); due > s.now {
			add("time passes", func() { s.now = due; p.tick(true) })
		}
	}
}
