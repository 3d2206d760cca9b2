package ledger

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// Type says what happened. The set is closed; Validate refuses others.
type Type string

// The types, and the fields each must carry beside Time and Process (see Event.Validate).
const (
	Produced Type = "produced" // a producer's record was acked: Record, Kind, Digest
	Called   Type = "called"   // an attempt starts: Record, Kind, ID, Attempt, Order
	Returned Type = "returned" // that attempt ended: as Called, and Result
	Effect   Type = "effect"   // the downstream applied an effect: IdempotencyKey
	Ended    Type = "outcome"  // the engine's own view of one record it read: Record, Outcome
	Filed    Type = "filed"    // a dead letter was seen: Record (its place), Kind, ID, Origin, Code
	Faulted  Type = "fault"    // what the driver did: Fault, and Target where the fault has one
	Redriven Type = "redriven" // a letter was sent back: Kind, ID, Generation (the new one), Record (of the copy) or Origin
	Note     Type = "note"     // free Text, for readers of the ledger
)

// Order is the order guarantee of the kind called.
type Order string

// The orders.
const (
	ByKey       Order = "by_key"
	ByKeyStrict Order = "by_key_strict"
	ByPartition Order = "by_partition"
	Unordered   Order = "unordered"
)

// Result is how an attempt ended, as its handler sees it.
type Result string

// The results. A plain error and RetryAfter are both Retry.
const (
	Done      Result = "done"
	Retry     Result = "retry"
	Snooze    Result = "snooze"
	Dead      Result = "dead"
	Discard   Result = "discard"
	Panic     Result = "panic"
	Cancelled Result = "cancelled" // the context ended first; the attempt is not settled
)

// Outcome is what became of one record read.
type Outcome string

// The outcomes, the classes of the account. A record that led to a copy has none of its own: it is counted through the copy.
const (
	OutcomeDone      Outcome = "done"
	OutcomeDead      Outcome = "dead"
	OutcomeDiscarded Outcome = "discarded"
	OutcomeExpired   Outcome = "expired"
	OutcomeDuplicate Outcome = "duplicate"
	OutcomeStale     Outcome = "stale"
	OutcomeConflict  Outcome = "conflict"
)

// Fault is what the driver did to the run. The set is closed because the checker excuses by it.
type Fault string

// The faults. Those of the first block need a Target, the Process name they befell; names are not reused after Kill and
// Exit. Rewind carries its Record: topic, partition and the offset set; Forget the first Record of the job.
const (
	Kill   Fault = "kill"   // ended without warning
	Stop   Fault = "stop"   // told to shut down; it drains
	Exit   Fault = "exit"   // gone after Stop
	Pause  Fault = "pause"  // stopped in its tracks, until Resume
	Resume Fault = "resume" //
	Cut    Fault = "cut"    // cannot reach the brokers, until Heal
	Heal   Fault = "heal"   //
	Lost   Fault = "lost"   // its membership was ended; it learns of it when it next asks
	Revoke Fault = "revoke" // tasks are being taken away in good order
	Stuck  Fault = "stuck"  // a handler of it ignores its deadline

	BrokerDown  Fault = "broker_down"  // until BrokerUp
	BrokerUp    Fault = "broker_up"    //
	Rewind      Fault = "rewind"       // an operator set committed offsets
	OffsetsLost Fault = "offsets_lost" // the group's offsets were deleted
	Duplicate   Fault = "duplicate"    // a produce was made to land twice
	Forget      Fault = "forget"       // an operator withdrew what the receipt log says of a job
	Other       Fault = "other"        // excuses nothing; see Text
)

// Pos is the place of one record.
type Pos struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// String is topic/partition@offset, such as "emails/3@17".
func (p Pos) String() string {
	return p.Topic + "/" + strconv.Itoa(int(p.Partition)) + "@" + strconv.FormatInt(p.Offset, 10)
}

// Event is one entry of a ledger. Which fields count depends on Type; the others are zero. Process, Seq and a zero Time
// are filled in by the sink.
type Event struct {
	Type    Type      `json:"type"`
	Time    time.Time `json:"time"`
	Process string    `json:"process,omitempty"` // who writes: unique for each run of a process, such as "worker-2#1"
	Seq     int64     `json:"seq,omitempty"`     // 1, 2, ... for each Process

	Record     Pos    `json:"record,omitzero"`      // the record this is about
	Kind       string `json:"kind,omitempty"`       //
	Key        string `json:"key,omitempty"`        // bytes of the record key; key_base64 on disk where not UTF-8
	ID         string `json:"id,omitempty"`         // id_base64 on disk where not UTF-8
	Generation int    `json:"generation,omitempty"` //
	Hop        int    `json:"hop,omitempty"`        //
	Attempt    int    `json:"attempt,omitempty"`    // 1 for the first
	Fence      int64  `json:"fence,omitempty"`      // called, effect: the fencing token given to the handler
	Call       int64  `json:"call,omitempty"`       // called, returned: pairs the two within a process; optional

	Digest         string        `json:"digest,omitempty"`          // produced, filed: Digest of the payload
	At             time.Time     `json:"at,omitzero"`               // produced: not before
	Intent         string        `json:"intent,omitempty"`          // produced: the final outcome expected, or "poison"
	Order          Order         `json:"order,omitempty"`           // called
	IdempotencyKey string        `json:"idempotency_key,omitempty"` // called, effect
	Result         Result        `json:"result,omitempty"`          // returned
	Delay          time.Duration `json:"delay_ns,omitempty"`        // returned: what the handler asked for, 0 if it did not
	Outcome        Outcome       `json:"outcome,omitempty"`         // outcome
	Code           string        `json:"code,omitempty"`            // filed
	Origin         Pos           `json:"origin,omitzero"`           // filed, redriven: the record of the job topic it came from
	Fault          Fault         `json:"fault,omitempty"`           // fault
	Target         string        `json:"target,omitempty"`          // fault: a Process, or a broker
	Text           string        `json:"text,omitempty"`            // note, fault: for readers
}

// IntentPoison is the Intent of a job whose handler takes its process down.
const IntentPoison = "poison"

// DigestOf is the digest producers put into events: 128 bits of SHA-256 in hex, "null" for a null payload.
func DigestOf(payload []byte) string {
	if payload == nil {
		return "null"
	}
	sum := sha256.Sum256(payload)
	return hex.EncodeToString(sum[:16])
}

// Sink takes events. Record never blocks on anything but the sink's own medium, never fails visibly (sinks keep their
// first error) and may be called by many goroutines; an event is in the ledger when Record returns.
type Sink interface {
	Record(Event)
}
