package setup

import (
	"fmt"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/retrytopics"
)

// Want is what a group needs.
type Want struct {
	Group  string
	Topics []TopicWant
	Tiers  []time.Duration // that new copies go to
	Window time.Duration   // how long receipts are remembered
}

// TopicWant is a job topic.
type TopicWant struct {
	Name        string
	Partitions  int // to create it with; 0: it must exist
	Replication int // of topics to be created; 0: the broker's default
}

// Spare is how much larger than the job topic's the limit of copies and letters is: they carry more headers.
const Spare = 64 << 10

// receiptsSpare is how much longer than the window the log is kept.
const receiptsSpare = 24 * time.Hour

// Change is one difference between what is wanted and what is there.
type Change struct {
	Topic  string `json:"topic"`
	Action Action `json:"action"`
	Config string `json:"config,omitempty"` // the setting that differs
	Have   string `json:"have,omitempty"`
	Want   string `json:"want,omitempty"`
	Text   string `json:"text"` // what is wrong and, where Apply cannot mend it, what to do
	spec   *spec
}

// Action is what Apply does about a change.
type Action string

// The actions.
const (
	Create Action = "create"
	Alter  Action = "alter"
	Refuse Action = "refuse" // only a person can mend it
	Warn   Action = "warn"   // the group works, without what the text says
)

// spec is one topic as the design wants it.
type spec struct {
	name        string
	partitions  int32
	replication int16
	exact       bool // the partition count must be this
	configs     []config
}

// config is one setting; atLeast and atMost accept better values, since an operator may have reasons.
type config struct {
	key, value string
	rule       rule
}

type rule uint8

const (
	equal rule = iota
	atLeast
	atMost
)

func (c config) accepts(have string) bool {
	if c.rule == equal {
		return have == c.value
	}
	h, err1 := strconv.ParseInt(have, 10, 64)
	w, err2 := strconv.ParseInt(c.value, 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	if c.rule == atLeast {
		return h >= w || h == -1 && c.key != "max.message.bytes"
	}
	return h <= w
}

// engineTopics is every topic Waybill keeps for one job topic (design section 3).
func engineTopics(w Want, t TopicWant, partitions int32, replication int16, maxBytes int64) []*spec {
	limit := config{"max.message.bytes", strconv.FormatInt(maxBytes+Spare, 10), atLeast}
	stamp := config{"message.timestamp.type", "LogAppendTime", equal}
	forever := config{"retention.ms", "-1", equal}
	keep := config{"cleanup.policy", "delete", equal}
	var out []*spec
	for _, d := range w.Tiers {
		out = append(out, &spec{retrytopics.TierTopic(t.Name, w.Group, d), partitions, replication, true,
			[]config{keep, forever, {"retention.bytes", "-1", equal}, stamp, limit}})
	}
	out = append(out, &spec{retrytopics.DeadLetterTopic(t.Name, w.Group), 1, replication, false,
		[]config{keep, forever, {"retention.bytes", "-1", equal}, stamp, limit}})
	return append(out, &spec{retrytopics.ReceiptTopic(t.Name, w.Group), partitions, replication, true, []config{keep,
		{"retention.ms", millis(w.Window + receiptsSpare), atLeast}, {"retention.bytes", "-1", equal}, {"segment.ms", millis(w.Window / 8), atMost}, stamp,
		{"max.message.bytes", strconv.FormatInt(max(maxBytes, 1<<20)+Spare, 10), atLeast}}})
}

// groupTopics are the topics of the group as a whole.
func groupTopics(group string, replication int16) []*spec {
	compact := []config{{"cleanup.policy", "compact", equal}}
	return []*spec{
		{retrytopics.ControlTopic(group), 1, replication, true, compact},
		{retrytopics.StatusTopic(group), 1, replication, true, compact},
		{retrytopics.AuditTopic(group), 1, replication, false, []config{{"cleanup.policy", "delete", equal},
			{"retention.ms", millis(365 * 24 * time.Hour), atLeast}}},
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (c Change) String() string { return fmt.Sprintf("%s %s: %s", c.Action, c.Topic, c.Text) }
