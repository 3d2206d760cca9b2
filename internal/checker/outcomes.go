package checker

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// outcomes holds the engine's own account, where a run recorded it, against what was seen: what it calls done was run,
// what it calls dead was filed, and no owner counts a record twice.
func (c *check) outcomes() {
	type counting struct {
		record  ledger.Pos
		process string
		fence   int64
	}
	seen := make(map[counting]*ledger.Event)
	counts := make(map[int]bool) // job topics whose outcomes were recorded
	for _, j := range c.jobs {
		for _, e := range j.outcomes {
			counts[j.topic] = true
			k := counting{e.Record, e.Process, e.Fence}
			if o := seen[k]; o != nil {
				c.broken(RuleI11, j, "the engine counts one record twice", o, e)
			}
			seen[k] = e
			if why := c.disagrees(j, e); why != "" {
				c.broken(RuleI11, j, fmt.Sprintf("the engine counts it %s, but %s", e.Outcome, why), e)
			}
		}
	}
	if !c.in.Quiesced || !c.faultless(len(c.events)) {
		return
	}
	counted := make(map[ledger.Pos]bool, len(seen))
	for k := range seen {
		counted[k.record] = true
	}
	for _, j := range c.jobs {
		for _, rec := range slices.Concat(j.records, j.copies) {
			moved := rec.class == Moved || rec == j.first() && slices.ContainsFunc(j.copies, func(o *record) bool { return o.gen == 0 })
			if counts[j.topic] && !moved && !counted[rec.pos] {
				c.broken(RuleI11, j, "the engine's account leaves out a record", rec)
			}
		}
	}
}

// disagrees is why an outcome cannot be, empty when it can.
func (c *check) disagrees(j *job, e *ledger.Event) string {
	switch e.Outcome {
	case ledger.OutcomeDone:
		if j.final != Done {
			return "no handler ended it"
		}
	case ledger.OutcomeDead:
		if len(j.letters) == 0 {
			return "there is no letter"
		}
	case ledger.OutcomeConflict:
		if !slices.ContainsFunc(j.letters, func(l *letter) bool { return l.conflict }) {
			return "there is no letter of a conflict"
		}
	case ledger.OutcomeDuplicate, ledger.OutcomeStale:
		if j.final == Lost || j.final == Waiting && len(j.records)+len(j.copies) == 1 {
			return "it is the only record of a job that is not final"
		}
	}
	return ""
}
