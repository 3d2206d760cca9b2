package task

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// proc is a process with one machine, and all that package consumer would do for it.
type proc struct {
	w       *world
	name    string
	m       *Machine
	seq     int // order of assignment
	gone    bool
	drained bool
	fetch   map[string]int64
	started map[string]bool
	paused  map[string]bool
	pool    []*Entry            // offered, not ended
	behind  map[*Entry][]*Entry // what is to run after one of those
	writes  []*flight           // copies, letters, audit entries
	logq    []*flight           // ownership records and segments: they land in order
	read    *Span
	again   *Offset // of the job topic, to be read once more from there
	asks    int
	answers []answer
	want    map[string]int64
	cleared int // suspects that ran alone and are done with

	// what the test knows of it
	known     map[job.Identity]fact // settled in this process
	swallowed map[int64]bool        // records of the job topic that were read while their job, now done, was not
	done      map[int64]bool        // and what succeeded in it without a receipt
	active    map[*Entry]bool       // offered or writing
	emits     map[job.Identity]bool // succeeded, what they emitted is not acked
	last      map[string]int64      // offset of the last start of a key
	lease     bool
	obeyed    bool  // an operator's order on the job topic
	heard     int64 // orders to forget below that place of the log are known
	fenced    bool  // a commit was refused
	lazy      bool  // effects wait: the shard applies several inputs before it carries them out
}

type answer struct {
	member bool
	starts []Start
	epoch  int64 // the newest of the process when the cluster was asked
}

// assign makes a new process the member of the group and owner of the task.
func (w *world) assign(name string, tiers ...string) *proc {
	if tiers == nil {
		for _, t := range w.tiers {
			tiers = append(tiers, t.Topic)
		}
	}
	w.seq++
	p := &proc{w: w, name: name, seq: w.seq, fetch: map[string]int64{}, started: map[string]bool{}, paused: map[string]bool{}, want: map[string]int64{},
		known: map[job.Identity]fact{}, done: map[int64]bool{}, active: map[*Entry]bool{}, emits: map[job.Identity]bool{}, behind: map[*Entry][]*Entry{}, last: map[string]int64{}, lease: true, swallowed: map[int64]bool{}}
	var known []dedupe.TopicID
	for _, t := range w.topics {
		known = append(known, t.id)
	}
	p.m = New(Config{Topic: w.main().name, TopicID: w.main().id, Log: "receipts", Cluster: w.cluster, Partitions: w.width, Known: known, Tiers: w.tiers, Plan: w.plan, Kinds: w.kinds, Limits: w.limits, Chain: w.chain, ReadAhead: w.readAhead,
		StartAtEnd: w.startEnd, KeepUnknown: w.keep, MaxHop: w.maxHop, Store: dedupe.NewMemory(time.Hour), Tally: w.tally(), Ref: p})
	for _, t := range tiers {
		x := w.topic(t)
		p.m.AddTier(t, x.id, x.delay, w.now)
	}
	for _, t := range w.topics {
		p.paused[t.name] = true
	}
	w.procs = append(w.procs, p)
	w.member = p
	p.m.Assign(w.now)
	p.carry()
	return p
}

func (p *proc) sendSegment(s *Segment, late bool) {
	w := p.w
	x := &flight{p: p, seg: s, late: late}
	rest := s.Receipts
	for len(rest) > w.part {
		x.parts = append(x.parts, &dedupe.Entry{Segment: &dedupe.Segment{Epoch: s.Epoch, Receipts: rest[:w.part]}})
		rest = rest[w.part:]
	}
	x.parts = append(x.parts, &dedupe.Entry{Segment: &dedupe.Segment{Epoch: s.Epoch, Receipts: rest, Frontiers: s.Frontiers, Marks: s.Marks, Release: s.Release}})
	p.logq = append(p.logq, x)
	what := "segment"
	if late {
		what = "late segment"
	}
	release := ""
	if s.Release != dedupe.Held {
		release = " " + s.Release.String()
	}
	w.trace("%s: %s of epoch %d:%s%s%s", p.name, what, s.Epoch, p.receipts(s.Receipts), p.frontiers(s.Frontiers), release)
	p.checkSegment(s)
}

func (p *proc) receipts(rs []dedupe.Receipt) string {
	var b strings.Builder
	for i := range rs {
		r := &rs[i]
		fmt.Fprintf(&b, " %s %s", p.w.name(r.Identity), r.State)
		if r.Gen > 0 {
			fmt.Fprintf(&b, " gen %d", r.Gen)
		}
		if r.State == dedupe.Retrying {
			fmt.Fprintf(&b, " hop %d", r.Hop)
		}
		b.WriteByte(';')
	}
	return b.String()
}

func (p *proc) frontiers(fs []dedupe.Frontier) string {
	var out []string
	for _, t := range p.w.topics {
		for _, f := range fs {
			if f.Topic == t.id {
				out = append(out, fmt.Sprintf(" %s=%d", t.name, f.Offset))
			}
		}
	}
	return strings.Join(out, "")
}

func (p *proc) title(e *Entry) string {
	s := p.w.name(e.env.Identity)
	if e.env.Generation > 0 {
		s += fmt.Sprintf(" gen %d", e.env.Generation)
	}
	if e.env.Hop > 0 {
		s += fmt.Sprintf(" hop %d", e.env.Hop)
	}
	return s
}

func describe(p *proc, x *Write) string {
	switch x.Dest {
	case ToTier:
		at := ""
		if !x.Stamp.At.IsZero() {
			at = " not before " + shortDur(x.Stamp.At.Sub(p.w.time()).Round(time.Millisecond)) + " from now"
		}
		return fmt.Sprintf("copy %s as hop %d -> %s delay %s attempts %d%s (%s)", p.title(x.Entry), x.Stamp.Hop, x.Topic,
			shortDur(x.Stamp.Delay), x.Stamp.Attempts, at, x.Stamp.Code)
	case ToDeadLetters:
		s := fmt.Sprintf("letter %s attempts %d: %s, %s", p.title(x.Entry), x.Attempts, x.Disposition, x.Code)
		if x.Truncated {
			s += ", without payload"
		}
		return s
	}
	if x.Dest == ToJobs {
		return fmt.Sprintf("%d jobs emitted by %s", len(*x.Entry.env.Emitted), p.title(x.Entry))
	}
	return fmt.Sprintf("audit %s of %s", x.Action, p.title(x.Entry))
}

// readSome gives the machine up to n entries of the span it asked for.
func (p *proc) readSome(n int) {
	w := p.w
	if p.read.To < 0 {
		p.read.To = int64(len(w.log))
	}
	var es []*dedupe.Entry
	for ; n > 0 && p.read.From < p.read.To; n-- {
		es = append(es, w.log[p.read.From].entry)
		p.read.From++
	}
	if err := p.m.Entries(es); err != nil {
		w.fail("%s: %v", p.name, err)
	}
	if p.read.From >= p.read.To {
		p.read = nil
		p.m.ReadDone(w.now)
	}
	p.carry()
}

// readAgain answers a reread with up to n records, or with what retention took.
func (p *proc) readAgain(n int) {
	at, t := p.again.At, p.w.main()
	p.again = nil
	if at < t.start {
		p.m.Vanished(t.start, p.w.now)
	} else {
		to := min(at+int64(n), int64(len(t.recs)))
		p.m.Reread(at, slices.Clone(t.recs[at:to]), to, p.w.now)
	}
	p.carry()
}

// heartbeat asks the cluster; its answer reaches the machine later.
func (p *proc) heartbeat() {
	p.asks--
	p.answers = append(p.answers, answer{p.w.member == p, p.w.starts(p.w.topicNames()), p.m.epoch})
}

func (p *proc) prove() {
	a := p.answers[0]
	p.answers = p.answers[1:]
	if p.w.rewound && a.member && a.starts[0].Committed >= 0 && !a.starts[0].Ours && p.m.phase == proving {
		p.w.rewound = false
	}
	was := p.m.phase
	p.m.Proved(a.member, a.starts, p.w.now)
	if was == proving && p.m.phase == running && a.epoch != p.m.epoch {
		p.w.fail("I9: %s runs under epoch %d by a proof that was given before it", p.name, p.m.epoch)
	}
	p.carry()
}

// ready is how many records a topic has for the process.
func (p *proc) ready(topic string) int {
	if !p.started[topic] || p.gone {
		return 0
	}
	return len(p.w.topic(topic).recs) - int(p.fetch[topic])
}

func (p *proc) deliver(topic string, n, again int) {
	from := max(0, p.fetch[topic]-int64(again))
	to := p.fetch[topic] + int64(n)
	recs := slices.Clone(p.w.topic(topic).recs[from:to])
	p.fetch[topic] = to
	p.m.Records(topic, recs, p.w.now)
	p.carry()
}

func (p *proc) start(e *Entry, behind []*Entry) {
	p.w.trace("%s: run %s attempt %d (%s/%d)", p.name, p.title(e), e.env.Attempt, e.env.Topic, e.env.Offset)
	if len(behind) > 0 {
		p.w.trace("%s: and behind it, %d more", p.name, len(behind))
	}
	p.checkRun(e)
	p.pool = append(p.pool, e)
	p.behind[e] = behind
}

// proceed starts what is chained to an attempt that has ended, or says what goes back unbegun.
func (p *proc) proceed(e *Entry, o job.Outcome) (back []*Entry) {
	rest := p.behind[e]
	delete(p.behind, e)
	if len(rest) == 0 {
		return nil
	}
	if !e.Breaks(&o) && p.m.phase == running && p.lease && rest[0].turn == p.m.turn {
		p.start(rest[0], rest[1:])
		return nil
	}
	for _, x := range rest {
		p.w.trace("%s: %s goes back", p.name, p.title(x))
		x.Return()
	}
	return rest
}

// end ends attempts with one outcome.
func (p *proc) end(es []*Entry, o job.Outcome) {
	var back []*Entry
	defer func() {
		if len(back) > 0 && !p.gone {
			p.m.Outcomes(back, p.w.now)
			p.carry()
		}
	}()
	for _, e := range es {
		if e.Outcome = o; o.Verdict == job.VerdictDone && e.env.Emitted != nil {
			p.emits[e.env.Identity] = true
		}
		p.pool = slices.DeleteFunc(p.pool, func(x *Entry) bool { return x == e })
		delete(p.active, e)
		if o.Verdict == job.VerdictDone && repeats(e) {
			p.w.done[e.env.Offset], p.done[e.env.Offset] = true, true
		} else if o.Verdict == job.VerdictDone && !p.gone && e.env.Emitted == nil {
			p.swallow(e)
			p.learn(dedupe.Receipt{Identity: e.env.Identity, State: dedupe.Done, Gen: e.env.Generation, Digest: e.env.Digest, Origin: e.env.Origin.Offset, Repeats: windowed(e.env.Kind)})
		}
	}
	for _, e := range es {
		back = append(back, p.proceed(e, o)...)
	}
	if p.gone {
		return
	}
	if p.w.part == 1 { // or a message later
		es, back = append(slices.Clone(es), back...), nil
	}
	p.m.Outcomes(es, p.w.now)
	p.carry()
}

func (p *proc) tick(durable bool) {
	p.m.Tick(durable, p.w.now)
	if at := p.m.NextDue(); at != 0 && at <= p.w.now {
		p.w.fail("%s: after a tick the next is due %d ns ago: its shard would spin", p.name, p.w.now-at)
	}
	p.carry()
}

// commit is the commit manager: it commits while the process is the member it was when it got the task.
func (p *proc) commit() {
	w := p.w
	for _, t := range slices.Sorted(maps.Keys(p.want)) {
		at := p.want[t]
		delete(p.want, t)
		if w.member != p {
			p.fenced = true
			continue
		}
		if c, ok := w.committed[t]; ok && c.ours && at < c.at && !(t == "main" && p.obeyed) {
			w.fail("I2: the committed offset of %s goes back from %d to %d", t, c.at, at)
		}
		if c, ok := w.committed[t]; ok && !c.ours && !p.obeyed {
			w.fail("REWIND: %s overwrites an operator's order on %s", p.name, t)
		}
		w.trace("%s: commit %s=%d", p.name, t, at)
		w.committed[t] = place{at, true}
	}
}

// crash ends the process; what it sent may still land.
func (p *proc) crash() {
	w := p.w
	p.gone = true
	for _, x := range append(p.logq, p.writes...) {
		if x.landed < max(1, len(x.parts)) {
			w.orphans = append(w.orphans, x)
		}
	}
	p.logq, p.writes, p.pool, p.answers, p.asks, p.read, p.again = nil, nil, nil, nil, 0, nil, nil
	clear(p.want)
	clear(p.active)
	clear(p.behind)
	if w.member == p {
		w.member = nil
	}
}

// settleDown takes every step that needs no handler, no record and no time.
func (p *proc) settleDown() {
	for p.step() {
		continue
	}
}

// step takes one of those, and reports whether there was one.
func (p *proc) step() bool {
	if p.gone {
		return false
	}
	switch {
	case len(p.logq) > 0:
		x := p.logq[0]
		for x.landed < len(x.parts) {
			x.landLog()
		}
		if err := x.answerLog(); err != nil {
			p.w.fail("%v", err)
		}
	case p.read != nil:
		p.readSome(100)
	case p.again != nil:
		p.readAgain(100)
	case p.asks > 0:
		p.heartbeat()
	case len(p.answers) > 0:
		p.prove()
	case len(p.writes) > 0:
		p.writes[0].landWrite()
		p.writes[0].answer()
	case len(p.want) > 0:
		p.commit()
	default:
		return false
	}
	return true
}

// fetchAll delivers what flows.
func (p *proc) fetchAll() {
	for _, t := range p.w.topics {
		if n := p.ready(t.name); n > 0 && !p.paused[t.name] {
			p.deliver(t.name, n, 0)
		}
	}
}

// run takes the task to where it runs.
func (w *world) runs(name string) *proc {
	p := w.assign(name)
	p.settleDown()
	return p
}
