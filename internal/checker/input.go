package checker

import (
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record of a topic, as any client reads it.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time // the record's timestamp: the broker's where the topic uses LogAppendTime
	Key       []byte    // nil for a null key
	Value     []byte    // nil for a null value
	Headers   []Header
}

// Offsets is one offset for each partition of each topic.
type Offsets map[string]map[int32]int64

// At is the offset of one partition, or otherwise.
func (o Offsets) At(topic string, partition int32, otherwise int64) int64 {
	if v, ok := o[topic][partition]; ok {
		return v
	}
	return otherwise
}

// Set stores one offset; o must not be nil.
func (o Offsets) Set(topic string, partition int32, offset int64) {
	if o[topic] == nil {
		o[topic] = make(map[int32]int64)
	}
	o[topic][partition] = offset
}

// Tier is one retry tier of a job topic. Its partition i holds copies of the job topic's partition i.
type Tier struct {
	Topic string
	Delay time.Duration // no copy's own delay may be longer
}

// JobTopic is one job topic with what belongs to it. Where Topics has the receipt log too, it is read.
type JobTopic struct {
	Topic       string
	Tiers       []Tier
	DeadLetters string
	Receipts    string
}

// Guarantee is what a kind chose.
type Guarantee string

// The guarantees. The zero Kind is EffectivelyOnce.
const (
	AtMostOnce      Guarantee = "at_most_once"
	AtLeastOnce     Guarantee = "at_least_once"
	EffectivelyOnce Guarantee = "effectively_once"
	Reconciled      Guarantee = "reconciled"
)

// Kind is what the run configured for one kind.
type Kind struct {
	Guarantee   Guarantee
	MaxAttempts int    // 0: not checked
	FirstName   string // for a renamed kind: the name its identities are taken over; empty: its own
	// Window is how long after its end a job may not be enqueued again; 0 for as long as anything is remembered. UntilDone: it
	// may be as soon as it has ended. Each enqueue is a job of its own here, and a further one may be a duplicate of another.
	Window    time.Duration
	UntilDone bool
	Strict    bool // ordered by key through retries
	Holds     bool // of a strict kind: a dead job holds its key until a redrive ends otherwise, or it is forgotten
}

// Timing is how long things may take before they count as wrong. Zero values are the strictest.
type Timing struct {
	// Clock is by how much clocks of processes and brokers may differ: it is taken off every comparison of a called time
	// with a due time, and a fence may be behind for that long.
	Clock time.Duration
	// RerunWindow is how long after a handler returned its receipt may still be lost with its process: one tick, the
	// produce, and slack. Time in which the process could not write (an outage) does not count.
	RerunWindow time.Duration
	// Lease is how long after a fault ends its effects may be felt: until the group has noticed and settled.
	Lease time.Duration
	// Drain is how long a revoked or stopped process lets handlers run: one that returned sooner must not run again.
	Drain time.Duration
	// Session is how long after it was cut off a process may still start attempts (its own lease). 0: not checked.
	Session time.Duration
}

// Commit is one look at what a group had committed for a partition.
type Commit struct {
	Topic     string
	Partition int32
	Offset    int64
	Ours      bool  // with the engine's metadata: not an operator's
	LogEnd    int64 // the end of the partition of the receipt log, at that moment or later
}

// Input is a finished run.
type Input struct {
	// Ledger is every event. Order matters only between events of equal time.
	Ledger []ledger.Event
	// Topics holds every record of every job topic, tier and dead-letter topic, in any order. Records of aborted
	// transactions must not be among them; gaps in offsets are fine.
	Topics map[string][]Record
	// From is the offset below which Topics misses records, because they were trimmed or lost before anybody read
	// them; 0 where absent. Ends is the end of each log; one past the last record where absent.
	From, Ends Offsets
	// Committed is the group's next offset to read; 0 where absent.
	Committed Offsets
	// Commits is what the group was seen to have committed, by receipt log, in the order of seeing. May be empty.
	Commits map[string][]Commit
	// TopicIDs is the cluster's id of each topic, by which the receipt log names it; frontiers of topics that are not here
	// are not judged.
	TopicIDs map[string][16]byte
	// Jobs says which topic plays which role.
	Jobs []JobTopic
	// Kinds is by name; a kind that is absent is EffectivelyOnce with attempts unchecked.
	Kinds map[string]Kind
	// Ended is when the topics were read; jobs that expire later have not. The latest instant in the input where zero.
	Ended time.Time
	// Quiesced says the run ended idle: every queue was drained, so nothing may be waiting.
	Quiesced bool
	// DedupingDownstream says the fake downstream refuses a repeated idempotency key, so a second effect is a fault of it.
	DedupingDownstream bool
	// MaxCrashes is how many processes a job of intent poison may take down. Defaults to 3.
	MaxCrashes int
	Timing     Timing
}
