package task

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// Order through retries (design section 8). A job of a kind that is ordered by key, strictly, starts when no job of its key that
// entered the job topic before it is unfinished. The lanes see to those that never left memory; what is unfinished elsewhere
// is a blocker: a job of whichever kind that hopped, or whose way out of its lane is not acked yet, or that is dead and holds
// its key, or a strict one that waits for such a job.
//
// A strict job that comes to the head of its lane behind a blocker leaves the lane, so that others of its key go on. Where the
// first blocker of the key is in memory, and due or nearly so, the job waits for it there; else it follows: it hops to the tier
// of that one, due with it. So no record pins a tier for one that stands behind it there. The set of a key is ordered by the
// offset at which the jobs entered; it is made of receipts when the task is owned and when others wrote to the log, and kept up
// as entries are written, settled and read.
//
// None of this exists in a task without a strict kind.

// strict is what the machine knows of unfinished jobs, by their keys.
type strict struct {
	keys map[uint64]*queue // by job.KeyHash; none is empty
	full map[uint64]*queue // those that hold up the job topic
	told job.Identity      // whose name the pause has
}

// queue is the blockers of one key.
type queue struct {
	all   []blocker // in the order in which they entered the job topic
	waits int       // how many of them do
	most  int       // followers before the job topic is paused; 0: no strict job stood behind another yet
}

// blocker is one unfinished job. Its entry is the record of it that is in memory, if one is.
type blocker struct {
	id     job.Identity
	origin int64
	entry  *Entry
	waits  bool     // entry is out of its lane, until a blocker before it goes
	also   []*Entry // other records of the job that wait
	hops   bool     // entry is on its way to a tier
	dead   bool     // and holds its key
	due    int64    // when its copy is, 0 for not known
	tier   int      // where that is, -1 for not known
	name   string
}

func newStrict(kinds Catalog) *strict {
	for _, k := range kinds {
		if k.strict() {
			return &strict{keys: map[uint64]*queue{}, full: map[uint64]*queue{}}
		}
	}
	return nil
}

// strict reports whether jobs of the kind keep their order through retries.
func (k *Kind) strict() bool { return k != nil && k.Policy.Order == job.ByKeyStrict }

// Breaks reports whether an outcome of the entry sends back what is chained to it: it has not had its turn, or the order is
// strict and its job has not ended.
func (e *Entry) Breaks(o *job.Outcome) bool {
	return o.Verdict == job.VerdictCancelled || e.Kind.strict() && (o.Verdict != job.VerdictDone || e.env.Emitted != nil)
}

// ordered reports whether e keeps its place in the order of its key.
func (e *Entry) ordered() bool {
	return e.Kind.strict() && e.env.Key != nil && e.env.Fault == "" && e.unread == ""
}

// where is the place of a job in the order: where it is, or belongs.
func (q *queue) where(origin int64, id *job.Identity) (int, bool) {
	at, ok := slices.BinarySearchFunc(q.all, origin, func(b blocker, o int64) int { return cmp.Compare(b.origin, o) })
	return at, ok && q.all[at].id == *id
}

// place is the blocker of an entry's job in its key's queue, nil when it is none.
func (s *strict) place(e *Entry) (*queue, *blocker) {
	if e.env.Key == nil {
		return nil, nil
	}
	q := s.keys[job.KeyHash(e.env.Key)]
	if q == nil {
		return nil, nil
	}
	if at, ok := q.where(e.env.Origin.Offset, &e.env.Identity); ok {
		return q, &q.all[at]
	}
	return q, nil
}

// put makes a job a blocker, if it is none.
func (s *strict) put(hash uint64, origin int64, id *job.Identity) *blocker {
	q := s.keys[hash]
	if q == nil {
		q = &queue{}
		s.keys[hash] = q
	}
	at, ok := q.where(origin, id)
	if !ok {
		q.all = slices.Insert(q.all, at, blocker{id: *id, origin: origin, tier: -1})
	}
	return &q.all[at]
}

// putEntry makes the job of an entry a blocker.
func (s *strict) putEntry(e *Entry) *blocker {
	b := s.put(job.KeyHash(e.env.Key), e.env.Origin.Offset, &e.env.Identity)
	b.entry = e
	if b.name == "" {
		b.name = strings.Clone(e.env.WireKind + "/" + e.env.ID)
	}
	return b
}

// first is the blocker that e stands behind, nil for none.
func (q *queue) first(e *Entry) *blocker {
	for i := range q.all {
		switch b := &q.all[i]; {
		case b.origin >= e.env.Origin.Offset:
			return nil
		case b.id != e.env.Identity:
			return b
		}
	}
	return nil
}

// near reports whether the job runs, or will without another hop, in less time than a hop is worth.
func (b *blocker) near(now int64) bool {
	return b.entry != nil && !b.hops && (b.entry.state != waitingDue || b.entry.ready-now < hopWorth)
}

// seen is told of an entry that is admitted: the copy of a blocker is here, and when it is due is known.
func (m *Machine) seen(e *Entry) {
	_, b := m.strict.place(e)
	if b == nil || b.entry != nil && !b.hops || m.view(e.env.Identity).StaleAt(e.env.Origin.Offset, e.env.Generation, e.env.Hop) {
		return
	}
	m.strict.putEntry(e).hops = false
	if e.src.tier >= 0 {
		b.due, b.tier = e.ready, m.tierOf(e.src)
	}
}

// tierOf is the place of a source among the tiers that copies go to, -1 for none of them.
func (m *Machine) tierOf(s *source) int {
	return slices.IndexFunc(m.cfg.Tiers, func(t Tier) bool { return t.Topic == s.topic })
}

// enters notes of a copy that comes to its lane whether jobs before it may still have to be read from the job topic: it is
// early then. What was below the place where the reading began had ended, or left receipts.
func (m *Machine) enters(e *Entry) {
	e.early = m.tooEarly(e)
}

// tooEarly reports whether jobs before a copy may still have to be read from the job topic, for the first time or again.
func (m *Machine) tooEarly(e *Entry) bool {
	return e.ordered() && e.src.tier >= 0 && e.env.Generation == 0 && (!m.main.ready || e.env.Origin.Offset >= m.readTo(e.lane))
}

// overtaken is told of an entry that was set aside and comes back to its lane: copies there of jobs behind it are early.
func (m *Machine) overtaken(e *Entry) {
	if !e.ordered() {
		return
	}
	for o := m.lanes[e.lane]; o != nil; o = o.prev {
		if o.src.tier >= 0 && o.env.Generation == 0 && o.ordered() && o.env.Origin.Offset > e.env.Offset {
			o.early = true
		}
	}
}

// knows reports whether an entry's job is a blocker.
func (s *strict) knows(e *Entry) bool {
	_, b := s.place(e)
	return b != nil
}

// standsBehind sees to a strict job at the head of its lane that may not start yet; of one that may it reports false.
func (m *Machine) standsBehind(e *Entry) bool {
	if m.strict == nil || !e.ordered() {
		return false
	}
	if e.early || m.tooEarly(e) {
		m.hopAlong(e, 0, 0)
		return true
	}
	q, own := m.strict.place(e)
	if q == nil || own == nil && e.env.Generation > 0 {
		return false
	}
	b := q.first(e)
	switch {
	case b == nil:
		return false
	case b.near(m.now) && e.src.tier < 0 && m.far.possible:
		// Waiting it would hold the frontier back, and b may stand in its lane behind a job that waits for that (ahead.go).
		m.hopAlong(e, max(b.tier, 0), m.now)
	case b.near(m.now):
		e.state = held
		if own != nil && own.waits {
			own.also = append(own.also, e)
		} else {
			m.strict.putEntry(e).waits = true
			q.waits++
		}
		m.leave(e)
	case b.dead: // nobody knows for how long
		m.hopAlong(e, m.cfg.Plan.Larger(m.tierOf(e.src)), 0)
	default:
		m.hopAlong(e, max(b.tier, 0), b.due)
	}
	m.strict.crowd(e, m.readTo(e.lane))
	return true
}

// hopAlong has e follow to a tier, due at that time; 0 is as late as the tier allows. It is no failure and burns no attempt.
func (m *Machine) hopAlong(e *Entry, tier int, due int64) {
	d := m.cfg.Tiers[tier].Delay
	if due != 0 {
		d = min(d, max(time.Duration(due-m.now), time.Duration(hopWorth)))
	}
	env := &e.env
	m.hop(e, tier, job.Stamp{Attempts: env.Attempt - 1, Delay: d.Truncate(time.Millisecond), First: env.FirstFailure, Code: env.LastCode, Text: env.LastError}, job.CodeFollows)
}

// mostHops is how often a job of a kind may hop. Those of a strict one are mostly not its own.
func (m *Machine) mostHops(k *Kind) uint32 {
	if k.strict() {
		return math.MaxUint32 / 2
	}
	return m.cfg.MaxHop
}

// holdsKey reports whether the job of an entry holds its key when it is dead, until a redrive of it ends otherwise or its receipt
// is forgotten.
func (m *Machine) holdsKey(e *Entry) bool {
	if m.strict == nil || !e.ordered() || e.Kind.Policy.OnDead != job.Block {
		return false
	}
	if e.env.Generation == 0 {
		return true
	}
	_, b := m.strict.place(e)
	return b != nil
}

// sent is told of an entry that has left its lane, for a record to be acked. Before the ack nothing behind it starts; what
// follows a hop does so at once.
func (m *Machine) sent(w *Write) {
	e := w.Entry
	if e.env.Key == nil || w.end == EndConflict {
		return
	}
	switch q, b := m.strict.place(e); {
	case b != nil:
		m.wake(q, b)
	case e.env.Generation > 0:
		return
	}
	b := m.strict.putEntry(e)
	b.dead, b.hops = false, w.Dest == ToTier
	if b.hops {
		b.due, b.tier = m.now+int64(w.Stamp.Delay), w.tier
	}
	m.stir(job.KeyHash(e.env.Key))
}

// ended is told of an entry that is settled: its job has ended, or is elsewhere.
func (m *Machine) ended(e *Entry) {
	q, b := m.strict.place(e)
	if b == nil {
		return
	}
	if b.entry == e {
		b.entry, b.hops = nil, false
	}
	if b.entry == nil && !m.unfinished(b) {
		at, _ := q.where(b.origin, &b.id)
		q.all = slices.Delete(q.all, at, at+1)
	}
	m.stir(job.KeyHash(e.env.Key))
}

// unfinished asks the receipts about a blocker of which no record is in memory.
func (m *Machine) unfinished(b *blocker) bool {
	r := m.view(b.id)
	b.dead = r.State == dedupe.Dead
	return r.Origin == b.origin && r.Blocks()
}

// stir is called when the first blocker of a key may be another, or elsewhere. What waits goes back to its lane, to be decided
// on when it is its head: the first, whose turn it may be; or all, since the first is away.
func (m *Machine) stir(hash uint64) {
	q := m.strict.keys[hash]
	if q == nil {
		return
	}
	if len(q.all) == 0 {
		delete(m.strict.keys, hash)
		delete(m.strict.full, hash)
		return
	}
	first := &q.all[0]
	if first.waits {
		m.wake(q, first)
		return
	}
	if first.near(m.now) {
		return
	}
	for i := 0; i < len(q.all) && q.waits > 0; i++ {
		m.wake(q, &q.all[i])
	}
}

// wake has the records of a job that wait go back to their lane.
func (m *Machine) wake(q *queue, b *blocker) {
	if !b.waits {
		return
	}
	b.waits = false
	q.waits--
	m.enqueue(b.entry)
	for _, e := range b.also {
		m.enqueue(e)
	}
	b.also = nil
}

// reorder makes the blockers anew of what is known of jobs that have not ended: when the task is owned, and when others wrote
// to its log. What memory knows of them stays.
func (m *Machine) reorder() {
	if m.strict == nil {
		return
	}
	var ids []job.Identity
	m.cfg.Store.Unfinished(func(r dedupe.Receipt) {
		if r.Blocks() {
			ids = append(ids, r.Identity)
		}
	})
	for _, list := range [][]dedupe.Receipt{m.inFlight.list, m.pending.list} {
		for i := range list {
			if list[i].Blocks() {
				ids = append(ids, list[i].Identity)
			}
		}
	}
	for i := range ids {
		if r := m.view(ids[i]); r.Blocks() {
			m.strict.put(r.KeyHash, r.Origin, &r.Identity)
		}
	}
	for _, hash := range slices.Sorted(maps.Keys(m.strict.keys)) {
		q := m.strict.keys[hash]
		q.all = slices.DeleteFunc(q.all, func(b blocker) bool { return b.entry == nil && !m.unfinished(&b) })
		for i := range q.all {
			if b := &q.all[i]; b.entry == nil {
				m.unfinished(b) // says whether it is dead
			}
		}
		m.stir(hash)
	}
}

// free reports whether nothing of an entry's key is unfinished elsewhere.
func (s *strict) free(e *Entry) bool {
	q, b := s.place(e)
	return q == nil || len(q.all) == 1 && b != nil
}
