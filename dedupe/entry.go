package dedupe

import (
	"encoding/base64"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// TopicID is Kafka's own name of one incarnation of a topic: a topic deleted and made again under its old name has another.
type TopicID [16]byte

// String is the id as Kafka's tools print it: 22 characters of URL-safe base64.
func (t TopicID) String() string { return base64.RawURLEncoding.EncodeToString(t[:]) }

// Frontier says that everything below Offset in the task's partition of Topic is settled.
type Frontier struct {
	Topic  TopicID
	Offset int64
}

// Owner is an ownership record: from its offset on, which is the epoch, the task is its writer's.
type Owner struct {
	Instance   string // the instance's configured or generated name
	Process    string // unique per process start
	Member     string // group member id at the time of writing
	Group      string
	Generation int32 // group generation at the time of writing
	Intake     int64 // records the owner may have taken in past each frontier: bounds the suspects of its successor
	Of         Place // what the log is of; in a header, see PlaceHeader. Zero: an older owner, which did not say
}

// Release says how an owner let its task go.
type Release uint8

// The ways. Their numbers are wire format.
const (
	Held         Release = iota // it did not, or nobody knows: its process may have died with attempts running
	LeftSuspects                // nothing of its own ran any more; but of what one before it left running not all is settled
	Released                    // nothing ran any more, and nothing is left of those before it
	releases
)

// String is the word of the status page and the CLI, such as "released".
func (r Release) String() string {
	switch r {
	case LeftSuspects:
		return "left_suspects"
	case Released:
		return "released"
	}
	return "held"
}

// Segment is what one tick of an owner makes durable.
type Segment struct {
	Epoch     int64      // offset of the ownership record the writer rests on
	Frontiers []Frontier // empty: this segment says nothing of frontiers. Void unless Epoch is the newest
	Receipts  []Receipt  // facts, whoever wrote them
	Marks     []Receipt  // started marks, and how far jobs that are done reach: void unless Epoch is the newest
	Release   Release    // the owner's last word: the task is let go. Void unless Epoch is the newest

	// Forget withdraws what the log says of these jobs before this entry, whoever wrote it; receipts and marks of the entry
	// itself stand. An operator's, who wants a job to be run again: owners write none.
	Forget []job.Identity
}

// Entry is one record of the receipt log. Exactly one of Owner and Segment is set.
type Entry struct {
	Offset  int64     // in the log's partition
	Time    time.Time // of the append, by the broker's clock
	Owner   *Owner
	Segment *Segment
}
