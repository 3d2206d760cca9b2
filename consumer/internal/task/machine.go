package task

import (
	"encoding/hex"
	"math"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Tier is a retry topic the task may write to.
type Tier struct {
	Topic string
	Delay time.Duration
}

// Config is fixed for the life of a machine.
type Config struct {
	Topic       string // the job topic
	TopicID     dedupe.TopicID
	Log         string           // the topic of the receipts, to be named to operators
	Cluster     string           // its id; empty: not known
	Known       []dedupe.TopicID // of the job topic and all its tiers, whether or not they are read here
	Partition   int32
	Partitions  int32  // of the job topic, to tell what stands in the wrong one; 0: not told
	DefaultKind string // of foreign records
	Tiers       []Tier // that new copies go to, in the order of Plan.Tiers
	Plan        retrytopics.Plan
	Kinds       Catalog
	Classes     int
	Limits      Limits
	ReadAhead   time.Duration // how long before its due time a job in a tier no longer counts as waiting; a fetch wait
	StartAtEnd  bool          // the group's declared start for a partition nobody ever committed
	KeepUnknown time.Duration // how long an unknown kind or version hops before it is filed; 0 means 24 h
	MaxHop      uint32        // a job that hopped that often is filed; 0 means 100,000
	Store       dedupe.Store  // owned by the machine from now on
	Ref         any           // the caller's own handle, see Machine.Ref
	Chain       int           // entries of one lane that a pool may be handed together; 0 and 1: one at a time
	Tally       *Tally        // of the shard; nil counts nothing
	RetryWrite  time.Duration // before a refused write is tried again, doubled up to 30 times that; 0 means 200 ms
}

// phase of a machine's life, see the drawing in doc.go
type phase uint8

const (
	fresh phase = iota
	owning
	restoring
	proving
	running
	draining
	gone
)

var phaseText = [...]string{"new", "owning", "restoring", "proving", "running", "draining", "gone"}

// Machine is the state of one task. Its methods must be called by one goroutine; after each the caller carries out Out.
type Machine struct {
	Out Effects

	cfg      Config
	phase    phase
	epoch    int64
	holds    uint16            // bits of the reasons set by Hold
	texts    map[Reason]string // of those
	restored int64             // up to there the store knew the log when this ownership began
	reown    bool              // the next start keeps what memory holds
	proofs   int               // asked for and not yet answered
	asked    int               // in a row for places that were not known
	askAt    int64             // when they are asked for again
	before   heritage          // what the owner before left
	trials   []trial           // of suspects that ran alone, in the order of settling
	doubtful int               // held entries that may have been running when it died
	released bool              // the log says that the task is let go
	away     bool              // the log is another cluster's, see foreign
	rewound  bool              // a source begins below what this epoch has claimed of it: own again
	refusal  string            // what was said of the last write refused
	claimed  int64             // when frontiers were last made durable
	now      int64
	main     *source
	sources  []*source // main first
	byTopic  map[string]*source
	carried  map[dedupe.TopicID]int64 // frontiers of the log for partitions not read here

	lanes    map[uint64]*Entry // tail of each lane; its head, and what is chained to it, are past inLane
	leaving  leaving           // out of their lanes, waiting for the ack of what replaces them
	second   []*Entry          // heads that wait for one of those, of the same job
	heads    []*Entry          // new heads of lanes to be looked at before the input ends
	parked   []*Entry          // heads that wait for the phase to be running
	far      ahead
	strict   *strict // nil without a strict kind
	aside    aside
	links    links
	strings  job.Strings
	offered  int
	crowded  bool     // see Crowded
	writing  int      // writes sent or to be sent again
	refused  int      // of those: refused at least once
	again    []*Write // of those: waiting to be tried again
	seq      uint64
	spans    spans
	pending  recent  // settled, or kept, since the last segment
	keeps    []*Keep // of those, the kept
	usual    int     // receipts in the last segment
	inFlight recent  // of the segment on the way
	segment  *Segment
	turn     uint32 // see Turn
	gapped   bool   // the segment was acked, what stands before it is being read
	dirty    bool   // frontiers must be written although none moved
	stats    Stats
}

// New returns a machine that owns nothing yet. store is empty or what a disk remembers of the log.
func New(cfg Config) *Machine {
	if cfg.KeepUnknown == 0 {
		cfg.KeepUnknown = 24 * time.Hour
	}
	if cfg.MaxHop == 0 {
		cfg.MaxHop = 100_000
	}
	if cfg.RetryWrite == 0 {
		cfg.RetryWrite = 200 * time.Millisecond
	}
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits
	}
	cfg.Limits = cfg.Limits.withDefaults()
	m := &Machine{cfg: cfg, byTopic: map[string]*source{}, carried: map[dedupe.TopicID]int64{}, texts: map[Reason]string{}, lanes: map[uint64]*Entry{},
		epoch: -1}
	m.main = m.addSource(cfg.Topic, cfg.TopicID, -1, 0)
	m.strict = newStrict(cfg.Kinds)
	for _, k := range cfg.Kinds {
		m.aside.never = m.aside.never || k.Policy.Window == job.UntilDone
		m.far.possible = m.far.possible || k.Policy.Guarantee == job.AtLeastOnce
	}
	return m
}

func (m *Machine) addSource(topic string, id dedupe.TopicID, tier int, delay time.Duration) *source {
	s := &source{topic: topic, id: id, idText: hex.EncodeToString(id[:]), tier: tier, delay: delay, durable: -1}
	m.sources = append(m.sources, s)
	m.byTopic[topic] = s
	s.pauses.set(Restoring, m.phase != fresh, m.now)
	for r := range reasons { // what holds the task holds a partition that comes later too
		if m.holds&(1<<r) != 0 {
			s.pauses.set(r, true, m.now)
			s.pauses.explain(r, m.texts[r])
		}
	}
	return s
}

// AddTier tells the machine that this partition of a tier is assigned too. Before Proved it starts with the rest; later the
// machine proves membership again to learn where it starts, while everything else goes on.
func (m *Machine) AddTier(topic string, id dedupe.TopicID, delay time.Duration, now int64) {
	if m.byTopic[topic] != nil {
		return
	}
	m.now = now
	m.addSource(topic, id, len(m.sources)-1, delay)
	if m.phase == running {
		m.prove()
	}
}

// SetLimits changes the task's share of the budget.
func (m *Machine) SetLimits(l Limits, now int64) {
	m.cfg.Limits, m.now = l.withDefaults(), now
	m.balance()
}

// Epoch is the fencing token: the offset of the ownership record in force, -1 before there is one.
func (m *Machine) Epoch() int64 { return m.epoch }

// Ref is what Config.Ref was; any goroutine may ask.
func (m *Machine) Ref() any { return m.cfg.Ref }

// Topic is the task's job topic.
func (m *Machine) Topic() string { return m.cfg.Topic }

// Partition is the task's partition number, the same in the job topic, its tiers and its log.
func (m *Machine) Partition() int32 { return m.cfg.Partition }

// Running reports whether the task is owned and proven, and not being given up.
func (m *Machine) Running() bool { return m.phase == running }

// open reports whether attempts may start: the task is running, nothing that Hold set forbids it, and no gap in the log is
// being read, since what stands in it may say that a job is done (design section 7, "Owners").
func (m *Machine) open() bool {
	return m.phase == running && m.holds&(1<<Lease|1<<Stopped) == 0 && !m.gapped
}

// Turn counts how often the machine had to read of the log what others wrote. What was offered before may be decided
// otherwise after: a pool hands it back, cancelled, unless it has begun (see Entry.Turn).
func (m *Machine) Turn() uint32 { return m.turn }

// Gone reports whether the task is let go; Idle then tells when nothing of it is left to wait for.
func (m *Machine) Gone() bool { return m.phase == gone }

// Idle reports whether no attempt is with a pool.
func (m *Machine) Idle() bool { return m.offered == 0 }

// NextDue is when Tick has something to release or to try again, 0 for nothing. It names no time at which Tick would do
// nothing, or whoever waits for it would spin: due jobs count only while they may be released.
func (m *Machine) NextDue() int64 {
	if m.phase == gone {
		return 0
	}
	var next int64
	at := func(t int64) {
		if t != 0 && (next == 0 || t < next) {
			next = t
		}
	}
	for _, s := range m.sources[1:] {
		if due, ok := s.wait.next(); ok && m.phase == running {
			at(due)
		}
	}
	for _, w := range m.again {
		at(w.retryAt)
	}
	if m.segment != nil {
		at(m.segment.retryAt)
	}
	return next
}

// Revoke begins the drain: nothing new is offered, what runs may finish, and when all of it is durable Out.Drained is set.
func (m *Machine) Revoke(now int64) {
	m.now = now
	switch m.phase {
	case gone, draining:
		return
	case running:
		m.phase = draining
		m.flush()
		m.drained()
	default: // nothing of this ownership counts yet; what memory holds after a re-own is written by Abandon
		m.passOn()
		m.Abandon(now)
		m.Out.Drained = true
	}
}

// Abandon lets go at once: the drain took too long, or the membership is lost. What is settled but not durable, and what
// succeeds later, is still written to the log as outcomes: it is true whoever owns the task.
func (m *Machine) Abandon(now int64) {
	m.now = now
	if m.phase == gone {
		return
	}
	m.letGo()
	m.late()
}

// late hands out the outcomes that no acked segment covers, without frontiers.
func (m *Machine) late() {
	if m.epoch < 0 {
		return
	}
	var receipts []dedupe.Receipt
	if m.segment != nil { // whether or not it lands: receipts joined twice change nothing
		receipts = append(receipts, m.segment.Receipts...)
	}
	m.segment = nil
	receipts = append(receipts, m.pending.list...)
	m.pending.reset()
	if len(receipts) == 0 {
		return
	}
	if m.Out.Late == nil {
		m.Out.Late = &Segment{Epoch: m.epoch}
	}
	m.Out.Late.Receipts = append(m.Out.Late.Receipts, receipts...)
}

// drained sets Out.Drained once nothing is left to wait for and the log says that the task is let go. What is settled
// without a receipt moves a frontier all the same, so the last word is flush's.
func (m *Machine) drained() {
	if m.phase != draining || m.offered > 0 || m.writing > 0 || m.segment != nil || m.gapped {
		return
	}
	if m.flush(); m.segment == nil {
		m.letGo()
		m.Out.Drained = true
	}
}

// letGo ends the machine's life; what it holds is the next owner's.
func (m *Machine) letGo() {
	m.phase = gone
	m.letKeepsGo()
	m.tried(math.MaxUint64)
	m.cfg.Tally.released(m.stats.Held + m.stats.Aside)
}

// Owning reports whether the machine waits for the ack of its ownership record.
func (m *Machine) Owning() bool { return m.phase == owning }

// Restoring reports whether the machine waits for its log to be read. Until ReadDone it asks the store for its position and size alone.
func (m *Machine) Restoring() bool { return m.phase == restoring }
