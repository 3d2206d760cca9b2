package task

import (
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// Kind is what the machine knows of a registered kind.
type Kind struct {
	Name      string // current name
	FirstName string // the oldest name: identities are taken over it
	Policy    job.Policy
	Version   int // newest payload version the handler reads
	Class     int // index of the pool that runs it
	Index     int // its place in a Tally
	Processor *processor.Processor
}

// batches reports whether the kind is handled several jobs at a time.
func (k *Kind) batches() bool { return k.Processor != nil && k.Processor.BatchSize() > 0 }

// Catalog resolves the kinds of an instance; nil means unknown. It must not change while an instance runs.
type Catalog map[string]*Kind

// state of an entry, in the order in which it goes through them
type state uint8

const (
	waitingDue state = iota // read from a tier, not due
	inLane                  // behind another entry of its lane
	held                    // head of its lane, not offered: a phase or gate is closed
	offered                 // with a pool
	writing                 // its copy, letter or audit entry is on the way
	settled
)

// Entry is one record on its way through a task. The shard that owns the task owns it, save between being offered and its
// outcome: then the worker may read the message and set the outcome.
//
// Entries are touched by goroutines on several cores long after they were made, and each line of memory touched is one that
// must be fetched: what a worker asks of each stands first, then what the machine asks, and the message last.
type Entry struct {
	m    *Machine
	Kind *Kind  // nil when unknown
	next *Entry // in the lane
	turn uint32 // of the machine, when it was offered

	returned bool // set by the pool beside, or instead of, the outcome
	state    state
	behind   bool // offered in a chain, and the one before is not settled
	simple   bool // see decode
	Outcome  job.Outcome
	Began    int64         // local clock, nanoseconds of Unix time; 0 for an attempt that never started
	Took     time.Duration // until its outcome
	chain    int           // entries offered with this one, to run behind it

	src       *source
	prev      *Entry // in the lane, nil for its head
	lane      uint64
	index     uint64 // in the window of src
	size      int
	ready     int64  // when it was appended, or due
	write     *Write // while writing
	unread    string // why the batch that the entry stands for was not opened
	suspicion Suspicion
	judged    bool // suspicion is known
	inherited bool // see Machine.inherited
	left      bool // its lane, when it was first to be written
	early     bool // see Machine.enters
	noted     bool // its success leaves a receipt although its kind asks for none; see tooFar

	env job.Envelope
}

// Message is the job as handed to a handler.
func (e *Entry) Message() *job.Message { return &e.env.Message }

// Envelope is the decoded record, for whoever writes its copy.
func (e *Entry) Envelope() *job.Envelope { return &e.env }

// Turn is what Machine.Turn was when the entry was offered.
func (e *Entry) Turn() uint32 { return e.turn }

// Machine is the task the entry belongs to.
func (e *Entry) Machine() *Machine { return e.m }

// Retried reports whether the entry was read from a retry tier: pools share themselves between fresh and retried jobs.
func (e *Entry) Retried() bool { return e.src.tier >= 0 }

// recorded reports whether the success of the entry leaves a receipt. Under AtLeastOnce a first success does not, unless it
// has a result to keep: that of a copy, of a job that kept progress or of a suspect does, since the log has a receipt of the
// job that says it is not done; and that of one far ahead of what is set aside (noted), since the frontier will not tell of it soon.
func (e *Entry) recorded() bool {
	return e.src.tier >= 0 || e.noted || e.suspicion != NoSuspect || e.Kind.Policy.Guarantee != job.AtLeastOnce || e.env.Progress() != nil || e.env.Result != nil
}

// overhead is what an entry costs in memory beside its key, value and headers.
const overhead = 640

// headroom is how much memory a byte that lives takes: Go's collector, unless told otherwise (GOGC=100), lets as much
// garbage gather as it found alive. A budget that did not count this would be passed twice over.
const headroom = 2

// sizeOf is what a record takes of the budget.
func sizeOf(r *Record) int {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return overhead + 40*len(r.Headers) + headroom*n
}

// Record is one fetched record as the poller hands it over. Headers are aliased.
type Record struct {
	Offset  int64
	Time    time.Time // the broker's append time on tiers
	Key     []byte
	Value   []byte
	Headers []job.Header
	Native  any

	LeaderEpoch int32 // of the leader that took the record; -1: not told
}
