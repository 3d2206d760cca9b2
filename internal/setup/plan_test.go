package setup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/control"
)

// want is the group "mailer" of job topic "emails" with one tier.
func want() Want {
	return Want{Group: "mailer", Topics: []TopicWant{{Name: "emails"}}, Tiers: []time.Duration{10 * time.Second}, Window: 72 * time.Hour}
}

// have is a cluster in which everything of want is right, with 4 partitions, and its layout.
func have() (Have, control.Layout) {
	held := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime",
		"max.message.bytes": "1114124"}
	receipts := map[string]string{"cleanup.policy": "delete", "retention.ms": "345600000", "retention.bytes": "-1", "segment.ms": "32400000",
		"message.timestamp.type": "LogAppendTime", "max.message.bytes": "1114124"}
	compact := map[string]string{"cleanup.policy": "compact"}
	var layout control.Layout
	layout.Add("emails", 4, want().Tiers)
	return Have{
		"emails":                  {4, 3, map[string]string{"max.message.bytes": "1048588"}},
		"emails.mailer.retry.10s": {4, 3, maps.Clone(held)},
		"emails.mailer.dlq":       {1, 3, maps.Clone(held)},
		"emails.mailer.receipts":  {4, 3, receipts},
		"mailer.control":          {1, 3, maps.Clone(compact)},
		"mailer.status":           {1, 3, maps.Clone(compact)},
		"mailer.audit":            {1, 3, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}},
	}, layout
}

func render(r Report) string {
	var lines []string
	for _, c := range r.Changes {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Action, c.Topic, c.Config)))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

func TestCompareNothingDiffers(t *testing.T) {
	h, layout := have()
	r := Compare(want(), h, layout)
	if !r.OK() || r.Err() != nil || r.Partitions != 16 {
		t.Errorf("%d partitions, %v", r.Partitions, r.Changes)
	}
}

func TestCompare(t *testing.T) {
	set := func(topic, key, value string) func(*Want, Have, *control.Layout) {
		return func(_ *Want, h Have, _ *control.Layout) { h[topic].Configs[key] = value }
	}
	partitions := func(topic string, n int32) func(*Want, Have, *control.Layout) {
		return func(_ *Want, h Have, _ *control.Layout) { e := h[topic]; e.Partitions = n; h[topic] = e }
	}
	for _, c := range []struct {
		name   string
		change func(*Want, Have, *control.Layout)
		want   string // the changes
		err    string // part of the error; empty: none
		count  int    // partitions in all
	}{
		{"no job topic", func(_ *Want, h Have, _ *control.Layout) { delete(h, "emails") }, "refuse emails", "create it, or name a partition count", 3},
		{"job topic to be made", func(w *Want, h Have, l *control.Layout) { clear(h); *l = control.Layout{}; w.Topics[0].Partitions = 2 },
			"create emails, create emails.mailer.dlq, create emails.mailer.receipts, create emails.mailer.retry.10s, create mailer.audit, create mailer.control, create mailer.status",
			"topic emails: is missing (2 partitions); `waybill setup apply` mends it", 10},
		{"a tier more", func(w *Want, _ Have, _ *control.Layout) { w.Tiers = append(w.Tiers, time.Minute) }, "create emails.mailer.retry.1m", "emails.mailer.retry.1m: is missing", 20},
		{"retention of a tier", set("emails.mailer.retry.10s", "retention.ms", "604800000"), "alter emails.mailer.retry.10s retention.ms", `retention.ms is "604800000" and must be -1`, 16},
		{"clock of a tier", set("emails.mailer.retry.10s", "message.timestamp.type", "CreateTime"), "alter emails.mailer.retry.10s message.timestamp.type", "must be LogAppendTime", 16},
		{"compacted letters", set("emails.mailer.dlq", "cleanup.policy", "compact"), "alter emails.mailer.dlq cleanup.policy", "must be delete", 16},
		{"size of letters", set("emails.mailer.dlq", "max.message.bytes", "1048588"), "alter emails.mailer.dlq max.message.bytes", "at least 1114124", 16},
		{"larger letters", set("emails.mailer.dlq", "max.message.bytes", "99999999"), "", "", 16},
		{"larger jobs", set("emails", "max.message.bytes", "2000000"), "alter emails.mailer.dlq max.message.bytes, alter emails.mailer.receipts max.message.bytes, alter emails.mailer.retry.10s max.message.bytes", "at least 2065536", 16},
		{"receipts forever", set("emails.mailer.receipts", "retention.ms", "-1"), "", "", 16},
		{"receipts too short", set("emails.mailer.receipts", "retention.ms", "345599999"), "alter emails.mailer.receipts retention.ms", "at least 345600000", 16},
		{"segments too long", set("emails.mailer.receipts", "segment.ms", "604800000"), "alter emails.mailer.receipts segment.ms", "at most 32400000", 16},
		{"no number", set("emails.mailer.receipts", "segment.ms", ""), "alter emails.mailer.receipts segment.ms", "at most 32400000", 16},
		{"control", set("mailer.control", "cleanup.policy", "delete"), "alter mailer.control cleanup.policy", "must be compact", 16},
		{"compacted jobs", set("emails", "cleanup.policy", "compact,delete"), "warn emails cleanup.policy", "", 16},
		{"tier partitions", partitions("emails.mailer.retry.10s", 3), "refuse emails.mailer.retry.10s partitions", "has 3 partitions and must have 4", 15},
		{"receipt partitions", partitions("emails.mailer.receipts", 8), "warn emails.mailer.receipts partitions", "", 20},
		{"letter partitions", partitions("emails.mailer.dlq", 7), "", "", 22},
		{"more jobs partitions", partitions("emails", 6), "warn emails partitions", "", 18},
		{"an old tier that is there", func(_ *Want, h Have, l *control.Layout) {
			l.Add("emails", 4, []time.Duration{time.Hour})
			h["emails.mailer.retry.1h"] = Existing{4, 3, map[string]string{"cleanup.policy": "delete", "retention.ms": "1", "retention.bytes": "-1",
				"message.timestamp.type": "LogAppendTime", "max.message.bytes": "1114124"}}
		}, "alter emails.mailer.retry.1h retention.ms", "retention.ms", 20},
		{"an old tier of a group whose layout is lost", func(_ *Want, h Have, l *control.Layout) {
			*l = control.Layout{}
			h["emails.mailer.retry.1h"] = Existing{4, 3, map[string]string{"cleanup.policy": "delete", "retention.ms": "1", "retention.bytes": "-1",
				"message.timestamp.type": "LogAppendTime", "max.message.bytes": "1114124"}}
		}, "alter emails.mailer.retry.1h retention.ms", "retention.ms", 20},
		{"an old tier that is gone", func(_ *Want, _ Have, l *control.Layout) { l.Add("emails", 4, []time.Duration{time.Hour}) }, "", "", 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := want()
			h, layout := have()
			c.change(&w, h, &layout)
			r := Compare(w, h, layout)
			if got := render(r); got != c.want {
				t.Errorf("changes %q, want %q", got, c.want)
			}
			if err := r.Err(); (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if r.Partitions != c.count {
				t.Errorf("%d partitions, want %d", r.Partitions, c.count)
			}
		})
	}
}

// The layout keeps every tier and the partition count the group was laid out for.
func TestCompareLayout(t *testing.T) {
	h, layout := have()
	layout.Add("emails", 4, []time.Duration{time.Hour})
	layout.Add("gone", 2, []time.Duration{time.Second})
	h["emails"] = Existing{6, 3, nil}
	w := want()
	w.Tiers = []time.Duration{time.Minute}
	r := Compare(w, h, layout)
	if got := r.Layout.Topics["emails"]; got.Partitions != 4 || !slices.Equal(got.Tiers, []string{"10s", "1m", "1h"}) {
		t.Errorf("layout %+v", got)
	}
	if !r.Layout.Has(control.Layout{Topics: map[string]control.Topic{"gone": layout.Topics["gone"]}}) || r.OK() {
		t.Errorf("layout %+v", r.Layout)
	}
	if got := layout.Topics["emails"].Tiers; len(got) != 2 {
		t.Errorf("Compare changed what it was given: %v", got)
	}
}

func TestReplication(t *testing.T) {
	for _, c := range []struct {
		name     string
		exists   bool
		asked    int
		replicas int16
	}{{"as the job topic", true, 0, 3}, {"as asked", true, 2, 2}, {"the broker's default", false, 0, -1}, {"all as asked", false, 2, 2}} {
		h, _ := have()
		w := want()
		w.Topics[0].Replication, w.Topics[0].Partitions = c.asked, 4
		for name := range h {
			if name != "emails" || !c.exists {
				delete(h, name)
			}
		}
		for _, change := range Compare(w, h, control.Layout{}).Changes {
			if change.Action != Create || change.spec.replication != c.replicas {
				t.Errorf("%s: %v with %d replicas, want %d", c.name, change, change.spec.replication, c.replicas)
			}
		}
	}
}

func TestWantFaultsComeAtOnce(t *testing.T) {
	w := Want{Group: "a b", Topics: []TopicWant{{Name: "x", Partitions: -1}, {Name: "x"}}, Tiers: []time.Duration{1}, Window: time.Second}
	err := w.withDefaults().validate()
	for _, part := range []string{`Group: "a b"`, "-1 partitions", "named twice", "Tiers:", "Window:"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v lacks %q", err, part)
		}
	}
	if err := (Want{Group: "g"}).withDefaults().validate(); err != nil {
		t.Error(err)
	}
}
