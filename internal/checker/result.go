package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// Rule names what was broken; I1 to I14 are the design's invariants.
type Rule string

// The rules, each in one sentence.
const (
	RuleI1         Rule = "I1"           // an offset was committed, or trimmed, above a record that is not settled
	RuleI2         Rule = "I2"           // a frontier in force in the receipt log, or a committed offset, went back
	RuleI3         Rule = "I3"           // a frontier or a commit is above what the receipt log settles
	RuleI5         Rule = "I5"           // two jobs of one key (or partition) overlapped, or started out of order
	RuleI6         Rule = "I6"           // a record was run that was already settled
	RuleI7         Rule = "I7"           // a job ran before it was due
	RuleI9         Rule = "I9"           // a fencing token went back, or two processes had the same one
	RuleI11        Rule = "I11"          // the account does not balance, or the engine's own account differs
	RuleI12        Rule = "I12"          // a process started an attempt after its lease had ended
	RuleI13        Rule = "I13"          // an owner ran what its receipt log had settled before its epoch
	RuleI14        Rule = "I14"          // a job in retry is not final and has no record left that would be read
	RuleLost       Rule = "lost"         // a record that was acked to a producer is not in the topic
	RuleQuiesced   Rule = "quiesced"     // a record was not consumed although the run ended idle
	RuleAgain      Rule = "again"        // a job ran beside another enqueue of its name, or within the window of one
	RuleIntent     Rule = "intent"       // a job ended otherwise than its producer said it would
	RuleCopy       Rule = "copy"         // a tier holds a copy that is malformed, altered, doubled or out of nowhere
	RuleLetter     Rule = "letter"       // the same of dead letters
	RuleRedrive    Rule = "redrive"      // a redrive was swallowed, or had no letter
	RuleAtMostOnce Rule = "at_most_once" // a job was run again although its first run may have succeeded
	RuleAttempts   Rule = "attempts"     // attempts were burnt without a call, lost, or exceeded
	RulePoison     Rule = "poison"       // a job took more processes down than allowed
	RuleEffect     Rule = "effect"       // effects and idempotency keys do not match the jobs
	RuleIdentity   Rule = "identity"     // a handler was told another job than its record holds
	RuleLedger     Rule = "ledger"       // the ledger contradicts itself
	RuleLog        Rule = "log"          // an entry of a receipt log does not read
	RuleInput      Rule = "input"        // the input is unusable
)

// PerRule is how many violations of one rule are kept; Counts has them all.
const PerRule = 100

// Violation is one broken rule.
type Violation struct {
	Rule    Rule           `json:"rule"`
	Job     string         `json:"job,omitempty"` // kind, key, id and partition; empty where it is about no single job
	Text    string         `json:"text"`
	Events  []ledger.Event `json:"events,omitempty"`
	Offsets []ledger.Pos   `json:"offsets,omitempty"`
}

// String is the violation in one line.
func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s", v.Rule)
	if v.Job != "" {
		b.WriteString(" " + v.Job + ":")
	}
	b.WriteString(" " + v.Text)
	for _, p := range v.Offsets {
		b.WriteString(" [" + p.String() + "]")
	}
	for i := range v.Events {
		b.WriteString(" {" + brief(&v.Events[i]) + "}")
	}
	return b.String()
}

// brief is an event as evidence: when, who, what, about which record.
func brief(e *ledger.Event) string {
	s := e.Time.Format("15:04:05.000000") + " " + e.Process + " " + string(e.Type)
	switch e.Type {
	case ledger.Called, ledger.Returned:
		s += fmt.Sprintf(" %s gen %d hop %d attempt %d fence %d", e.Record, e.Generation, e.Hop, e.Attempt, e.Fence)
	case ledger.Faulted:
		s += " " + string(e.Fault) + " " + e.Target
	case ledger.Effect:
		s += " " + e.IdempotencyKey
	case ledger.Note:
	default:
		s += " " + e.Record.String()
	}
	return strings.TrimSpace(s + " " + string(e.Result) + string(e.Outcome))
}

// FaultStat is what one fault cost.
type FaultStat struct {
	Fault       ledger.Fault `json:"fault"`
	Target      string       `json:"target,omitempty"`
	Time        time.Time    `json:"time"`
	Interrupted int          `json:"interrupted"` // attempts it ended without a result
	Reruns      int          `json:"reruns"`      // finished attempts run again because of it
}

// Stats counts what happened. Nothing here is right or wrong.
type Stats struct {
	Jobs         int                   `json:"jobs"`
	Records      int                   `json:"records"` // of job topics
	Copies       int                   `json:"copies"`  // records of tiers
	Letters      int                   `json:"letters"` // one for each (identity, generation, digest)
	LetterCopies int                   `json:"letter_copies"`
	Redrives     int                   `json:"redrives"`
	Calls        int                   `json:"calls"`
	Results      map[ledger.Result]int `json:"results"`
	Unreturned   int                   `json:"unreturned"`  // calls without an end
	Reruns       int                   `json:"reruns"`      // excused ones; others are violations
	Effects      int                   `json:"effects"`     // as the downstream applied them
	Repeated     int                   `json:"repeated"`    // effects beyond the first of an idempotency key
	Unannounced  int                   `json:"unannounced"` // records of job topics no produced event speaks of
	Entries      int                   `json:"entries"`     // of receipt logs
	Commits      int                   `json:"commits"`     // looks at committed offsets
	Faults       []FaultStat           `json:"faults,omitempty"`
}

// Result is the judgement of a run. It marshals to JSON as it is.
type Result struct {
	Violations []Violation  `json:"violations"`
	Counts     map[Rule]int `json:"counts"` // violations by rule, also those beyond PerRule
	Account    Account      `json:"account"`
	Stats      Stats        `json:"stats"`
}

// OK reports whether no rule was broken.
func (r *Result) OK() bool { return len(r.Violations) == 0 }

// String is the result for a terminal: the account, the counts, then one line for each violation.
func (r *Result) String() string {
	var b strings.Builder
	b.WriteString(r.Account.String())
	s := &r.Stats
	fmt.Fprintf(&b, "\n%d jobs, %d records, %d copies, %d letters (%d filed), %d redrives\n",
		s.Jobs, s.Records, s.Copies, s.Letters, s.LetterCopies, s.Redrives)
	fmt.Fprintf(&b, "%d calls, %d unreturned, %d reruns, %d effects, %d repeated, %d records unannounced\n",
		s.Calls, s.Unreturned, s.Reruns, s.Effects, s.Repeated, s.Unannounced)
	for _, res := range slices.Sorted(maps.Keys(s.Results)) {
		fmt.Fprintf(&b, "  %-10s %d\n", res, s.Results[res])
	}
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "fault %s %s at %s: %d interrupted, %d reruns\n",
			f.Fault, f.Target, f.Time.Format("15:04:05.000"), f.Interrupted, f.Reruns)
	}
	if r.OK() {
		b.WriteString("all rules hold\n")
		return b.String()
	}
	for _, rule := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "BROKEN %s: %d\n", rule, r.Counts[rule])
	}
	for _, v := range r.Violations {
		b.WriteString(v.String() + "\n")
	}
	return b.String()
}
