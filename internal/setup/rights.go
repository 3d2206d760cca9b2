package setup

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/retrytopics"
)

// Role is who needs a right.
type Role string

// The roles; docs/edge.md explains them, and `waybill setup rights` lists what each needs.
const (
	Worker   Role = "worker"   // runs the handlers of a group
	Producer Role = "producer" // enqueues jobs
	Operator Role = "operator" // sets groups up, looks at them, redrives letters
)

// Roles are all of them.
func Roles() []Role { return []Role{Worker, Producer, Operator} }

// Right is what one role must be allowed to do with one topic or group, and what it is for.
type Right struct {
	Group bool   `json:"group,omitempty"` // Name is a consumer group; else a topic
	Name  string `json:"name"`
	Op    Op     `json:"operation"`
	For   string `json:"for"`
	// Spare: without it the role works, but for what For says.
	Spare bool `json:"spare,omitempty"`
}

// Op is an operation as Kafka's authorizer knows it. Read, Write, Delete and Alter imply Describe; AlterConfigs implies
// DescribeConfigs.
type Op kmsg.ACLOperation

// The operations that the roles need.
const (
	Read            = Op(kmsg.ACLOperationRead)
	Write           = Op(kmsg.ACLOperationWrite)
	CreateTopics    = Op(kmsg.ACLOperationCreate)
	Delete          = Op(kmsg.ACLOperationDelete)
	Describe        = Op(kmsg.ACLOperationDescribe)
	DescribeConfigs = Op(kmsg.ACLOperationDescribeConfigs)
	AlterConfigs    = Op(kmsg.ACLOperationAlterConfigs)
)

// words is the operation as Kafka's tools spell it.
func (o Op) words() string {
	switch o {
	case DescribeConfigs:
		return "DescribeConfigs"
	case AlterConfigs:
		return "AlterConfigs"
	}
	text := kmsg.ACLOperation(o).String()
	return text[:1] + strings.ToLower(text[1:])
}

// String is the operation in capitals, as Kafka's documents write it.
func (o Op) String() string { return kmsg.ACLOperation(o).String() }

// MarshalText is String.
func (o Op) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// String names the operation and the resource.
func (r Right) String() string { return r.Op.String() + " on " + r.Resource() }

// Resource is "topic NAME" or "group NAME".
func (r Right) Resource() string {
	if r.Group {
		return "group " + r.Name
	}
	return "topic " + r.Name
}

// Command is what grants the right with Kafka's own tool.
func (r Right) Command(principal string) string {
	what := "--topic"
	if r.Group {
		what = "--group"
	}
	return fmt.Sprintf("kafka-acls.sh --add --allow-principal %s --operation %s %s %s", principal, r.Op.words(), what, r.Name)
}

// Rights are what a role needs for the topics of w, and for the tiers its group ever had (by job topic, may be nil). They
// are the least with which everything works; TestRights runs a group on nothing more.
func Rights(role Role, w Want, ever map[string][]time.Duration) []Right {
	w = w.withDefaults()
	var b rightsOf
	for _, t := range w.Topics {
		b.ofTopic(role, w, t.Name, ever[t.Name])
	}
	if role == Producer {
		return b
	}
	control, status, audit := retrytopics.ControlTopic(w.Group), retrytopics.StatusTopic(w.Group), retrytopics.AuditTopic(w.Group)
	if role == Worker {
		b.add(control, "the layout is read", Read)
		b.add(audit, "what is discarded, expired or ordered by hand is noted", Write)
		b.checked(control, status, audit)
		return append(b, Right{Group: true, Name: w.Group, Op: Read, For: "the group is joined and its offsets are committed"})
	}
	b.add(control, "the layout is read", Read)
	b.add(control, "setup writes the layout", Write)
	b.add(audit, "what was redriven or forgotten, and by whom, is known", Read)
	b.add(audit, "a redrive, or an order to forget, is noted", Write)
	b.made(control, status, audit)
	return append(b, Right{Group: true, Name: w.Group, Op: Describe, For: "members and offsets are shown"})
}

type rightsOf []Right

func (b *rightsOf) add(topic, why string, ops ...Op) {
	for _, op := range ops {
		*b = append(*b, Right{Name: topic, Op: op, For: why})
	}
}

// checked are topics whose settings are looked at before anything runs.
func (b *rightsOf) checked(topics ...string) {
	for _, t := range topics {
		b.add(t, "settings and sizes are checked at the start", DescribeConfigs)
		if !slices.ContainsFunc(*b, func(r Right) bool { return r.Name == t && (r.Op == Read || r.Op == Write) }) {
			b.add(t, "settings and sizes are checked at the start", Describe)
		}
	}
}

// made are topics that setup apply makes and changes.
func (b *rightsOf) made(topics ...string) {
	for _, t := range topics {
		b.add(t, "setup makes it", CreateTopics)
		b.add(t, "setup compares and changes its settings", AlterConfigs)
		if !slices.ContainsFunc(*b, func(r Right) bool { return r.Name == t && (r.Op == Read || r.Op == Write) }) {
			b.add(t, "it is shown", Describe)
		}
	}
}

func (b *rightsOf) ofTopic(role Role, w Want, t string, ever []time.Duration) {
	letters, receipts := retrytopics.DeadLetterTopic(t, w.Group), retrytopics.ReceiptTopic(t, w.Group)
	var tiers []string
	for _, d := range allTiers(w.Tiers, ever) {
		tiers = append(tiers, retrytopics.TierTopic(t, w.Group, d))
	}
	switch role {
	case Producer:
		b.add(t, "jobs are written", Write)
		*b = append(*b, Right{Name: t, Op: DescribeConfigs, For: "how large a job may be is asked; else the default of 1 MB is assumed", Spare: true})
	case Worker:
		b.add(t, "jobs are read", Read)
		for _, tier := range tiers {
			b.add(tier, "retries are read", Read)
			b.add(tier, "retries are written", Write)
			*b = append(*b, Right{Name: tier, Op: Delete, For: "what was retried is removed; without it the topic grows for ever", Spare: true})
		}
		b.add(letters, "dead letters are filed", Write)
		b.add(receipts, "receipts are read when a task is taken over", Read)
		b.add(receipts, "receipts are written", Write)
		b.checked(append(append([]string{t}, tiers...), letters, receipts)...)
	case Operator:
		b.add(t, "its settings are compared", DescribeConfigs)
		b.add(t, "the records of a job are shown", Read)
		for _, tier := range tiers {
			b.add(tier, "waiting retries are shown", Read)
			b.add(tier, "letters are redriven", Write)
		}
		b.add(letters, "letters are shown", Read)
		b.add(receipts, "owners and receipts are shown and verified", Read)
		b.add(receipts, "a job is ordered to be forgotten", Write)
		b.made(append(append([]string{}, tiers...), letters, receipts)...)
	}
}
