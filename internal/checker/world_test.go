package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"

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
