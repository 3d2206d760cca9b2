package task

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// world is the cluster around the machines of one task, in memory: the partition of the job topic and of its tiers, the
// receipt log, the dead letters, the group's offsets, and the processes that own the task one after the other, or believe
// to. Nothing happens in it by itself: each test takes its steps.
type world struct {
	now        int64
	kinds      Catalog
	plan       retrytopics.Plan
	cluster    string
	width      int32 // partitions of the job topic; the world has its partition 0
	tiers      []Tier
	limits     Limits
	readAhead  time.Duration
	chain      int
	startEnd   bool
	keep       time.Duration
	maxHop     uint32
	topics     []*partition // the job topic first
	log        []logged
	folds      []fold // folds[n] is the naive fold of the first n entries
	committed  map[string]place
	letters    []*letter
	audits     map[job.Identity]string
	kept       map[enqueued]int // how often a job has made progress durable, as owners in force were told
	procs      []*proc
	member     *proc
	orphans    []*flight // of processes that are gone: they land late or never
	names      map[job.Identity]string
	redriven   map[job.Identity]uint32
	forgot     map[job.Identity]bool  // by order of an operator, at any time
	owed       map[int64]bool         // records of the job topic that are certainly jobs of their own
	redrivenAt map[job.Identity]int64 // origin of the last redrive
	done       map[int64]bool         // records of the job topic whose success leaves no receipt, and that succeeded
	rewound    bool                   // an operator's order on the job topic is not yet obeyed
	seq        int
	part       int // receipts in one log record
	trace      func(format string, a ...any)
	violation  string // the first one
	fuse       int    // effects that are carried out until a process ends between two of them; 0: none will
	burnt      int    // how often that has happened
	follows    int    // copies of followers
	holders    int    // letters of jobs that hold their keys
}

type place struct {
	at   int64
	ours bool
}

type partition struct {
	name  string
	id    dedupe.TopicID
	tier  bool
	delay time.Duration
	start int64 // log start
	recs  []Record
	ghost []*job.Envelope // what an independent reader makes of each
}

type logged struct {
	entry *dedupe.Entry
	by    *proc
}

// letter is a filed job as dlq would show it.
type letter struct {
	env       *job.Envelope
	disp      dlq.Disposition
	code      job.Code
	attempts  int
	truncated bool
}

var day0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld() *world {
	w := &world{now: day0.UnixNano() + 345_678, committed: map[string]place{}, audits: map[job.Identity]string{}, kept: map[enqueued]int{}, owed: map[int64]bool{}, redrivenAt: map[job.Identity]int64{}, names: map[job.Identity]string{},
		redriven: map[job.Identity]uint32{}, forgot: map[job.Identity]bool{}, done: map[int64]bool{}, part: 1000, keep: 10 * time.Minute, trace: func(string, ...any) {}}
	delays := []time.Duration{10 * time.Second, 2 * time.Minute}
	plan, err := retrytopics.NewPlan(delays)
	if err != nil {
		panic(err)
	}
	w.plan = plan
	w.topics = append(w.topics, &partition{name: "main", id: dedupe.TopicID{1}})
	for i, d := range delays {
		t := Tier{Topic: fmt.Sprintf("retry.%v", shortDur(d)), Delay: d}
		w.tiers = append(w.tiers, t)
		w.topics = append(w.topics, &partition{name: t.Topic, id: dedupe.TopicID{byte(i + 2)}, tier: true, delay: d})
	}
	kind := func(name, first string, o job.Order) *Kind {
		return &Kind{Name: name, FirstName: first, Version: 1, Policy: job.Policy{Order: o, MaxAttempts: 3, MaxAge: time.Hour,
			Backoff: job.Backoff{Jitter: job.NoJitter}}.WithDefaults()}
	}
	w.kinds = Catalog{"keyed": kind("keyed", "keyed", job.ByKey), "free": kind("free", "free", job.Unordered), "part": kind("part", "part", job.ByPartition)}
	w.kinds["oldkeyed"] = w.kinds["keyed"]
	w.kinds["strict"], w.kinds["holder"] = kind("strict", "strict", job.ByKeyStrict), kind("holder", "holder", job.ByKeyStrict)
	w.kinds["holder"].Policy.OnDead = job.Block
	w.kinds["again"] = kind("again", "again", job.ByKey)
	w.kinds["again"].Policy.Guarantee = job.AtLeastOnce
	for name, g := range map[string]job.Guarantee{"once": job.AtMostOnce, "asked": job.Reconciled} {
		w.kinds[name] = kind(name, name, job.ByKey)
		w.kinds[name].Policy.Guarantee = g
	}
	for name, window := range map[string]time.Duration{soon: soonWindow * time.Second, until: job.UntilDone} {
		w.kinds[name] = kind(name, name, job.ByKey)
		w.kinds[name].Policy.Window = window
	}
	w.folds = []fold{emptyFold()}
	return w
}

func shortDur(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func (w *world) topic(name string) *partition {
	for _, t := range w.topics {
		if t.name == name {
			return t
		}
	}
	return nil
}

func (w *world) main() *partition { return w.topics[0] }

// fail notes the first violated invariant.
func (w *world) fail(format string, a ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, a...)
		w.trace("VIOLATION %s", w.violation)
	}
}

func (w *world) time() time.Time { return time.Unix(0, w.now).UTC() }

// produce appends a job to the job topic.
func (w *world) produce(m job.Message) int64 {
	return w.append(w.main(), m.Key, m.Payload, job.ProducerHeaders(nil, &m))
}

// append adds a record with the broker's time, which is cut to milliseconds as Kafka's is.
func (w *world) append(t *partition, key, value []byte, headers []job.Header) int64 {
	r := Record{Offset: int64(len(t.recs)), Time: w.time().Truncate(time.Millisecond), Key: key, Value: value, Headers: headers}
	e := new(job.Envelope)
	trust := job.TrustJob
	if t.tier {
		trust = job.TrustCopy
	}
	job.Decode(e, &job.Raw{Topic: t.name, TopicID: hex.EncodeToString(t.id[:]), Offset: r.Offset, Time: r.Time, Key: key, Value: value}, headers, trust, "")
	if k := w.kinds[e.WireKind]; k != nil {
		e.Identify(k.Name, k.FirstName)
	} else {
		e.Identify(e.WireKind, e.WireKind)
	}
	if _, ok := w.names[e.Identity]; !ok {
		w.names[e.Identity] = e.Kind + "/" + e.ID
	}
	t.recs, t.ghost = append(t.recs, r), append(t.ghost, e)
	if !t.tier {
		w.owe(e)
	}
	return r.Offset
}

// redrive writes the copy that an operator's redrive of a letter writes.
func (w *world) redrive(l *letter, payload []byte) {
	e := *l.env
	e.Payload = payload
	gen := l.env.Generation + 1
	w.redriven[e.Identity], w.redrivenAt[e.Identity] = max(w.redriven[e.Identity], gen), e.Origin.Offset
	w.append(w.topics[1], e.Key, payload, job.CopyHeaders(nil, &e, &job.Stamp{Gen: gen, Origin: e.Origin}))
}

// land lets an entry reach the receipt log and checks what the log then says.
func (w *world) land(by *proc, e dedupe.Entry) int64 {
	e.Offset, e.Time = int64(len(w.log)), w.time()
	before := w.folds[len(w.folds)-1]
	after := before.apply(&e, by)
	w.log = append(w.log, logged{&e, by})
	w.folds = append(w.folds, after)
	w.checkLanded(&e, by, &before, &after)
	return e.Offset
}

// fold is what the log says, computed the plain way, as a check on the store and on the machine.
type fold struct {
	facts  map[job.Identity]fact
	epoch  int64
	owner  *proc
	fr     map[dedupe.TopicID]int64
	frEp   int64
	frFrom *proc
}

func emptyFold() fold { return fold{epoch: -1, frEp: -1} }

func (f fold) apply(e *dedupe.Entry, by *proc) fold {
	if e.Owner != nil {
		f.epoch, f.owner = e.Offset, by
		return f
	}
	if len(e.Segment.Forget) > 0 {
		f.facts = maps.Clone(f.facts)
		for _, id := range e.Segment.Forget {
			delete(f.facts, id)
		}
	}
	receipts := e.Segment.Receipts
	if e.Segment.Epoch == f.epoch { // marks of another are void
		receipts = slices.Concat(receipts, e.Segment.Marks)
	}
	if len(receipts) > 0 {
		f.facts = maps.Clone(f.facts)
		if f.facts == nil {
			f.facts = map[job.Identity]fact{}
		}
		for i := range receipts {
			r := &receipts[i]
			f.facts[r.Identity] = f.facts[r.Identity].join(factOf(r).landed(e))
		}
	}
	if e.Segment.Epoch != f.epoch || len(e.Segment.Frontiers) == 0 {
		return f
	}
	fr := map[dedupe.TopicID]int64{}
	if f.frEp == f.epoch {
		maps.Copy(fr, f.fr)
	}
	for _, x := range e.Segment.Frontiers {
		fr[x.Topic] = max(fr[x.Topic], x.Offset)
	}
	f.fr, f.frEp, f.frFrom = fr, f.epoch, by
	return f
}

// fact is a receipt, in the design's words.
type fact struct {
	state    dedupe.State
	gen, hop uint32
	digest   uint64
	suspect  bool // started by an owner that found it started
	repeats  bool // it may be enqueued again
	origin   int64
	at       uint32
	holding  bool // dead, or redriven, and its key is held
}

func factOf(r *dedupe.Receipt) fact {
	return fact{r.State, r.Gen, r.Hop, r.Digest, r.State == dedupe.Started && r.Code == job.CodeSuspect, r.Repeats, r.Origin, r.At, r.Code == job.CodeHolding}
}

func (a fact) landed(e *dedupe.Entry) fact {
	a.at = dedupe.Stamp(e.Time)
	return a
}

func (a fact) final() bool { return a.state >= dedupe.Expired }

// join: the maximum of (origin, where it may be enqueued again; done, generation, final: dead above discarded and expired, next hop, started by an owner that found it so above started above step above retrying).
func (a fact) join(b fact) fact {
	flag := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	end := func(f fact) int {
		switch f.state {
		case dedupe.Expired, dedupe.Discarded:
			return 1
		case dedupe.Dead, dedupe.Done:
			return 2
		}
		return 0
	}
	running := func(f fact) int {
		return flag(f.state == dedupe.Step) + 2*flag(f.state == dedupe.Started) + flag(f.suspect)
	}
	enqueue := func(f fact) int {
		return flag(f.repeats) * (1 + int(f.origin))
	}
	at := max(a.at, b.at)
	a.at, b.at = at, at
	c := cmp.Or(flag(b.state != 0)-flag(a.state != 0), enqueue(b)-enqueue(a), flag(b.state == dedupe.Done)-flag(a.state == dedupe.Done), cmp.Compare(b.gen, a.gen),
		end(b)-end(a), cmp.Compare(b.hop, a.hop), running(b)-running(a))
	if c > 0 {
		return b
	}
	return a
}

// stale: settled without running (design section 7, "Which record is live").
func (a fact) stale(gen, hop uint32) bool {
	return a.state != 0 && (a.state == dedupe.Done || gen < a.gen || gen == a.gen && (a.final() || a.hop > hop))
}

func (w *world) name(id job.Identity) string {
	if n, ok := w.names[id]; ok {
		return n
	}
	return id.String()[:8]
}

// starts is what an owner can look up of its partitions.
func (w *world) starts(topics []string) (out []Start) {
	for _, name := range topics {
		t := w.topic(name)
		s := Start{Topic: name, ID: t.id, Committed: -1, LeaderEpoch: -1, EpochEnd: -1, LogStart: t.start, LogEnd: int64(len(t.recs))}
		if c, ok := w.committed[name]; ok {
			s.Committed, s.Ours = c.at, c.ours
		}
		out = append(out, s)
	}
	return out
}

func (w *world) topicNames() (out []string) {
	for _, t := range w.topics {
		out = append(out, t.name)
	}
	return out
}

func (w *world) letterOf(id job.Identity, gen uint32, conflict bool) *letter {
	i := slices.IndexFunc(w.letters, func(l *letter) bool {
		return l.env.Identity == id && l.env.Generation == gen && (l.disp == dlq.Conflict) == conflict
	})
	if i < 0 {
		return nil
	}
	return w.letters[i]
}
