package task

import (
	"math"
	"math/bits"
	"time"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// End says what became of a record. Every record read has one, is held, or was released with its task.
type End uint8

// The ends. EndRetried to EndDeferred are hops: a copy of the record went to a tier.
const (
	EndDone      End = iota
	EndRetried       // the attempt failed
	EndSnoozed       // the handler asked for another time
	EndScheduled     // its At has not come
	EndDeferred      // its kind or version is unknown here
	EndDead          // filed
	EndDiscarded     // by its handler
	EndExpired       // before it started
	EndDuplicate     // of a job that is done
	EndStale         // a copy that a receipt has overtaken
	EndConflict      // filed: its identity has another payload
	endCount
)

var endText = [endCount]string{"done", "retried", "snoozed", "scheduled", "deferred", "dead", "discarded", "expired", "duplicate", "stale", "conflict"}

// String is the end's name in metrics.
func (e End) String() string {
	if e < endCount {
		return endText[e]
	}
	return "unknown"
}

// Ends lists them all, in the order of their constants.
func Ends() []End { return enumerate(endCount) }

// Hop reports whether the end is a copy in a tier.
func (e End) Hop() bool { return e >= EndRetried && e <= EndDeferred }

func enumerate[T ~uint8](end T) (all []T) {
	for v := range end {
		all = append(all, v)
	}
	return all
}

// endOfHop says which hop has that code.
func endOfHop(code job.Code) End {
	switch code {
	case job.CodeSnoozed:
		return EndSnoozed
	case job.CodeScheduled:
		return EndScheduled
	case job.CodeUnknownKind, job.CodeUnknownVersion:
		return EndDeferred
	}
	return EndRetried
}

// Tally counts what the machines of one shard do, for metrics. It outlives them: unlike Stats it never goes back when a
// task moves away. One goroutine owns it, so counting costs a few additions a job; whoever wants to read it asks that
// goroutine for a Clone. At every moment between two inputs, over all kinds,
//
//	Read = the ends + Released + what the machines hold (I8, I11).
//
// A nil Tally counts nothing.
type Tally struct {
	Skew      time.Duration     // the corrected clock minus the local one; the owner keeps it
	Read      [2]int64          // records admitted: of the job topics, of tiers
	Released  int64             // records let go unsettled: with their task, the next owner reads them again; or set aside and removed by retention
	Lost      int64             // records that retention removed before they were read
	Misrouted int64             // records of job topics whose key belongs in another partition
	Hops      [][endCount]int64 // by tier
	Kinds     []KindTally       // by Kind.Index; the last is of unknown kinds
}

// KindTally counts what became of the records of one kind, and how its attempts went.
type KindTally struct {
	Ends     [endCount]int64
	Letters  [dlq.Poison + 1]int64                                  // by disposition
	Attempts [job.VerdictCancelled + 1][job.CodeScheduled + 1]int64 // by verdict and code
	Took     [job.VerdictCancelled + 1]Histogram                    // attempts, by verdict
	Delay    [2]Histogram                                           // from append, or due, to start: of the job topics, of tiers
}

// NewTally counts for that many kinds and tiers.
func NewTally(kinds, tiers int) *Tally {
	return &Tally{Kinds: make([]KindTally, kinds+1), Hops: make([][endCount]int64, tiers)}
}

// Clone is a copy to be read elsewhere.
func (t *Tally) Clone() *Tally {
	c := *t
	c.Kinds = append([]KindTally(nil), t.Kinds...)
	c.Hops = append([][endCount]int64(nil), t.Hops...)
	return &c
}

// Add adds what o counted.
func (t *Tally) Add(o *Tally) {
	for i := range t.Read {
		t.Read[i] += o.Read[i]
	}
	t.Released += o.Released
	t.Lost += o.Lost
	t.Misrouted += o.Misrouted
	for i := range t.Hops {
		sum(t.Hops[i][:], o.Hops[i][:])
	}
	for i := range t.Kinds {
		t.Kinds[i].add(&o.Kinds[i])
	}
}

func (k *KindTally) add(o *KindTally) {
	sum(k.Ends[:], o.Ends[:])
	sum(k.Letters[:], o.Letters[:])
	for v := range k.Attempts {
		sum(k.Attempts[v][:], o.Attempts[v][:])
		k.Took[v].add(&o.Took[v])
	}
	for i := range k.Delay {
		k.Delay[i].add(&o.Delay[i])
	}
}

func sum(into, from []int64) {
	for i, n := range from {
		into[i] += n
	}
}

// side is the index of what is counted for job topics and for tiers.
func (s *source) side() int {
	if s.tier < 0 {
		return 0
	}
	return 1
}

func (t *Tally) kind(e *Entry) *KindTally {
	if e.Kind == nil {
		return &t.Kinds[len(t.Kinds)-1]
	}
	return &t.Kinds[e.Kind.Index]
}

func (t *Tally) read(s *source, n int64) {
	if t != nil {
		t.Read[s.side()] += n
	}
}

func (t *Tally) settled(e *Entry, end End) {
	if t != nil {
		t.kind(e).Ends[end]++
	}
}

// attempt counts an attempt that a pool has run.
func (t *Tally) attempt(e *Entry) {
	if t == nil || e.Began == 0 {
		return
	}
	k, o := t.kind(e), &e.Outcome
	k.Attempts[o.Verdict][o.Code]++
	k.Took[o.Verdict].observe(&TookBounds, int64(e.Took))
	k.Delay[e.src.side()].observe(&DelayBounds, e.Began+int64(t.Skew)-e.ready)
}

// written counts a copy or a letter that was acked.
func (t *Tally) written(w *Write) {
	if t == nil {
		return
	}
	switch w.Dest {
	case ToTier:
		t.Hops[w.tier][w.end]++
	case ToDeadLetters:
		t.kind(w.Entry).Letters[w.Disposition]++
	}
}

func (t *Tally) released(n int64) {
	if t != nil {
		t.Released += n
	}
}

func (t *Tally) misrouted() {
	if t != nil {
		t.Misrouted++
	}
}

func (t *Tally) lost(n int64) {
	if t != nil {
		t.Lost += n
	}
}

const bounds = 18

// Bounds are the upper bounds of a histogram's buckets, in nanoseconds. Each is at least twice the one before, so that of
// all values with one number of bits at most one bound lies between them: a value's bucket is found by one comparison.
type Bounds struct {
	le    [bounds + 1]int64 // the last is above every value
	first [65]uint8         // by number of bits of a value: the first bucket it may belong to
}

func boundsOf(le [bounds]time.Duration) (b Bounds) {
	for i, d := range le {
		b.le[i] = int64(d)
	}
	b.le[bounds] = math.MaxInt64
	for n := 1; n < len(b.first); n++ {
		smallest := uint64(1) << (n - 1)
		for int(b.first[n]) < bounds && uint64(b.le[b.first[n]]) < smallest {
			b.first[n]++
		}
	}
	return b
}

// LE lists the bounds.
func (b *Bounds) LE() []int64 { return b.le[:bounds] }

const ms = time.Millisecond

// The bounds for the length of attempts, and for what they waited before.
var (
	TookBounds = boundsOf([bounds]time.Duration{ms / 10, ms / 2, ms, 5 * ms / 2, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms,
		1000 * ms, 2500 * ms, 5000 * ms, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute})
	DelayBounds = boundsOf([bounds]time.Duration{ms, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms, 1000 * ms, 2500 * ms,
		5000 * ms, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour})
)

// Histogram counts durations by bucket. Counts are not cumulative; the last is of what is above every bound.
type Histogram struct {
	Counts [bounds + 1]int64
	Sum    int64 // nanoseconds
}

func (h *Histogram) observe(b *Bounds, v int64) {
	v = max(v, 0) // clocks are never equal
	i := b.first[bits.Len64(uint64(v))]
	if v > b.le[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += v
}

// Any reports whether it counted anything.
func (h *Histogram) Any() bool { return h.Counts != [bounds + 1]int64{} }

func (h *Histogram) add(o *Histogram) {
	h.Sum += o.Sum
	sum(h.Counts[:], o.Counts[:])
}
