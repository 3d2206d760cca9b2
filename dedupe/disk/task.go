package disk

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// task is what a DB knows of one task, whether or not somebody has it open. Its receipts lie in the view's layers.
//
// mu is between the task's goroutine, which holds it while it changes something, and the worker. Get does without: the view is
// replaced as a whole, and what a view shows is changed by the task's goroutine only, or by nobody.
type task struct {
	db   *DB
	key  Key
	num  uint32 // of this incarnation: a task that was forgotten comes back under another, and what it had is never found
	view atomic.Pointer[view]

	mu      sync.Mutex
	open    *store // nil: nobody has it
	pos     dedupe.Position
	live    map[int64]int // jobs by the bucket of their newest receipt
	jobs    int           // their sum
	last    stamp
	expired []mark
	// What orders to forget hide, as of now: the task's goroutine changes it under mu and reads it without.
	forgotten map[job.Identity]oblivion
	sealed    uint64 // the round up to which its tables were frozen: what is active belongs to a later one
	weight    int    // what of db.hot is this task's
	frozen    state  // of the frozen round; see hasFrozen
	durable   state  // of what is on disk

	hasFrozen bool
	marked    bool // expired is news since the last freeze
	unproven  bool // opened, and nothing applied yet: the log may not be the one that was folded
}

// state is a task as of one position.
type state struct {
	pos       dedupe.Position
	live      map[int64]int
	last      stamp
	expired   []mark
	forgotten map[job.Identity]oblivion
}

// oblivion says that what rounds up to Round have written of a job is forgotten; the newest of it lies in Bucket.
type oblivion struct {
	Round  uint64
	Bucket int64
}

// stamp is what is remembered of the last entry folded, to know the log by.
type stamp struct {
	Offset int64  `json:"offset"`
	Sum    uint64 `json:"sum"`
	Bucket int64  `json:"bucket"`
}

// mark says that what was written in rounds below Below is forgotten where its bucket is below Limit.
type mark struct {
	Limit int64  `json:"limit"`
	Below uint64 `json:"below"`
}

// view is the layers of a task from the top. All but active are immutable.
type view struct {
	active *dedupe.Table
	frozen *dedupe.Table // nil: none
	round  uint64        // of frozen
	hidden []mark        // what of frozen is forgotten
	segs   []*segment    // visible ones, the newest receipts of a job first
}

func (db *DB) newTask(k Key, num uint32) *task {
	t := &task{db: db, key: k, num: num, sealed: db.round.Load(), pos: dedupe.NewPosition(), live: map[int64]int{}, last: stamp{Offset: -1}, forgotten: map[job.Identity]oblivion{},
		durable: state{pos: dedupe.NewPosition(), live: map[int64]int{}, last: stamp{Offset: -1}}}
	t.view.Store(&view{active: dedupe.NewTable(db.cfg.Bucket)})
	return t
}

// hides reports whether something of that bucket and round is forgotten.
func hides(marks []mark, bucket int64, round uint64) bool {
	for _, m := range marks {
		if bucket < m.Limit && round < m.Below {
			return true
		}
	}
	return false
}

// look replaces the view by one with these layers. The caller holds t.mu.
func (t *task) look(active, frozen *dedupe.Table, round uint64, segs []*segment) {
	v := &view{active: active, frozen: frozen, round: round, hidden: append([]mark(nil), t.expired...)}
	for i := len(segs) - 1; i >= 0; i-- {
		if s := segs[i]; s.has(t.num) && !hides(t.expired, s.bucket, s.order) {
			v.segs = append(v.segs, s)
		}
	}
	t.view.Store(v)
}

// find looks into the layers below the active table. A read that fails finds nothing and makes the DB fail. gone says that the
// view was replaced meanwhile and what it shows was taken away: look again.
func (v *view) find(t *task, id *job.Identity, h uint64) (r dedupe.Receipt, bucket int64, ok, gone bool) {
	below := uint64(0) // rounds up to this one are forgotten
	if len(t.forgotten) > 0 {
		below = t.forgotten[*id].Round
	}
	if v.frozen != nil && v.round > below {
		if r, bucket, ok = v.frozen.Find(id); ok && !hides(v.hidden, bucket, v.round) {
			return r, bucket, true, false
		}
	}
	from, to := t.db.front.look(h)
	if from > to {
		return dedupe.Receipt{}, 0, false, false
	}
	at := place(t.num, id)
	for _, s := range v.segs {
		switch {
		case s.order <= below, s.order < from, s.low > to, !s.contains(at, h):
		case t.db.read(s, t.num, id, &r):
			return r, s.bucket, true, false
		case t.view.Load() != v:
			return dedupe.Receipt{}, 0, false, true
		}
	}
	return dedupe.Receipt{}, 0, false, false
}

// Find is dedupe.Below for the active table. The caller holds t.mu, so that the view stays.
func (t *task) Find(id *job.Identity) (r dedupe.Receipt, bucket int64, ok bool) {
	h := hash(t.db.seed, t.num, id)
	if t.db.absent.take(h) {
		return r, 0, false
	}
	r, bucket, ok, _ = t.view.Load().find(t, id, h)
	return r, bucket, ok
}

// absent remembers hashes of receipts that were looked for in vain, until the receipt comes or another takes the place.
// What is absent below the active table stays so: only the task's own receipts get there, through that table.
type absent []atomic.Uint64

const absentPlaces = 1 << 18 // 2 MiB: a job is in flight for a tick or two

func (a absent) at(h uint64) *atomic.Uint64 { return &a[h&(absentPlaces-1)] }

func (a absent) note(h uint64) { a.at(h).Store(h) }

func (a absent) take(h uint64) bool {
	p := a.at(h)
	return p.Load() == h && h != 0 && p.CompareAndSwap(h, 0)
}

// store is a task in somebody's hands: dedupe.Store. Another one for the same task takes it away.
type store struct{ t *task }

// Get implements dedupe.Store.
func (s *store) Get(id job.Identity) (dedupe.Receipt, bool) {
	t := s.t
	h := hash(t.db.seed, t.num, &id)
	for {
		v := t.view.Load()
		if r, _, ok := v.active.Find(&id); ok {
			return r, true
		}
		r, _, ok, gone := v.find(t, &id, h)
		switch {
		case gone:
			continue
		case !ok:
			t.db.absent.note(h)
		}
		return r, ok
	}
}

// Apply implements dedupe.Store. The first entry after the task was opened may be the last one folded before: it is compared
// with what is remembered of that, and ErrDiverged says that the log has another there.
func (s *store) Apply(e *dedupe.Entry) error {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open != s {
		return dedupe.ErrClosed
	}
	if t.unproven && e.Offset == t.last.Offset && (e.Owner == nil) != (e.Segment == nil) {
		if now := stampOf(e, t.db.cfg.Bucket); now.Sum != t.last.Sum {
			return ErrDiverged
		}
	}
	t.unproven = false
	fold, marks, err := t.pos.Fold(e)
	if !fold {
		return err
	}
	t.last = stampOf(e, t.db.cfg.Bucket)
	active := t.view.Load().active
	before := active.Weight()
	if e.Segment != nil {
		for i := range e.Segment.Forget {
			t.forgetJob(active, &e.Segment.Forget[i])
		}
		t.join(active, e.Segment.Receipts, t.last.Bucket, dedupe.Stamp(e.Time))
		if marks {
			t.join(active, e.Segment.Marks, t.last.Bucket, dedupe.Stamp(e.Time))
		}
	}
	more := 1 + active.Weight() - before // an entry without receipts has to be read again too
	t.weight += more
	t.db.grow(more)
	return nil
}

func (t *task) join(active *dedupe.Table, list []dedupe.Receipt, bucket int64, stamp uint32) {
	fresh := 0
	for i := range list {
		if i%together == 0 {
			next := list[i:min(i+together, len(list))]
			active.Fetch(next)
			t.fetch(next)
		}
		was, known, counts := active.Join(&list[i], bucket, stamp, t)
		switch {
		case !counts:
		case !known:
			fresh++
		case was < bucket:
			t.live[was]--
			t.live[bucket]++
		}
	}
	if fresh > 0 {
		t.live[bucket] += fresh
		t.jobs += fresh
	}
}

// together is how many receipts are joined at a time: what they look at is fetched from memory side by side.
const together = 32

// fetch brings what Find of these jobs looks at first into the cache. The caller holds t.mu.
func (t *task) fetch(list []dedupe.Receipt) (sum uint64) {
	var hashes [together]uint64
	for i := range list {
		hashes[i] = hash(t.db.seed, t.num, &list[i].Identity)
		sum |= t.db.absent.at(hashes[i]).Load()
	}
	asked := hashes[:0]
	for _, h := range hashes[:len(list)] {
		if t.db.absent.at(h).Load() != h { // of the others no more is asked
			asked = append(asked, h)
		}
	}
	if len(asked) == 0 {
		return sum
	}
	if v := t.view.Load(); v.frozen != nil {
		sum |= uint64(v.frozen.Fetch(list))
	}
	return sum | t.db.front.fetch(asked)
}

// forgetJob carries an order to forget out.
func (t *task) forgetJob(active *dedupe.Table, id *job.Identity) {
	_, bucket, known := active.Find(id)
	if known {
		active.Forget(id)
	}
	if _, below, ok := t.Find(id); ok {
		if !known {
			bucket, known = below, true
		}
		t.forgotten[*id] = oblivion{t.sealed, max(below, t.forgotten[*id].Bucket)}
	}
	if known {
		t.live[bucket]--
		t.jobs--
	}
}

// Expire implements dedupe.Store.
func (s *store) Expire(before time.Time) {
	t := s.t
	limit := dedupe.BucketOf(before, t.db.cfg.Bucket)
	t.mu.Lock()
	if t.open == s {
		t.view.Load().active.Expire(limit)
		t.forget(limit)
	}
	t.mu.Unlock()
	t.db.expire(limit)
}

// forget hides what is written and lies in a bucket below limit. The caller holds t.mu.
func (t *task) forget(limit int64) {
	for b, n := range t.live {
		if b < limit {
			t.jobs -= n
			delete(t.live, b)
		}
	}
	for id, f := range t.forgotten {
		if f.Bucket < limit {
			delete(t.forgotten, id)
		}
	}
	now := mark{limit, t.sealed + 1}
	v := t.view.Load()
	if v.frozen == nil && len(v.segs) == 0 {
		return
	}
	kept := []mark{now}
	for _, m := range t.expired {
		if m.Limit > now.Limit { // its rounds are older ones
			kept = append(kept, m)
		}
	}
	t.expired, t.marked = kept, true // a new slice: views and states keep the old one
	c := *v
	c.hidden, c.segs = t.expired, nil
	for _, s := range v.segs {
		if !hides(t.expired, s.bucket, s.order) {
			c.segs = append(c.segs, s)
		}
	}
	t.view.Store(&c)
}

// Position implements dedupe.Store.
func (s *store) Position() dedupe.Position {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.pos.Clone()
}

// Unfinished implements dedupe.Store. What a layer has may be overtaken by one above, so each job is looked up once more.
func (s *store) Unfinished(f func(dedupe.Receipt)) {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.view.Load()
	told := map[job.Identity]struct{}{}
	below := func(id *job.Identity) {
		if _, again := told[*id]; again {
			return
		}
		told[*id] = struct{}{}
		if _, _, above := v.active.Find(id); above {
			return
		}
		if r, _, ok, _ := v.find(t, id, hash(t.db.seed, t.num, id)); ok && r.Unfinished() {
			f(r)
		}
	}
	v.active.Unfinished(func(r dedupe.Receipt, _ int64) { f(r) })
	if v.frozen != nil {
		v.frozen.Unfinished(func(r dedupe.Receipt, _ int64) { below(&r.Identity) })
	}
	for _, seg := range v.segs {
		t.db.unfinished(seg, t.num, below)
	}
}

// Len implements dedupe.Store.
func (s *store) Len() int {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	return s.t.jobs
}

// Close implements dedupe.Store. The DB keeps what the task knows, for whoever opens it next.
func (s *store) Close() error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.t.open == s {
		s.t.open = nil
	}
	return nil
}

// stampOf tells entries of one offset apart without reading all of them: an entry that somebody else wrote there has another
// owner, epoch, frontiers or receipts. Its time is not compared: an owner does not learn the broker's.
func stampOf(e *dedupe.Entry, width time.Duration) stamp {
	h := uint64(1469598103934665603)
	add := func(v uint64) { h = (h ^ v) * 1099511628211; h ^= h >> 29 }
	text := func(s string) {
		for i := range len(s) {
			add(uint64(s[i]))
		}
		add(math.MaxUint64)
	}
	if o := e.Owner; o != nil {
		text(o.Process)
		text(o.Instance)
	}
	if s := e.Segment; s != nil {
		add(uint64(s.Epoch))
		add(uint64(s.Release))
		add(uint64(len(s.Frontiers)))
		for _, f := range s.Frontiers {
			add(uint64(f.Offset))
		}
		add(uint64(len(s.Forget)))
		for i := range s.Forget {
			text(string(s.Forget[i][:]))
		}
		for _, list := range [...][]dedupe.Receipt{s.Receipts, s.Marks} {
			add(uint64(len(list)))
			for _, i := range [...]int{0, len(list) - 1} {
				if len(list) > 0 {
					text(string(list[i].Identity[:]))
				}
			}
		}
	}
	return stamp{e.Offset, h, dedupe.BucketOf(e.Time, width)}
}
