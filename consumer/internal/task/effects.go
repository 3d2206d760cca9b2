package task

import (
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// Dest is where a Write goes.
type Dest uint8

// The destinations.
const (
	ToTier Dest = iota
	ToDeadLetters
	ToAudit
	ToJobs // what the attempt emitted (job.Message.Emitted), all of it
)

// Write is a record that must be acked before its entry is settled. The machine keeps it until then; the shard answers
// each with Machine.Written.
type Write struct {
	Entry       *Entry
	Dest        Dest
	Topic       string    // ToTier: the tier's topic
	Stamp       job.Stamp // ToTier
	Disposition dlq.Disposition
	Code        job.Code
	Text        string
	Attempts    int // burnt, this one included
	First, Last time.Time
	Truncated   bool   // ToDeadLetters: without the payload, which was refused for its size
	Problem     string // why it was refused last, ToJobs: or cannot be sent at all; the shard's to set
	Action      string

	receipt dedupe.Receipt
	end     End   // of the entry, once acked
	tier    int   // ToTier: index of the tier
	silent  bool  // no receipt
	retryAt int64 // when a refused write is tried again; 0 while one is on the way
	tries   int
}

// Segment is what one tick makes durable. The shard encodes it into one or more log records, the frontiers in the last,
// and answers with Machine.SegmentAcked.
type Segment struct {
	Epoch     int64
	Receipts  []dedupe.Receipt
	Marks     []dedupe.Receipt // that attempts begin; they stand with the frontiers
	Frontiers []dedupe.Frontier
	Release   dedupe.Release // the last word of this ownership; it stands with the frontiers
	Bare      bool           // it says nothing else

	keeps   []*Keep
	limit   uint64 // everything settled up to here is in
	sources []sourceFrontier
	retryAt int64
	tries   int
}

type sourceFrontier struct {
	src    *source
	offset int64
}

// Offset is a frontier to be committed, or an offset at which to start fetching.
type Offset struct {
	Topic string
	At    int64
	Epoch int32 // leader epoch of the record before At, by which a broker can tell whether its log lost its end since; -1: not known
}

// Span asks for the log to be read from From up to, not including, To; To -1 means its end.
type Span struct{ From, To int64 }

// Effects is what the machine wants done. The shard carries out every field and then calls Reset.
type Effects struct {
	Own     bool     // write an ownership record, answer with Owned
	Read    *Span    // read the log, answer with Entries and ReadDone
	Prove   bool     // heartbeat and look up offsets, answer with Proved
	Start   []Offset // set the fetch offset; fetching follows when the pauses allow it
	Reread  *Offset  // read the job topic once more from there on, answer with Reread or Vanished
	Run     []*Entry // offer to the pools, each with its chain; answer with Outcomes
	Writes  []*Write // produce, answer with Written
	Segment *Segment // produce to the log, answer with SegmentAcked
	Late    *Segment // outcomes of a task that is gone: produce, no answer
	Cleared []*Entry // suspects that ran alone and are done with: the next may begin
	Kept    []*Keep  // give each its Answer
	Commit  []Offset // commit as the group's offsets
	Pause   []string // topics whose partition is to be paused
	Resume  []string // topics whose partition is to be resumed
	Notes   []string // for the log: rewinds, records lost to retention, refusals; each says what to do
	Rewound []Offset // an operator's order was obeyed: audit it
	Drained bool     // nothing runs, everything settled is durable: commit and let go
	Anew    bool     // the log is another, or lost its end: let go, and own the task from scratch
}

// Reset empties the effects, keeping their memory.
func (f *Effects) Reset() {
	clear(f.Run)
	clear(f.Writes)
	clear(f.Kept)
	clear(f.Cleared)
	*f = Effects{Start: f.Start[:0], Run: f.Run[:0], Writes: f.Writes[:0], Kept: f.Kept[:0], Cleared: f.Cleared[:0], Commit: f.Commit[:0],
		Pause: f.Pause[:0], Resume: f.Resume[:0], Notes: f.Notes[:0], Rewound: f.Rewound[:0]}
}
