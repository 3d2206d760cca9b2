package checker

import (
	"fmt"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// check is one judgement under way. One goroutine; nothing of it outlives Check.
type check struct {
	in  *Input
	res *Result

	byPos    map[ledger.Pos]*record // job topics and tiers
	jobs     []*job                 // in order of discovery, so that results are the same each time
	byID     map[identity]*job
	names    map[identity][]*job // the enqueues of one name, where each is a job of its own
	letterAt map[ledger.Pos]*letter
	topics   map[string]role
	events   []*ledger.Event // valid ones, by time; the index is the rank
	calls    []*call         // by start
	faults   faults
	now      int64 // the latest instant anything speaks of, ns
}

// role is what a topic is to the run.
type role struct {
	job  int // index into Input.Jobs
	tier int // -1: the job topic itself
	dlq  bool
	log  bool // of receipts
}

// Check judges a run. It keeps references into in and does not change it; the same input gives the same result. It takes
// some microseconds an event and holds everything in memory.
func Check(in Input) *Result {
	if in.MaxCrashes == 0 {
		in.MaxCrashes = 3
	}
	c := &check{
		in:       &in,
		res:      &Result{Violations: []Violation{}, Counts: map[Rule]int{}, Stats: Stats{Results: map[ledger.Result]int{}}},
		byPos:    make(map[ledger.Pos]*record),
		byID:     make(map[identity]*job),
		letterAt: make(map[ledger.Pos]*letter),
		topics:   make(map[string]role),
	}
	if !in.Ended.IsZero() {
		c.now = in.Ended.UnixNano()
	}
	if !c.roles() {
		return c.res
	}
	c.readTopics()
	c.readLedger()
	c.settle()
	c.offsets()
	c.copies()
	c.redrives()
	c.checkLetters()
	c.order()
	c.enqueues()
	c.reruns()
	c.remembered()
	c.due()
	c.fences()
	c.attempts()
	c.effects()
	c.outcomes()
	c.intents()
	c.account()
	return c.res
}

// roles maps topic names and reports whether they make sense.
func (c *check) roles() bool {
	add := func(name string, r role) {
		if _, twice := c.topics[name]; twice || name == "" {
			c.broken(RuleInput, nil, fmt.Sprintf("topic %q has two roles, or no name", name))
			return
		}
		c.topics[name] = r
	}
	for i, jt := range c.in.Jobs {
		add(jt.Topic, role{job: i, tier: -1})
		for k, t := range jt.Tiers {
			add(t.Topic, role{job: i, tier: k})
		}
		if jt.DeadLetters != "" {
			add(jt.DeadLetters, role{job: i, tier: -1, dlq: true})
		}
		if _, read := c.in.Topics[jt.Receipts]; read {
			add(jt.Receipts, role{job: i, tier: -1, log: true})
		}
	}
	for name := range c.in.Topics {
		if _, known := c.topics[name]; !known {
			c.broken(RuleInput, nil, fmt.Sprintf("topic %q has no role", name))
		}
	}
	return c.res.OK()
}

// broken notes a violation; details may be calls, records, letters, positions and events.
func (c *check) broken(rule Rule, j *job, text string, details ...any) {
	c.res.Counts[rule]++
	if c.res.Counts[rule] > PerRule {
		return
	}
	v := Violation{Rule: rule, Text: text}
	if j != nil {
		v.Job = j.String()
	}
	for _, d := range details {
		switch d := d.(type) {
		case *call:
			v.Events = append(v.Events, evidence(d)...)
		case *ledger.Event:
			if d != nil {
				v.Events = append(v.Events, *d)
			}
		case *record:
			v.Offsets = append(v.Offsets, d.pos)
		case *letter:
			v.Offsets = append(v.Offsets, d.pos)
		case ledger.Pos:
			v.Offsets = append(v.Offsets, d)
		}
	}
	c.res.Violations = append(c.res.Violations, v)
}

// kind is what was configured for a kind.
func (c *check) kind(name string) Kind { return c.in.Kinds[name] }

// firstName is the name identities of a kind are taken over.
func (c *check) firstName(kind string) string {
	if first := c.in.Kinds[kind].FirstName; first != "" {
		return first
	}
	return kind
}
