package checker

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// world is a correct engine in miniature, under a virtual clock of milliseconds: it keeps receipts in memory, makes them
// durable each tick, loses what was not durable with its process, and obeys the rules the checker holds runs against. It
// exists to find false alarms: whatever faults it meets, the checker must be content.
type world struct {
	*script
	rng    *rand.Rand
	now    int
	left   int // jobs still to be produced
	made   []made
	tasks  []*task
	alive  []*worker
	paused []*worker
	named  int
	down   int // the broker is down until then; 0: it is up
	fault  map[ledger.Fault]bool
	bug    string // a rule this engine breaks; empty: none
}

type made struct {
	spec
	p int32
}

type worker struct {
	name  string
	wakes int // paused until then; 0: it runs
	owed  []owed
}

// owed is a receipt a paused process has not written yet; it will when it wakes.
type owed struct {
	task *task
	id   string
	r    receipt
}

type receipt struct {
	known, done, final bool
	gen, hop           int
	digest             string
	origin             int64
	key                string
	strict             bool
	started            [2]int // generation+1 and hop of a durable started mark
}

const (
	waits = iota
	runs
	settled
	durable
)

type held struct {
	*recInfo
	tier  int // -1: the job topic
	due   int
	state int
}

type attempt struct {
	*held
	by    *worker
	end   int
	late  bool // its process does not own the task any more
	got   ledger.Result
	delay int // asked for
}

type task struct {
	p       int32
	owner   *worker
	fence   int64
	from    int // the owner begins then
	drains  int // revoked: no new attempts, over at this time
	logs    [3][]*held
	store   map[string]receipt
	saved   map[string]receipt
	pending []string // identities in store that are newer than in saved
	running []*attempt
	parked  []*attempt // returned while the broker was down
}

const (
	tick  = 10
	drain = 6
	lease = 60
)

var worldKinds = []string{"key.a", "key.b", "strict.c", "part.d", "free.e", "key.amo", "free.alo"}

func newWorld(seed uint64, jobs int, faults ...ledger.Fault) *world {
	w := &world{script: newScript(), rng: rand.New(rand.NewPCG(seed, 1)), left: jobs, fault: map[ledger.Fault]bool{}}
	for _, f := range faults {
		w.fault[f] = true
	}
	for _, kind := range worldKinds {
		w.in.Kinds[kind] = Kind{MaxAttempts: 3}
	}
	w.in.Kinds["key.amo"] = Kind{MaxAttempts: 3, Guarantee: AtMostOnce}
	w.in.Kinds["free.alo"] = Kind{MaxAttempts: 3, Guarantee: AtLeastOnce}
	w.in.Timing = Timing{RerunWindow: (tick + 2) * 1e6, Lease: lease * 1e6, Drain: drain * 1e6}
	for range 2 {
		w.spawn()
	}
	for p := range int32(3) {
		t := &task{p: p, store: map[string]receipt{}, saved: map[string]receipt{}}
		w.tasks = append(w.tasks, t)
		w.assign(t, 1)
	}
	return w
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

func (w *world) spawn() *worker {
	w.named++
	x := &worker{name: fmt.Sprintf("w%d", w.named)}
	w.alive = append(w.alive, x)
	return x
}

// finish lets the world run until it is idle, or until a time, and reports whether it is idle.
func (w *world) finish(until int) bool {
	defer func() { w.in.Ended = ms(w.now) }()
	for w.now < until {
		w.now++
		if w.left > 0 && w.chance(60) {
			w.enqueue()
		}
		w.faults()
		idle := w.left == 0
		for _, t := range w.tasks {
			w.work(t)
			idle = idle && t.idle()
		}
		if idle {
			return true
		}
	}
	return false
}

func (t *task) idle() bool {
	for _, log := range t.logs {
		if slices.ContainsFunc(log, func(h *held) bool { return h.state != durable }) {
			return false
		}
	}
	return t.owner != nil && len(t.running) == 0 && len(t.parked) == 0
}

// enqueue produces a fresh job, or one that was produced before: with the same payload or with another.
func (w *world) enqueue() {
	w.left--
	var j made
	if len(w.made) > 0 && w.chance(12) {
		j = w.made[w.rng.IntN(len(w.made))]
		if w.chance(30) {
			j.payload += "'"
		}
	} else {
		kind := worldKinds[w.rng.IntN(len(worldKinds))]
		j = made{spec{kind: kind, key: kind + fmt.Sprint(w.rng.IntN(4)), id: fmt.Sprint(len(w.made)), payload: "p"}, int32(w.rng.IntN(len(w.tasks)))}
		if w.chance(6) {
			j.at = w.now + w.rng.IntN(100)
		}
		if w.chance(4) {
			j.expires = w.now + w.rng.IntN(60)
		}
		w.made = append(w.made, j)
	}
	w.read(w.produce(w.now, j.p, j.spec), -1, 0)
}

// read hands a new record to its task.
func (w *world) read(pos ledger.Pos, tier, delay int) {
	t := w.tasks[pos.Partition]
	t.logs[tier+1] = append(t.logs[tier+1], &held{recInfo: w.info[pos], tier: tier, due: w.now + delay})
}

func (w *world) work(t *task) {
	w.ends(t)
	x := t.owner
	if x == nil || x.wakes > 0 || w.now < t.from {
		return
	}
	if w.down == 0 {
		for _, a := range t.parked {
			w.settle(t, a)
		}
		t.parked = nil
	}
	if t.drains == 0 {
		w.decide(t)
	}
	if w.down == 0 && w.now%tick == 0 {
		w.flush(t)
	}
}

// flush makes durable what is settled, and commits.
func (w *world) flush(t *task) {
	for _, id := range t.pending {
		t.saved[id] = t.store[id]
	}
	t.pending = nil
	for i, log := range t.logs {
		frontier := int64(-1)
		for _, h := range log {
			if h.state == settled || h.state == runs && w.bug == "commits what runs" {
				h.state = durable
			}
			if h.state != durable && frontier < 0 {
				frontier = h.pos.Offset
			}
		}
		if frontier < 0 {
			frontier = int64(len(log))
		}
		if topic := append([]string{"jobs"}, tierTopics...)[i]; frontier > w.in.Committed.At(topic, t.p, 0) {
			w.in.Committed.Set(topic, t.p, frontier)
		}
	}
}

func idOf(h *held) string { return h.kind + "/" + h.key + "/" + h.id }

func stale(h *held, r receipt) bool {
	return r.done || h.gen < r.gen || h.gen == r.gen && (r.final || h.hop < r.hop)
}

func conflicts(h *held, r receipt) bool {
	return h.tier < 0 && r.known && r.gen == 0 && r.digest != h.payload
}

// merge joins a fact into the store, to be durable with the next tick.
func (w *world) merge(t *task, h *held, f func(*receipt)) {
	r := t.store[idOf(h)]
	if w.bug == "forgets receipts" && w.chance(30) {
		return
	}
	if !r.known {
		r = receipt{known: true, digest: h.payload, origin: originOf(h), key: h.key, strict: strings.HasPrefix(h.kind, "strict")}
	}
	f(&r)
	t.store[idOf(h)] = r
	t.pending = append(t.pending, idOf(h))
}

// originOf is the offset in the job topic from which a record came.
func originOf(h *held) int64 { return h.origin.Offset }

func (r *receipt) join(o receipt) {
	switch {
	case r.done || o.done:
		r.done = true
	case o.gen > r.gen:
		r.gen, r.hop, r.final = o.gen, o.hop, o.final
	case o.gen == r.gen:
		r.hop, r.final = max(r.hop, o.hop), r.final || o.final
	}
}

// decide looks at every record that waits, in log order, and settles, hops or starts it.
func (w *world) decide(t *task) {
	blocked := map[string]bool{} // identities of records before, which wait
	first := map[string]int64{}  // of each lane the first offset in the job topic that waits
	for i := range t.logs {
		for k := 0; k < len(t.logs[i]); k++ { // hops append
			h := t.logs[i][k]
			if i == 0 && w.bug == "starts out of order" {
				h = t.logs[0][len(t.logs[0])-1-k]
			}
			if h.state != waits || h.due > w.now {
				continue
			}
			lane := laneOf(h)
			at, waiting := first[lane]
			if w.bug == "overlaps keys" && h.tier >= 0 {
				lane = idOf(h)
			}
			inTurn := !waiting || w.bug == "starts out of order" || h.tier >= 0 && !(strings.HasPrefix(lane, "strict") && h.gen == 0 && at < originOf(h))
			if r := t.store[idOf(h)]; (stale(h, r) || conflicts(h, r)) && !t.busy(h, "") && w.bug != "runs what is stale" {
				w.admit(t, h) // whoever is before it in its lane: it will not run
				continue
			}
			if !blocked[idOf(h)] && inTurn && !t.busy(h, lane) && !t.behind(h) {
				w.admit(t, h)
			}
			if h.state == waits {
				blocked[idOf(h)] = true
				if h.tier < 0 && !waiting {
					first[lane] = h.pos.Offset
				}
			}
		}
	}
}

func laneOf(h *held) string {
	switch word, _, _ := strings.Cut(h.kind, "."); word {
	case "key", "strict":
		return word + " " + h.key
	case "part":
		return word
	}
	return "job " + idOf(h)
}

func (t *task) busy(h *held, lane string) bool {
	return slices.ContainsFunc(slices.Concat(t.running, t.parked), func(a *attempt) bool {
		return !a.late && (laneOf(a.held) == lane || idOf(a.held) == idOf(h))
	})
}

// behind: under strict order a job waits for every earlier one of its key that is known and not final.
func (t *task) behind(h *held) bool {
	if !strings.HasPrefix(h.kind, "strict") || h.gen > 0 {
		return false
	}
	for id, r := range maps.All(t.store) {
		if r.strict && r.key == h.key && id != idOf(h) && r.origin < originOf(h) && !r.done && !r.final && r.gen == 0 {
			return true
		}
	}
	return false
}

func (w *world) admit(t *task, h *held) {
	r := t.store[idOf(h)]
	mark := [2]int{h.gen + 1, h.hop}
	switch {
	case conflicts(h, r):
		if w.down > 0 {
			return
		}
		w.file(w.now, h.pos, 0, 0, "conflict")
		h.state = settled
	case stale(h, r) && w.bug != "runs what is stale":
		h.state = settled
	case h.expires > 0 && h.expires <= w.now:
		h.state = settled
		w.merge(t, h, func(r *receipt) { r.final = true })
	case w.down > 0 && (h.kind == "key.amo" || h.at > w.now):
	case r.started == mark:
		w.dead(t, h, h.attempts, "outcome_unknown")
	case h.tier < 0 && h.at > w.now:
		w.copy(t, h, h.attempts, h.at-w.now)
	case w.down == 0 && !strings.HasPrefix(h.kind, "strict") && w.chance(2):
		w.copy(t, h, h.attempts, 5)
	default:
		if h.kind == "key.amo" && w.bug != "marks nothing" {
			w.merge(t, h, func(r *receipt) { r.started = mark })
			t.saved[idOf(h)] = t.store[idOf(h)]
		}
		h.state = runs
		w.call(w.now, t.owner.name, t.fence, h.pos)
		t.running = append(t.running, &attempt{held: h, by: t.owner, end: w.now + 1 + w.rng.IntN(12)})
	}
}

// copy hops a record into a tier and settles it.
func (w *world) copy(t *task, h *held, attempts, delay int) {
	tier, hop := w.rng.IntN(2), h.hop+1
	delay = min(delay, tierShort)
	if w.bug == "skips a hop" {
		hop++
	}
	if w.bug != "loses copies" || w.chance(80) {
		pos := w.hop(w.now, tier, h.origin, h.gen, hop, attempts, delay)
		if w.bug == "runs early" {
			delay /= 2
		}
		w.read(pos, tier, delay)
	}
	if w.bug == "copies twice" {
		w.read(w.hop(w.now, tier, h.origin, h.gen, hop, attempts, delay), tier, delay)
	}
	h.state = settled
	w.merge(t, h, func(r *receipt) { r.join(receipt{gen: h.gen, hop: h.hop + 1}) })
}

func (w *world) dead(t *task, h *held, attempts int, code string) {
	if w.bug != "files nothing" {
		w.file(w.now, h.origin, h.gen, attempts, code)
	}
	h.state = settled
	w.merge(t, h, func(r *receipt) { r.join(receipt{gen: h.gen, final: true}) })
}
