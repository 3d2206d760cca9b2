package retrytopics

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultTiers are the retry tiers of a group that names none.
var DefaultTiers = []time.Duration{10 * time.Second, 2 * time.Minute, 30 * time.Minute}

// MaxName is the length Kafka allows a topic name, in bytes.
const MaxName = 249

// The parts between or after a job topic's and a group's name.
const (
	retryPart    = ".retry."
	dlqPart      = ".dlq"
	receiptsPart = ".receipts"
	controlPart  = ".control"
	statusPart   = ".status"
	auditPart    = ".audit"
)

// TierTopic names the topic that delays jobs of topic in group by up to d, such as "emails.mailer.retry.10s".
func TierTopic(topic, group string, d time.Duration) string {
	return topic + "." + group + retryPart + FormatTier(d)
}

// DeadLetterTopic names the topic of group's dead letters of topic.
func DeadLetterTopic(topic, group string) string { return topic + "." + group + dlqPart }

// ReceiptTopic names group's receipt log of topic.
func ReceiptTopic(topic, group string) string { return topic + "." + group + receiptsPart }

// ControlTopic names the compacted topic of the group's orders and layout.
func ControlTopic(group string) string { return group + controlPart }

// StatusTopic names the compacted topic in which instances say what they do.
func StatusTopic(group string) string { return group + statusPart }

// AuditTopic names the topic of who did what and why.
func AuditTopic(group string) string { return group + auditPart }

// TierOf is the inverse of TierTopic: the delay of the tier of (topic, group) that name is, false when it is none.
func TierOf(name, topic, group string) (time.Duration, bool) {
	rest, ok := strings.CutPrefix(name, topic+"."+group+retryPart)
	if !ok {
		return 0, false
	}
	d, err := ParseTier(rest)
	return d, err == nil
}

// tierUnits are the units of a tier's name, from large to small.
var tierUnits = [...]struct {
	name string
	size time.Duration
}{{"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}}

// FormatTier renders a delay as it stands in topic names and in the layout: whole hours, minutes, seconds and
// milliseconds, largest first, none of them zero, such as "10s", "2m", "1h30m" or "1s500ms". There is one text for each
// delay. What is below a millisecond is cut off; NewPlan refuses such tiers.
func FormatTier(d time.Duration) string {
	if d < time.Millisecond {
		return "0s"
	}
	var b []byte
	for _, u := range tierUnits {
		if n := d / u.size; n > 0 {
			b = append(strconv.AppendInt(b, int64(n), 10), u.name...)
			d -= n * u.size
		}
	}
	return string(b)
}

// ParseTier is the inverse of FormatTier. It accepts the canonical text alone ("90s" is refused: it is "1m30s"), so that
// no two topics stand for one tier.
func ParseTier(text string) (time.Duration, error) {
	// time.ParseDuration accepts more (fractions, signs, zeros, other units); what it makes of those renders differently.
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond {
		return 0, fmt.Errorf("tier %q is not a delay like 10s, 2m or 1h30m", clip(text))
	}
	if canonical := FormatTier(d); canonical != text {
		return 0, fmt.Errorf("tier %q is not in its canonical form %q", clip(text), canonical)
	}
	return d, nil
}

// EngineTopics names every topic Waybill keeps for topic in group beside the topic itself, in the order tiers, dead
// letters, receipts. The group's own three topics are not among them.
func EngineTopics(topic, group string, tiers []time.Duration) []string {
	names := make([]string, 0, len(tiers)+2)
	for _, d := range tiers {
		names = append(names, TierTopic(topic, group, d))
	}
	return append(names, DeadLetterTopic(topic, group), ReceiptTopic(topic, group))
}

// CheckNames returns every fault of the names that a group serving topics with tiers needs, joined, each beginning with the
// field, Group or Topics: names Kafka refuses, names longer than MaxName, topics given twice, job topics that are an engine
// topic of this group, and any two names that are equal or differ only in '.' and '_', which Kafka refuses because its
// metrics cannot tell them apart.
//
// It sees one group. Two groups can still make the same name (topic "a" in group "b.c", topic "a.b" in group "c"); a
// group name without dots cannot do that.
func CheckNames(group string, topics []string, tiers []time.Duration) error {
	var errs []error
	if err := CheckTopic(group); err != nil {
		errs = append(errs, fmt.Errorf("Group: %q: %w; it becomes part of topic names", clip(group), err))
	}
	valid := make([]string, 0, len(topics))
	for i, t := range topics {
		switch err := CheckTopic(t); {
		case err != nil:
			errs = append(errs, fmt.Errorf("Topics: %q: %w", clip(t), err))
		case slices.Contains(topics[:i], t):
			errs = append(errs, fmt.Errorf("Topics: %q is named twice; name it once", t))
		case engineName(t, group):
			errs = append(errs, fmt.Errorf("Topics: %q is named like a topic that Waybill keeps for group %q; rename one of them", t, group))
		default:
			valid = append(valid, t)
		}
	}
	return errors.Join(append(errs, collisions(group, valid, tiers)...)...)
}

// collisions checks all names against each other and against Kafka's limit.
func collisions(group string, topics []string, tiers []time.Duration) []error {
	var errs []error
	folded := make(map[string]string) // name with '_' for '.', to the first name that has this form
	add := func(name, owner string) {
		if n := len(name) - MaxName; n > 0 {
			errs = append(errs, fmt.Errorf("%s: its topic %q is %d bytes too long; shorten the name of the topic or the group", owner, name, n))
		}
		form := strings.ReplaceAll(name, ".", "_")
		if other, taken := folded[form]; taken {
			errs = append(errs, fmt.Errorf("%s: its topic %q collides with %q (Kafka does not tell '.' from '_'); rename a topic or the group", owner, name, other))
			return
		}
		folded[form] = name
	}
	for _, name := range [...]string{ControlTopic(group), StatusTopic(group), AuditTopic(group)} {
		add(name, fmt.Sprintf("Group: %q", clip(group)))
	}
	for _, t := range topics {
		add(t, fmt.Sprintf("Topics: %q", t))
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(tiers)))
	for _, t := range topics {
		for _, name := range EngineTopics(t, group, sorted) {
			add(name, fmt.Sprintf("Topics: %q", t))
		}
	}
	return errs
}

// engineName reports whether name is one that Waybill would give to an engine topic of group, of whatever job topic.
func engineName(name, group string) bool {
	if name == ControlTopic(group) || name == StatusTopic(group) || name == AuditTopic(group) {
		return true
	}
	if i := strings.LastIndex(name, retryPart); i >= 0 {
		if _, err := ParseTier(name[i+len(retryPart):]); err == nil && ofGroup(name[:i], group) {
			return true
		}
	}
	for _, part := range [...]string{dlqPart, receiptsPart} {
		if head, ok := strings.CutSuffix(name, part); ok && ofGroup(head, group) {
			return true
		}
	}
	return false
}

// ofGroup reports whether head is some topic's name followed by the group's.
func ofGroup(head, group string) bool {
	topic, ok := strings.CutSuffix(head, "."+group)
	return ok && topic != ""
}

// CheckTopic says why Kafka would refuse a topic of that name.
func CheckTopic(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case name == "." || name == "..":
		return errors.New("Kafka refuses this name")
	case len(name) > MaxName:
		return fmt.Errorf("the name has %d bytes, more than %d", len(name), MaxName)
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-') {
			return fmt.Errorf("the name contains %q; use letters, digits, '.', '_' and '-'", r)
		}
	}
	return nil
}

func clip(s string) string { return s[:min(len(s), 64)] }
