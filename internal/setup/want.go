package setup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/waybill-dev/waybill/retrytopics"
)

// Want is what a group needs.
type Want struct {
	Group  string
	Topics []TopicWant
	Tiers  []time.Duration // that new copies go to; defaults to retrytopics.DefaultTiers
	Window time.Duration   // how long receipts are remembered; defaults to 72 h
}

// withDefaults returns w with every unset field at its default.
func (w Want) withDefaults() Want {
	if len(w.Tiers) == 0 {
		w.Tiers = retrytopics.DefaultTiers
	}
	if w.Window == 0 {
		w.Window = 72 * time.Hour
	}
	return w
}

// validate returns every fault of w, joined.
func (w Want) validate() error {
	var errs []error
	names := make([]string, len(w.Topics))
	for i, t := range w.Topics {
		names[i] = t.Name
		if t.Partitions < 0 || t.Partitions > math.MaxInt32 || t.Replication < 0 || t.Replication > math.MaxInt16 {
			errs = append(errs, fmt.Errorf("topic %q: %d partitions with %d replicas are not possible", t.Name, t.Partitions, t.Replication))
		}
	}
	if w.Window < time.Minute {
		errs = append(errs, fmt.Errorf("Window: %v is below a minute", w.Window))
	}
	_, err := retrytopics.NewPlan(w.Tiers)
	return errors.Join(append(errs, err, retrytopics.CheckNames(w.Group, names, w.Tiers))...)
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
	optional    bool // not created where it is missing
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

// engineTopics is every topic Waybill keeps for one job topic (design section 3). Of the tiers it ever had, those that no
// new copies go to are checked where they still exist.
func engineTopics(w Want, t TopicWant, ever []time.Duration, partitions int32, replication int16, maxBytes int64) []*spec {
	limit := config{"max.message.bytes", strconv.FormatInt(maxBytes+Spare, 10), atLeast}
	stamp := config{"message.timestamp.type", "LogAppendTime", equal}
	forever := config{"retention.ms", "-1", equal}
	keep := config{"cleanup.policy", "delete", equal}
	var out []*spec
	held := []config{keep, forever, {"retention.bytes", "-1", equal}, stamp, limit}
	for _, d := range allTiers(w.Tiers, ever) {
		out = append(out, &spec{name: retrytopics.TierTopic(t.Name, w.Group, d), partitions: partitions, replication: replication, exact: true,
			optional: !slices.Contains(w.Tiers, d), configs: held})
	}
	out = append(out, &spec{name: retrytopics.DeadLetterTopic(t.Name, w.Group), partitions: 1, replication: replication, configs: held})
	return append(out, &spec{name: retrytopics.ReceiptTopic(t.Name, w.Group), partitions: partitions, replication: replication, exact: true, configs: []config{keep,
		{"retention.ms", millis(w.Window + receiptsSpare), atLeast}, {"retention.bytes", "-1", equal}, {"segment.ms", millis(w.Window / 8), atMost}, stamp,
		{"max.message.bytes", strconv.FormatInt(max(maxBytes, 1<<20)+Spare, 10), atLeast}}})
}

// allTiers is the union of both, sorted.
func allTiers(now, ever []time.Duration) []time.Duration {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(now, ever))))
}

// groupTopics are the topics of the group as a whole.
func groupTopics(group string, replication int16) []*spec {
	compact := []config{{"cleanup.policy", "compact", equal}}
	return []*spec{
		{name: retrytopics.ControlTopic(group), partitions: 1, replication: replication, exact: true, configs: compact},
		{name: retrytopics.StatusTopic(group), partitions: 1, replication: replication, exact: true, configs: compact},
		{name: retrytopics.AuditTopic(group), partitions: 1, replication: replication, configs: []config{{"cleanup.policy", "delete", equal},
			{"retention.ms", millis(365 * 24 * time.Hour), atLeast}}},
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// String is the change on one line.
func (c Change) String() string { return fmt.Sprintf("%s %s: %s", c.Action, c.Topic, c.Text) }
