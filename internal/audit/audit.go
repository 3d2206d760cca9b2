package audit

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// The things that are audited, as they stand in Entry.What.
const (
	Redrive = "dlq.redrive"    // letters were put back on a retry tier
	Discard = "job.discard"    // a job ended without a letter
	Rewind  = "offset.rewind"  // an offset that the group did not commit was obeyed
	Forget  = "receipt.forget" // an operator withdrew what the receipt log said of a job
	// Recreated: a topic of the engine was deleted and made anew, and is taken up again without what was in it.
	Recreated = "topic.recreated"
)

// Entry is one line of the audit topic.
type Entry struct {
	Time    time.Time      `json:"time"`              // when it was done
	Who     string         `json:"who"`               // a person as the tool knows them, or an instance
	What    string         `json:"what"`              // noun.verb, see the constants
	Why     string         `json:"why,omitempty"`     // the reason given
	Details map[string]any `json:"details,omitempty"` // whatever json.Marshal takes
}

// Line is an entry as a record to be produced to partition 0 of Topic.
type Line struct {
	Topic      string
	Key, Value []byte
	Time       time.Time
}

// Record makes the record of e for a group. It never fails: details that do not marshal are replaced by their Go rendering,
// since a poor line is better than none. Texts are cut to job.MaxText.
func Record(group string, e Entry) *Line {
	e.Who, e.What, e.Why = job.Bounded(e.Who), job.Bounded(e.What), job.Bounded(e.Why)
	e.Time = e.Time.UTC()
	value, err := json.Marshal(e)
	if err != nil {
		if y := e.Time.Year(); y < 0 || y > 9999 { // what json cannot render of a time
			e.Time = time.Time{}
		}
		e.Details = map[string]any{"unmarshalable": job.Bounded(fmt.Sprintf("%v: %+v", err, e.Details))}
		value, _ = json.Marshal(e) // only strings and a valid time are left
	}
	return &Line{Topic: retrytopics.AuditTopic(group), Key: []byte(e.What), Value: value, Time: e.Time}
}

// Decode is the inverse of Record for the value of a record. Numbers in Details come back as float64, as json has them.
func Decode(value []byte) (Entry, error) {
	var e Entry
	if err := json.Unmarshal(value, &e); err != nil {
		return Entry{}, fmt.Errorf("not an audit entry: %w", err)
	}
	if e.What == "" {
		return Entry{}, fmt.Errorf("not an audit entry: it does not say what was done")
	}
	return e, nil
}
