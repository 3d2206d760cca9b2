package job

import (
	"strconv"
	"time"
)

// Args is a typed payload that names its own kind, such as "email.welcome". Kind must return the same text for every
// value, the zero value included: it is asked of a zero value at registration.
type Args interface{ Kind() string }

// Job is one job with its decoded arguments, as handed to a typed handler. The embedded Message carries everything else.
type Job[T any] struct {
	*Message
	Args T
}

// Origin is where a job first entered the job topic. Copies in retry tiers and dead letters carry it unchanged.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	Time      time.Time // the broker's or producer's timestamp of that record
}

// Message is the untyped job: identity, payload and history. A handler must treat it as read-only and must not keep
// Payload or Headers after it returned, since they alias the fetched batch.
type Message struct {
	Kind    string // the registered name, whatever alias was on the wire
	ID      string // unique per (Kind, Key) in one partition
	Key     []byte // the record key; nil orders nothing
	Version int    // version of the payload's shape, 0 when the producer named none
	// Unsure says that an attempt of the job may have run of which nobody knows the end; Reconcile decides, before Handle.
	Unsure bool
	// Repeats says that the job may be enqueued again once it has ended, see Policy.Window; receipts of it say so too.
	Repeats     bool
	ContentType string // empty when the producer named none
	Payload     []byte // nil for a nil value
	Headers     []Header
	Correlation string

	At      time.Time // not before; zero when the job may run at once
	Expires time.Time // not after; zero when the job never expires

	Topic     string // of the record being handled: the job topic or one of its tiers
	Partition int32
	Offset    int64
	Origin    Origin

	Attempt      int // 1 for the first attempt
	Hop          uint32
	Generation   uint32    // how often the job was redriven from the dead letters
	FirstFailure time.Time // zero before the first failure
	LastError    string    // bounded text of the previous failure, empty on the first attempt

	Identity Identity
	Digest   uint64 // of the payload

	Fence  int64 // the epoch of the owning task: compare only between jobs of one partition of one topic
	Native any   // the record behind this job; reach it through As

	// Emitted is what the attempt under way has emitted, see Emit; nil for nothing.
	Emitted *[]Emission
	// Result is what the attempt under way has set as its job's result, see SetResult; nil for nothing.
	Result   []byte
	progress *progress // see Step and Checkpoint; nil while there is none
}

// IdempotencyKey is the stable name of this job's one effect: the same for every attempt, rerun and redrive. Send it to
// downstreams that dedupe.
func (m *Message) IdempotencyKey() string { return m.Identity.String() }

// As sets target, a **kgo.Record, to the record behind the job and reports whether it could. The record is shared: do not
// change it.
func (m *Message) As(target any) bool {
	if a, ok := m.Native.(interface{ As(any) bool }); ok {
		return a.As(target)
	}
	return false
}

// Header returns the first user header of that name, nil when there is none.
func (m *Message) Header(name string) []byte {
	for i := range m.Headers {
		if m.Headers[i].Key == name {
			return m.Headers[i].Value
		}
	}
	return nil
}

// String names the job for logs: kind, id, attempt and where it was read.
func (m *Message) String() string {
	return m.Kind + "/" + m.ID + " attempt " + strconv.Itoa(m.Attempt) + " at " + m.Topic + "/" +
		strconv.Itoa(int(m.Partition)) + "/" + strconv.FormatInt(m.Offset, 10)
}

// Options are the per-job choices of a producer; nil means all defaults.
type Options struct {
	// ID names the job. Defaults to a new UUIDv7. Two jobs with one (kind, key, id) are one job.
	ID string
	// DeterministicID derives the ID from kind, key and payload, so that enqueueing the same arguments twice is one job.
	// ID must be empty then.
	DeterministicID bool
	// Key orders jobs and chooses the partition. Defaults to the ID, which orders nothing but the job itself.
	Key []byte
	// Headers are carried to the handler. Names beginning with "waybill-" are refused.
	Headers []Header
	// At is the earliest time the job may run. Zero: at once.
	At time.Time
	// Expires is the time after which the job is not started any more. Zero: never.
	Expires time.Time
	// Correlation ties jobs of one business transaction together; carried, never interpreted.
	Correlation string
	// Version of the payload's shape. Defaults to 0.
	Version int
	// Topic overrides the producer's route for the kind.
	Topic string
}
