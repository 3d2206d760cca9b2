package setup

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/control"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Have is what a cluster has, by topic name.
type Have map[string]Existing

// tiers are the delays of the tiers of (topic, group) that there are, sorted.
func (h Have) tiers(topic, group string) (out []time.Duration) {
	for name := range h {
		if d, ok := retrytopics.TierOf(name, topic, group); ok {
			out = append(out, d)
		}
	}
	slices.Sort(out)
	return out
}

// Existing is one topic of a cluster.
type Existing struct {
	Partitions  int32
	Replication int16
	Configs     map[string]string
}

// Report is a plan: every difference, and how many partitions the group has when it is applied.
type Report struct {
	Changes    []Change       `json:"changes"`
	Partitions int            `json:"partitions"` // of every topic of the group, the job topics included
	Layout     control.Layout `json:"layout"`
	layoutNew  bool
	group      string
}

// OK reports whether nothing differs.
func (r Report) OK() bool { return len(r.Changes) == 0 && !r.layoutNew }

// Err is every difference that keeps a group from working as one error, nil when there is none.
func (r Report) Err() error {
	var errs []error
	for _, c := range r.Changes {
		text := c.Text
		if c.Action == Warn {
			continue
		}
		if c.Action != Refuse {
			text += "; `waybill setup apply` mends it"
		}
		errs = append(errs, fmt.Errorf("topic %s: %s", c.Topic, text))
	}
	return errors.Join(errs...)
}

// Compare is the pure part of a plan. layout is what the control topic says.
func Compare(w Want, have Have, layout control.Layout) Report {
	r := Report{group: w.Group, layoutNew: layout.Split()}
	r.Layout.Version, r.Layout.Topics = layout.Version, map[string]control.Topic{}
	for name, t := range layout.Topics {
		r.Layout.Topics[name] = control.Topic{Partitions: t.Partitions, Tiers: slices.Clone(t.Tiers)}
	}
	replication := int16(-1)
	for _, t := range w.Topics {
		partitions, repl := r.jobTopic(t, have)
		if partitions == 0 {
			continue
		}
		replication = max(replication, repl)
		known, inLayout := layout.Topics[t.Name]
		if inLayout && known.Partitions != partitions {
			r.differ(Warn, t.Name, "partitions", partitions, known.Partitions,
				"the group was laid out for %d partitions and the topic has %d now: order and dedupe end where the count changes; the new partitions stay paused (layout) until the group is grown", known.Partitions, partitions)
			partitions = min(partitions, known.Partitions)
		}
		maxBytes := int64(1048588) // the broker's default
		if b, ok := number(have[t.Name].Configs["max.message.bytes"]); ok {
			maxBytes = b
		}
		ever := layout.Tiers(t.Name)
		if !inLayout { // the control topic is new, or was lost: what tiers there were is told by their names
			ever = have.tiers(t.Name, w.Group)
		}
		for _, s := range engineTopics(w, t, ever, partitions, repl, maxBytes) {
			r.compare(s, have)
		}
		r.layoutNew = r.Layout.Add(t.Name, partitions, allTiers(w.Tiers, ever)) || r.layoutNew
	}
	for _, s := range groupTopics(w.Group, replication) {
		r.compare(s, have)
	}
	return r
}

// jobTopic checks a job topic and returns its partition count, 0 when there is none to go by, and its replication.
func (r *Report) jobTopic(t TopicWant, have Have) (int32, int16) {
	e, ok := have[t.Name]
	switch {
	case ok:
		r.Partitions += int(e.Partitions)
		if strings.Contains(e.Configs["cleanup.policy"], "compact") {
			r.differ(Warn, t.Name, "cleanup.policy", e.Configs["cleanup.policy"], "delete", "is compacted: of jobs with one key only the newest is kept; use cleanup.policy=delete for jobs")
		}
		if t.Replication > 0 {
			return e.Partitions, int16(t.Replication)
		}
		return e.Partitions, e.Replication
	case t.Partitions > 0:
		repl := int16(t.Replication)
		if repl == 0 {
			repl = -1
		}
		s := &spec{name: t.Name, partitions: int32(t.Partitions), replication: repl, exact: true}
		r.create(s)
		return s.partitions, repl
	}
	r.Changes = append(r.Changes, Change{Topic: t.Name, Action: Refuse,
		Text: "the job topic does not exist; create it, or name a partition count (setup apply --partitions N, or Setup: Create) and it is created"})
	return 0, 0
}

func (r *Report) create(s *spec) {
	r.Partitions += int(s.partitions)
	r.Changes = append(r.Changes, Change{Topic: s.name, Action: Create, Want: fmt.Sprintf("%d partitions", s.partitions),
		Text: fmt.Sprintf("is missing (%d partitions)", s.partitions), spec: s})
}

func (r *Report) differ(action Action, topic, what string, have, want any, format string, a ...any) {
	r.Changes = append(r.Changes, Change{Topic: topic, Action: action, Config: what, Have: fmt.Sprint(have), Want: fmt.Sprint(want), Text: fmt.Sprintf(format, a...)})
}

func (r *Report) compare(s *spec, have Have) {
	e, ok := have[s.name]
	if !ok {
		if !s.optional {
			r.create(s)
		}
		return
	}
	r.Partitions += int(e.Partitions)
	switch {
	case !s.exact || e.Partitions == s.partitions:
	case e.Partitions < s.partitions: // growing it moves nothing: every record names its partition
		r.differ(Refuse, s.name, "partitions", e.Partitions, s.partitions, "has %d partitions and must have %d; add them (kafka-topics.sh --alter --topic %s --partitions %d)", e.Partitions, s.partitions, s.name, s.partitions)
	default:
		r.differ(Warn, s.name, "partitions", e.Partitions, s.partitions, "has %d partitions, of which %d are used; if it is empty it may be deleted and is made anew", e.Partitions, s.partitions)
	}
	for _, c := range s.configs {
		if v := e.Configs[c.key]; !c.accepts(v) {
			r.Changes = append(r.Changes, Change{Topic: s.name, Action: Alter, Config: c.key, Have: v, Want: c.value,
				Text: fmt.Sprintf("%s is %q and must be %s%s", c.key, v, []string{"", "at least ", "at most "}[c.rule], c.value), spec: &spec{name: s.name, configs: []config{c}}})
		}
	}
}
