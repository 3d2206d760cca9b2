package task

import (
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

var (
	simSeed = flag.Uint64("task.seed", 0, "run the simulation of this seed only, and print its trace")
	simRuns = flag.Int("task.runs", 4000, "simulated histories")
)

// sim drives a world by choices. A source of choices is all that a history depends on, so that it replays.
type sim struct {
	*world
	choose func(n int) int // 0 to n-1; -1 when there are no more
	left   map[string]int  // faults left
	count  map[string]int  // steps taken, by name
	jobs   int
	ended  bool // choices ran out
}

func (s *sim) pick(n int) int {
	if n <= 1 {
		return 0
	}
	c := s.choose(n)
	if c < 0 {
		s.ended = true
		return 0
	}
	return c
}

func (s *sim) one(n int) bool { return s.pick(n) == n-1 } // rarely true; false when choices ran out

type step struct {
	weight int
	name   string
	do     func()
}

// simulate runs one history: a random part with faults, then peace until everything is final, then a drain.
func simulate(choose func(int) int, steps int, trace func(string, ...any)) (s *sim) {
	s = &sim{world: newWorld(), choose: choose, count: map[string]int{}}
	s.trace = trace
	s.part = 1 + s.pick(3)
	if s.one(3) {
		s.limits = Limits{Records: 3, Bytes: 1 << 20, Tier: 3, TierB: 1 << 20, Ahead: 4}
	}
	s.left = map[string]int{"crash": 2, "zombie": 2, "dup": 2, "lose": 1, "rewind": 1, "redrive": 3, "abandon": 1, "revoke": 2, "lease": 2, "tier late": 1}
	for i := 0; i < steps && !s.ended && s.violation == ""; i++ {
		s.step()
	}
	if s.violation == "" {
		s.peace()
	}
	return s
}

func (s *sim) step() {
	var all []step
	add := func(weight int, name string, do func()) { all = append(all, step{weight, name, do}) }
	s.clusterSteps(add)
	for _, p := range s.procs {
		if !p.gone {
			s.procSteps(p, add)
		}
	}
	total := 0
	for _, x := range all {
		total += x.weight
	}
	n := s.pick(total)
	for _, x := range all {
		if n -= x.weight; n < 0 {
			s.take(x)
			return
		}
	}
}

func (s *sim) take(x step) {
	lazy := strings.HasPrefix(x.name, "input ") && s.one(4) // the next input comes before the effects are carried out
	for _, p := range s.procs {
		if p.lazy && !strings.HasPrefix(x.name, "input ") {
			p.lazy = false
			p.carry()
		}
	}
	before := s.lazies(lazy)
	s.count[x.name]++
	s.trace("# %s", x.name)
	x.do()
	if !lazy {
		for _, p := range before {
			p.lazy = false
			p.carry()
		}
		s.check()
	}
}

func (s *sim) lazies(on bool) (was []*proc) {
	for _, p := range s.procs {
		if p.lazy {
			was = append(was, p)
		}
		if on && !p.gone {
			p.lazy = true
		}
	}
	return was
}

func (s *sim) fault(name string) bool { return s.left[name] > 0 }

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
			payload := l.env.Payload
			if s.one(3) {
				payload = append(slices.Clone(payload), 'x')
			}
			s.redrive(l, payload)
		})
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
	m := job.Message{Kind: []string{"keyed", "keyed", "free", "part", "oldkeyed", "mystery"}[s.pick(6)], ID: fmt.Sprintf("j%d", s.pick(5)),
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
		m.Version = 2
	case 6: // malformed: two kinds
		h := job.ProducerHeaders(nil, &m)
		s.append(s.main(), m.Key, m.Payload, append(h, h[0]))
		return
	case 7: // foreign
		s.append(s.main(), m.Key, m.Payload, nil)
		return
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
		add(1, "crash", func() { s.left["crash"]--; p.crash() })
	}
	if s.fault("lease") && p.lease {
		add(1, "lease ends", func() { s.left["lease"]--; p.lease = false; p.m.Hold(Lease, true, s.now); p.carry() })
	} else if !p.lease && s.member == p {
		add(15, "lease comes back", func() { p.lease = true; p.m.Hold(Lease, false, s.now); p.carry() })
	}
	if s.member != p || p.drained {
		if s.member != p && !p.m.Gone() {
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
	p.end(es, o)
}

// peace: no more faults; whoever is not the member ends; handlers succeed; everything must become final and durable (I14,
// I15), every frontier reach the end, and a drain end.
func (s *sim) peace() {
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
	if p.m.byTopic["retry.2m"] == nil {
		p.m.AddTier("retry.2m", s.topics[2].id, 2*time.Minute, s.now)
		p.carry()
	}
	for range 400 {
		s.calm(p)
		if s.violation != "" || s.finished(p) {
			break
		}
		s.now = max(s.now+1e8, p.m.NextDue())
	}
	if s.violation == "" && !s.finished(p) {
		s.fail("I15: not everything is final: %s", s.unfinished(p))
	}
	s.drainLast(p)
}

func (x *flight) landAll() {
	if x.write != nil {
		x.landWrite()
		return
	}
	for x.landed < len(x.parts) {
		x.landLog()
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
		if !f.facts[id].final() {
			return fmt.Sprintf("%s is %+v", s.name(id), f.facts[id])
		}
	}
	return ""
}

func (s *sim) drainLast(p *proc) {
	for range 3 { // what another owner left in the log is found now: a drain that finds it lets go at once
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

// random is a source of choices from a seed.
func random(seed uint64) func(int) int {
	r := rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15))
	return r.IntN
}

// TestSimulation runs thousands of random histories and checks the invariants after each step. A failure prints its seed;
// -task.seed replays it with its trace.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		explain(t, random(*simSeed), 150)
		return
	}
	runs := *simRuns
	if testing.Short() {
		runs /= 10
	}
	count := map[string]int{}
	for seed := uint64(1); seed <= uint64(runs); seed++ {
		s := simulate(random(seed), 150, func(string, ...any) {})
		if s.violation != "" {
			t.Errorf("seed %d: %s\nreplay with: go test ./consumer/internal/task -run TestSimulation -task.seed %d", seed, s.violation, seed)
			explain(t, random(seed), 150)
			return
		}
		for k, n := range s.count {
			count[k] += n
		}
	}
	for _, must := range []string{"produce", "rewind", "lose offsets", "redrive", "orphan lands", "crash", "zombie", "zombie notices", "revoke", "drain takes too long",
		"lease ends", "tier comes later", "log refused", "log ack lost", "input write refused", "input write ack lost", "commit"} {
		if count[must] == 0 {
			t.Errorf("no history had the step %q", must)
		}
	}
	if testing.Verbose() {
		for _, k := range slices.Sorted(maps.Keys(count)) {
			t.Logf("%8d %s", count[k], k)
		}
	}
}

func explain(t *testing.T, choose func(int) int, steps int) {
	var b strings.Builder
	s := simulate(choose, steps, func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) })
	lines := strings.Split(b.String(), "\n")
	if n, _ := strconv.Atoi(os.Getenv("TASK_TRACE_LINES")); n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	t.Logf("%s", strings.Join(lines, "\n"))
	if s.violation != "" {
		t.Fatal(s.violation)
	}
}

// FuzzMachine lets the fuzzer choose the steps of a history; each byte or two is a choice.
func FuzzMachine(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 8 {
		b := make([]byte, 40*(n+1))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bytes := func() func(int) int {
			rest := data
			return func(n int) int {
				if len(rest) < 2 {
					return -1
				}
				if n <= 256 {
					c := int(rest[0]) % n
					rest = rest[1:]
					return c
				}
				c := int(binary.LittleEndian.Uint16(rest)) % n
				rest = rest[2:]
				return c
			}
		}
		if s := simulate(bytes(), 300, func(string, ...any) {}); s.violation != "" {
			explain(t, bytes(), 300)
		}
	})
}
