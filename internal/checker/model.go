package checker

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// place is a partition of a job topic, with the same partition of its tiers: a task.
type place struct {
	topic     int // index into Input.Jobs
	partition int32
}

// identity is what makes two records the same job.
type identity struct {
	place
	kind, key, id string
	null          bool  // a null key, which is another key than an empty one
	enqueue       int64 // of a kind whose jobs may be enqueued again: its offset in the job topic and one; else 0
}

// job is one identity with everything known of it.
type job struct {
	identity
	records  []*record // of the job topic, in log order; the first is the accepted one
	copies   []*record // of the tiers, in order of generation, hop, tier, offset
	letters  []*letter // in order of generation
	calls    []*call   // in order of start
	effects  []*ledger.Event
	redrives []*ledger.Event
	outcomes []*ledger.Event

	forgotten []*ledger.Event // orders to forget it

	// set by settle
	final  Class
	gen    int  // the newest generation anybody has seen
	double bool // it reached more than one final outcome
}

func (j *job) String() string {
	key := quoted(j.key)
	if j.null {
		key = "null"
	}
	return fmt.Sprintf("%s key %s id %s in partition %d", quoted(j.kind), key, quoted(strings.TrimPrefix(j.id, given)), j.partition)
}

// given begins the id of a job that is named by its place: no header carries a NUL, so it cannot be anybody else's.
const given = "\x00"

// quoted is s in one piece on one line: as it is where it can be, quoted where it cannot, and never long.
func quoted(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || !unicode.IsPrint(r) }) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// record is a record of a job topic or of a tier.
type record struct {
	headers
	pos      ledger.Pos
	place    place
	tier     int   // index into JobTopic.Tiers, -1 on the job topic
	time     int64 // its timestamp in ns
	key      []byte
	digest   string
	job      *job
	given    bool // its kind or id are not on it (foreign, malformed): copies and calls name what the checker cannot
	consumed bool // below the committed offset
	class    Class
}

// older reports whether o is further on in the life of the job: once o is known, r is stale.
func (r *record) older(o *record) bool { return r.gen < o.gen || r.gen == o.gen && r.hop < o.hop }

// letter is one record of a dead-letter topic, or a `filed` event where the topic was not read.
type letter struct {
	pos      ledger.Pos
	origin   ledger.Pos
	gen      int
	code     string
	digest   string // empty: the payload was left out
	time     int64
	conflict bool // files another payload under a used identity; says nothing about the job
}

// call is one attempt, from `called` to its end.
type call struct {
	*ledger.Event // the `called`
	job           *job
	rec           *record // nil when the record was trimmed before anybody read it
	place         place
	proc          *process
	ret           *ledger.Event // the `returned`; nil while open and when the process died first
	died          bool          // its process was killed, or gone, before it returned
	start, end    int           // ranks; end is beyond all ranks while open
	startT, endT  int64         // ns
}

// result is how the call ended, empty when it did not return.
func (c *call) result() ledger.Result {
	if c.ret == nil {
		return ""
	}
	return c.ret.Result
}

// failed reports whether the call is known not to have succeeded.
func (c *call) failed() bool {
	r := c.result()
	return r != "" && r != ledger.Done
}

// evidence is the events of calls.
func evidence(calls ...*call) []ledger.Event {
	var events []ledger.Event
	for _, c := range calls {
		events = append(events, *c.Event)
		if c.ret != nil {
			events = append(events, *c.ret)
		}
	}
	return events
}
