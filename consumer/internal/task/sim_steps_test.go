package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

func (s *sim) clusterSteps(add func(int, string, func())) {
	if s.jobs < 8 {
		add(30, "produce", s.produceAny)
	}
	add(6, "time passes", func() { s.now += []int64{1e6, 1e8, 5e9, 2e10, 15e10}[s.pick(5)] + int64(s.pick(1000)) })
	if s.member == nil || s.member.gone || s.member.drained {
		add(40, "assign", func() { s.assignAny() })
		if s.fault("rewind") && s.seq > 0 {
			add(2, "rewind", func() {
				s.left["rewind"]--
				s.member = nil
				done := s.folds[len(s.folds)-1].fr[s.main().id] // an order beyond it would skip jobs on purpose
				s.committed["main"] = place{int64(s.pick(int(done) + 1)), false}
				s.rewound = true
			})
		}
		if s.fault("lose") && !s.rewound {
			add(1, "lose offsets", func() { s.left["lose"]--; clear(s.committed) })
		}
	}
	if ls := s.redrivable(); len(ls) > 0 && s.fault("redrive") {
		add(10, "redrive", func() {
			s.left["redrive"]--
			l := ls[s.pick(len(ls))]
			if s.redriven[l.env.Identity] > l.env.Generation {
				s.count["double redrive"]++
			}
			payload := l.env.Payload
			if s.one(3) {
				payload = append(slices.Clone(payload), 'x')
			}
			s.redrive(l, payload)
		})
	}
	if ids := s.forgettable(); len(ids) > 0 && s.fault("forget") && s.calmEnough() {
		add(4, "forget", func() { s.left["forget"]--; s.forgetOne(ids[s.pick(len(ids))]) })
	}
	if n := len(s.orphans); n > 0 {
		add(10, "orphan lands", func() { s.orphan(s.pick(n)) })
	}
}

func (s *sim) redrivable() (out []*letter) {
	for _, l := range s.letters {
		if l.disp != dlq.Conflict && l.disp != dlq.Malformed {
			out = append(out, l)
		}
	}
	return out
}

// orphan lands a produce of a process that is gone, or loses it. Those of one producer to the log land in order.
func (s *sim) orphan(i int) {
	x := s.orphans[i]
	if x.write == nil {
		i = slices.IndexFunc(s.orphans, func(y *flight) bool { return y.p == x.p && y.write == nil })
		x = s.orphans[i]
	}
	if s.one(4) { // lost: and with it, what the producer would have sent after it
		s.orphans = slices.DeleteFunc(s.orphans, func(y *flight) bool { return y == x || x.write == nil && y.write == nil && y.p == x.p })
		return
	}
	if s.member != nil && s.member.m.phase == running {
		s.count["orphan lands beside a running owner"]++
	}
	if x.write != nil {
		x.landWrite()
	} else if x.landLog(); x.landed < len(x.parts) {
		return
	}
	s.orphans = slices.Delete(s.orphans, i, i+1)
}

func (s *sim) assignAny() {
	tiers := []string{"retry.10s", "retry.2m"}
	if s.fault("tier late") && s.one(3) {
		s.left["tier late"]--
		tiers = tiers[:1]
	}
	s.assign(fmt.Sprintf("p%d", s.seq), tiers...)
}

func (s *sim) produceAny() {
	s.jobs++
	m := job.Message{Kind: []string{"keyed", "keyed", "free", "part", "oldkeyed", "mystery", "again", "again", "once", soon, until, until, "strict", "strict", "strict", "holder", "holder"}[s.pick(17)], ID: fmt.Sprintf("j%d", s.pick(5)),
		Key: []byte{'k', byte('0' + s.pick(2))}, Payload: []byte("payload")}
	switch s.pick(12) {
	case 1:
		m.Payload = []byte("another payload")
	case 2:
		m.At = s.time().Add(time.Duration(1+s.pick(300)) * time.Second)
	case 3:
		m.Expires = s.time().Add(time.Duration(1+s.pick(60)) * time.Second)
	case 4:
		m.Key = nil
	case 5:
		if m.Version = 2; m.Kind == "holder" { // no redrive would ever end it
			m.Version = 1
		}
	case 6: // malformed: two kinds
		h := job.ProducerHeaders(nil, &m)
		s.append(s.main(), m.Key, m.Payload, append(h, h[0]))
		return
	case 7: // foreign
		s.append(s.main(), m.Key, m.Payload, nil)
		return
	}
	for _, g := range s.main().ghost {
		if g.Kind == m.Kind && g.ID == m.ID && string(g.Key) == string(m.Key) {
			s.count[map[bool]string{true: "double enqueue", false: "conflict"}[string(g.Payload) == string(m.Payload)]]++
		}
	}
	s.produce(m)
}

func (s *sim) procSteps(p *proc, add func(int, string, func())) {
	if p.drained && len(p.pool) == 0 && len(p.logq) == 0 {
		add(2, "process ends", p.crash)
	}
	s.logSteps(p, add)
	s.writeSteps(p, add)
	for _, t := range s.topics {
		if n := p.ready(t.name); n > 0 && (!p.paused[t.name] || s.pick(16) == 15) {
			add(30, "input records", func() { p.deliver(t.name, 1+s.pick(n), s.pick(6)/4) })
		}
	}
	if len(p.pool) > 0 {
		add(50, "input outcomes", func() { s.endSome(p) })
		add(8, "input progress", func() { s.keepSome(p) })
	}
	if p.m.cfg.Store.Position().Next < int64(len(s.log)) {
		add(2, "input log end", func() { p.m.LogEnd(int64(len(s.log)), s.now); p.carry() })
	}
	add(6, "input tick", func() { p.tick(false) })
	add(6, "tick", func() { p.tick(true) })
	if len(p.want) > 0 {
		add(25, "commit", p.commit)
	}
	if _, late := p.m.byTopic["retry.2m"]; !late {
		add(1, "tier comes later", func() { p.m.AddTier("retry.2m", s.topics[2].id, 2*time.Minute, s.now); p.carry() })
	}
	s.memberSteps(p, add)
}

func (s *sim) memberSteps(p *proc, add func(int, string, func())) {
	if s.fault("crash") {
		add(1, "crash", func() { s.left["crash"]--; s.die(p) })
	}
	if s.fault("fuse") && s.fuse == 0 {
		add(2, "light a fuse", func() { s.left["fuse"]--; s.fuse = 1 + s.pick(20) })
	}
	if s.fault("lease") && p.lease {
		add(1, "lease ends", func() { s.left["lease"]--; p.lease = false; p.m.Hold(Lease, true, s.now); p.carry() })
	} else if !p.lease && s.member == p {
		add(15, "lease comes back", func() { p.lease = true; p.m.Hold(Lease, false, s.now); p.carry() })
	}
	if s.fault("killer") && s.member == p && len(s.started(p.pool)) > 0 {
		add(4, "killer", func() { s.die(p) })
	}
	if s.member != p || p.drained {
		if s.member != p && !p.m.Gone() {
			if s.mayComeBack(p) {
				add(8, "comes back", func() { s.comesBack(p) })
			}
			add(1, "zombie notices", func() { p.m.Abandon(s.now); p.drained = true; p.carry() })
		}
		return
	}
	if s.fault("zombie") {
		add(1, "zombie", func() { s.left["zombie"]--; s.member = nil; s.assignAny() })
	}
	if s.fault("revoke") {
		add(1, "revoke", func() { s.left["revoke"]--; p.m.Revoke(s.now); p.carry() })
	}
	if s.fault("abandon") && p.m.phase == draining {
		add(10, "drain takes too long", func() { s.left["abandon"]--; p.m.Abandon(s.now); p.drained = true; p.carry() })
	}
}

// mayComeBack: the group was not empty for so long that an operator set its offsets, or the cluster forgot them, and no
// commit of the process was refused meanwhile: what it committed next may be less than what others did.
func (s *sim) mayComeBack(p *proc) bool {
	return (s.member == nil || s.member.gone || s.member.drained) && s.fault("comes back") && s.fault("rewind") && s.fault("lose") && len(p.want)+len(p.answers) == 0 && !p.fenced && !p.m.Gone()
}

// comesBack has a process get back the task that it never knew it had lost. It has nothing to commit, which would bear its old generation.
func (s *sim) comesBack(p *proc) {
	s.left["comes back"]--
	s.seq++
	s.member, p.seq = p, s.seq
}

// logSteps: what a process sent to the log lands, is acked or refused; what it asked is answered.
func (s *sim) logSteps(p *proc, add func(int, string, func())) {
	if len(p.logq) > 0 {
		x := p.logq[0]
		if x.landed < len(x.parts) {
			add(40, "log lands", func() {
				if x.landLog(); s.fault("dup") && s.one(20) {
					s.left["dup"]--
					s.land(p, *x.parts[x.landed-1])
				}
				x.blind = x.landed == len(x.parts) && s.one(20)
			})
			add(1, "log refused", func() { x.failed = true; s.ackLog(x) })
		} else {
			add(40, "log acked", func() { s.ackLog(x) })
			add(1, "log ack lost", func() { x.failed = true; s.ackLog(x) })
		}
	}
	if p.read != nil {
		add(40, "log read", func() { p.readSome(1 + s.pick(4)) })
	}
	if p.again != nil {
		add(15, "input reread", func() { p.readAgain(1 + s.pick(4)) })
	}
	if p.asks > 0 {
		add(30, "heartbeat", p.heartbeat)
	}
	if len(p.answers) > 0 {
		add(30, "proof", func() {
			if s.one(10) && len(p.answers[0].starts) > 0 { // the cluster does not know one partition for a moment
				p.answers[0].starts = slices.Clone(p.answers[0].starts)[1:]
			}
			p.prove()
		})
	}
}

func (s *sim) ackLog(x *flight) {
	if s.member != nil && s.member != x.p && s.member.m.phase == running {
		s.count["late ack"]++
	}
	if err := x.answerLog(); err != nil {
		s.fail("%s: %v", x.p.name, err)
	}
}

func (s *sim) writeSteps(p *proc, add func(int, string, func())) {
	for _, x := range p.writes {
		if x.landed == 0 {
			add(20, "write lands", func() {
				if x.landWrite(); s.fault("dup") && s.one(20) {
					s.left["dup"]--
					x.landWrite()
				}
			})
			add(1, "input write refused", func() {
				x.res = Refused
				if s.one(4) && x.write.Dest != ToAudit && !x.write.Truncated {
					x.res = TooLarge
				}
				x.answer()
			})
		} else {
			add(20, "input write acked", x.answer)
			add(1, "input write ack lost", func() { x.res = Refused; x.answer() })
		}
	}
}

func (s *sim) endSome(p *proc) {
	es := []*Entry{p.pool[s.pick(len(p.pool))]}
	o := job.Outcome{}
	switch s.pick(12) {
	case 1, 2, 3:
		o = job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Text: "failed"}
	case 4:
		o = job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Delay: time.Duration(1+s.pick(400)) * time.Second}
	case 5:
		o = job.Outcome{Verdict: job.VerdictSnooze, Code: job.CodeSnoozed, Delay: time.Duration(1+s.pick(200)) * time.Second}
	case 6:
		o = job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead}
	case 7:
		o = job.Outcome{Verdict: job.VerdictDiscard, Code: job.CodeDiscarded}
	case 8:
		o = job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled}
		es = slices.Clone(p.pool)
	case 9:
		es = slices.Clone(p.pool)
	}
	if o.Verdict != job.VerdictCancelled {
		es = s.started(es)
	}
	for _, e := range es {
		delete(s.starting, e)
	}
	if len(es) == 0 {
		return
	}
	if e := es[0]; len(es) == 1 && o.Verdict == job.VerdictDone && !repeats(e) && s.one(6) {
		s.count["emit"]++
		_, _ = e.env.EmitRaw("free", []byte("x"), "", nil)
	}
	p.end(es, o)
}

// run is one run of a job: a generation and hop of it.
type run struct {
	enqueued
	gen, hop uint32
}

// start is how far a marked attempt is.
type start uint8

const (
	marking start = iota + 1
	called
	again // it goes back to its machine
)

// marked reports whether the entry must not run before a mark is durable.
func marked(e *Entry) bool { return e.Kind.Policy.Guarantee.Marked() || e.Suspicion() != NoSuspect }

// startOne has a marked attempt begin: its handler runs once the mark is durable, if it was not cancelled before. No run of
// an at-most-once kind begins twice, whoever owns the task.
func (s *sim) startOne(p *proc, e *Entry) {
	switch s.starting[e] {
	case marking:
		return
	case again:
		s.count["mark looked up again"]++
		delete(s.starting, e)
		p.end([]*Entry{e}, job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled})
		return
	}
	s.starting[e] = marking
	x := runOf(e)
	p.m.Keep(&Keep{Receipt: SuspectMark(e), Mark: true, Answer: func(k Kept) {
		if k == LookAgain && s.starting[e] == marking {
			s.starting[e] = again
		}
		if k != Durable || s.starting[e] != marking {
			return
		}
		s.starting[e] = called
		s.count["start"+[]string{"", " suspect", " alone"}[e.Suspicion()]]++
		if s.begun[x]++; s.begun[x] > 1 && e.Kind.Policy.Guarantee == job.AtMostOnce {
			s.fail("run %v of an at-most-once kind began twice", x)
		}
	}}, s.now)
	p.carry()
}

// started are those whose handler has been called.
func (s *sim) started(es []*Entry) (out []*Entry) {
	for _, e := range es {
		if !marked(e) || s.starting[e] == called {
			out = append(out, e)
		}
	}
	return out
}

// keepSome has an attempt make progress. What an owner in force is told to be durable must not be lost; a zombie may be told
// so too, but its word can come after another has settled the job's next hop.
func (s *sim) keepSome(p *proc) {
	e := p.pool[s.pick(len(p.pool))]
	if marked(e) && s.starting[e] != called {
		s.startOne(p, e)
		return
	}
	n := progressOf(e) + 1
	if repeats(e) && (p.done[e.env.Offset] || s.done[e.env.Offset]) {
		return // a rerun of a first success that left no receipt: its history says that it is done
	}
	_ = e.env.Checkpoint(job.WithKeeper(context.Background(), keeps(func(state []byte) {
		p.m.Keep(&Keep{Receipt: Progress(e.Message(), state), Answer: func(k Kept) {
			if k == Durable && s.member == p && p.m.phase != gone {
				s.kept[enqueueOf(&e.env)] = max(s.kept[enqueueOf(&e.env)], n)
			}
		}}, s.now)
		p.carry()
	})), n)
}

// Start implements job.Keeper; the simulation has a step of its own for marks.
func (f keeps) Start(context.Context, *job.Message) error { return nil }

// keeps is a job.Keeper that does not wait.
type keeps func(state []byte)

// Keep implements job.Keeper.
func (f keeps) Keep(_ context.Context, _ *job.Message, state []byte) error {
	f(state)
	return nil
}
