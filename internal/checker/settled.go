package checker

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// first is the accepted record of a job: the lowest in the job topic, nil where retention took it.
func (j *job) first() *record {
	if len(j.records) == 0 {
		return nil
	}
	return j.records[0]
}

// settle gives every job its final outcome and every record its class, and reports what has none.
func (c *check) settle() {
	for _, j := range c.jobs {
		slices.SortStableFunc(j.letters, func(a, b *letter) int { return cmp.Compare(a.gen, b.gen) })
		j.gen = newest(j)
		j.final = c.final(j)
		if j.final == Lost {
			c.lost(j)
		}
		for i, rec := range j.records {
			rec.class = c.classOf(j, rec, i == 0)
		}
		for i, rec := range j.copies {
			rec.class = c.classOfCopy(j, rec, i)
		}
		if !c.in.Quiesced {
			continue
		}
		for _, rec := range slices.Concat(j.records, j.copies) {
			if !rec.consumed {
				c.broken(RuleQuiesced, j, "a record is not consumed although the run ended idle", rec)
			}
		}
	}
}

// newest is the newest generation of a job that anything speaks of.
func newest(j *job) (gen int) {
	for _, rec := range j.copies {
		gen = max(gen, rec.gen)
	}
	for _, l := range j.letters {
		gen = max(gen, l.gen)
	}
	for _, x := range j.calls {
		gen = max(gen, x.Generation)
	}
	for _, e := range j.redrives {
		gen = max(gen, e.Generation)
	}
	return gen
}

// final is the outcome of a job: done whenever a handler said so, else the end of its newest generation, else waiting
// while the record that continues it is not consumed. An effect whose call did not return ends a job only where the kind
// reconciles: the process died between the two, and nobody else could have known.
func (c *check) final(j *job) Class {
	discarded := false
	for _, x := range j.calls {
		switch {
		case x.result() == ledger.Done:
			return Done
		case x.result() == ledger.Discard && x.Generation == j.gen:
			discarded = true
		}
	}
	for _, l := range j.letters {
		if l.gen == j.gen && !l.conflict {
			return Dead
		}
	}
	if class := c.byAnother(j); class != "" {
		return class
	}
	switch {
	case discarded || j.ended(ledger.OutcomeDiscarded):
		return Discarded
	case c.live(j) != nil:
		return Waiting
	case j.ended(ledger.OutcomeExpired) || c.expired(j):
		return Expired
	case len(j.effects) > 0 && c.kind(j.kind).Guarantee == Reconciled:
		return Done
	}
	return Lost
}

// ended reports whether the engine gave a record of the job this outcome.
func (j *job) ended(o ledger.Outcome) bool {
	return slices.ContainsFunc(j.outcomes, func(e *ledger.Event) bool { return e.Outcome == o })
}

func (c *check) expired(j *job) bool { return c.expiry(j) <= c.now }

// live is an unconsumed record that continues the job: none of its records is further on.
func (c *check) live(j *job) *record {
	last := j.first()
	if n := len(j.copies); n > 0 {
		last = j.copies[n-1] // they are sorted
	}
	for _, rec := range slices.Concat(j.copies, j.records[:min(1, len(j.records))]) {
		if !rec.consumed && !rec.older(last) {
			return rec
		}
	}
	return nil
}

// lost reports a job that nobody will ever finish.
func (c *check) lost(j *job) {
	if n := len(j.copies); n > 0 {
		last := j.copies[n-1]
		c.broken(RuleI14, j, fmt.Sprintf("not final, and its last record (generation %d hop %d) is consumed%s",
			last.gen, last.hop, lastWord(j)), last)
		return
	}
	c.broken(RuleI1, j, "committed past it, and it has no outcome, no copy and no letter"+lastWord(j), j.first())
}

// lastWord is how the last call of a job ended, for the text of a violation.
func lastWord(j *job) string {
	if len(j.calls) == 0 {
		return "; it was never called"
	}
	last := j.calls[len(j.calls)-1]
	if last.ret == nil {
		return "; its last call did not return"
	}
	return "; its last call returned " + string(last.ret.Result)
}

// classOf is the class of a record of a job topic.
func (c *check) classOf(j *job, rec *record, first bool) Class {
	if first {
		return j.final
	}
	same := rec.digest == j.records[0].digest
	if c.kind(j.kind).Guarantee == AtLeastOnce {
		same = slices.ContainsFunc(j.records, func(o *record) bool { return o != rec && o.digest == rec.digest }) // any may be the accepted one
		if class := c.ownLife(j, rec); class != "" {
			return class
		}
	}
	switch {
	case !rec.consumed:
		return Waiting
	case same:
		return Duplicate
	case slices.ContainsFunc(j.letters, func(l *letter) bool { return l.conflict && l.digest == rec.digest || l.origin == rec.pos }):
		return Conflict
	case j.gen > 0:
		return Stale
	}
	c.broken(RuleI1, j, "committed past another payload under a used identity, and it was not filed", rec, j.records[0])
	return Lost
}

// ownLife is the class of a further record of an at_least_once job that was treated as a job of its own: first successes
// are not recorded, so nobody knew it to be a second one. Empty if it was not.
func (c *check) ownLife(j *job, rec *record) Class {
	from := func(r *record) bool { return r == rec || r != nil && r.tier >= 0 && r.origin == rec.pos }
	end := Class("")
	for _, x := range j.calls {
		switch r := x.result(); {
		case from(x.rec) && r == ledger.Done:
			return Done
		case from(x.rec) && r == ledger.Discard:
			end = Discarded
		}
	}
	switch {
	case end != "":
		return end
	case slices.ContainsFunc(j.letters, func(l *letter) bool { return l.origin == rec.pos && !l.conflict }):
		return Dead
	case slices.ContainsFunc(j.copies, func(r *record) bool { return from(r) && !r.consumed }):
		return Waiting
	case slices.ContainsFunc(j.copies, from) && j.final != Lost:
		return Stale // its copy came behind the end another record had given the job
	case !rec.expires.IsZero() && rec.expires.UnixNano() <= c.now:
		return Expired
	}
	return ""
}

// classOfCopy is the class of copy i of a job.
func (c *check) classOfCopy(j *job, rec *record, i int) Class {
	next := i + 1
	for next < len(j.copies) && j.copies[next].gen == rec.gen && j.copies[next].hop == rec.hop {
		next++
	}
	switch {
	case !rec.consumed:
		return Waiting
	case i > 0 && !j.copies[i-1].older(rec):
		return Stale // a second copy of this hop
	case next < len(j.copies) && j.copies[next].gen == rec.gen:
		return Moved
	case rec.gen == j.gen:
		return j.final
	}
	for _, l := range j.letters {
		if l.gen == rec.gen && !l.conflict {
			return Dead
		}
	}
	return Stale // a redrive left it behind
}

// offsets holds committed offsets against the ends and starts of the logs.
func (c *check) offsets() {
	end := make(map[ledger.Pos]int64)
	for pos := range c.byPos {
		k := ledger.Pos{Topic: pos.Topic, Partition: pos.Partition}
		end[k] = max(end[k], pos.Offset+1)
	}
	for pos, committed := range each(c.in.Committed) {
		role, known := c.topics[pos.Topic]
		if !known || role.dlq || role.log {
			c.broken(RuleI1, nil, "an offset is committed in a topic that holds no jobs", pos)
			continue
		}
		last := max(c.in.Ends.At(pos.Topic, pos.Partition, end[pos]), c.in.From.At(pos.Topic, pos.Partition, 0))
		if committed > last {
			c.broken(RuleI1, nil, fmt.Sprintf("committed %d, beyond the end of the log %d", committed, last), pos)
		}
	}
	for pos, from := range each(c.in.From) {
		role, known := c.topics[pos.Topic]
		if committed := c.in.Committed.At(pos.Topic, pos.Partition, 0); known && !role.dlq && !role.log && from > committed {
			c.broken(RuleI1, nil, fmt.Sprintf("records up to %d are gone, committed is %d", from, committed), pos)
		}
	}
}

// each walks offsets by topic and partition, in order; the positions have offset 0.
func each(o Offsets) iter.Seq2[ledger.Pos, int64] {
	return func(yield func(ledger.Pos, int64) bool) {
		for _, topic := range slices.Sorted(maps.Keys(o)) {
			for _, p := range slices.Sorted(maps.Keys(o[topic])) {
				if !yield(ledger.Pos{Topic: topic, Partition: p}, o[topic][p]) {
					return
				}
			}
		}
	}
}

// intents holds what became of records against what their producers said would.
func (c *check) intents() {
	if !c.in.Quiesced {
		return
	}
	for _, e := range c.events {
		rec := c.byPos[e.Record]
		if e.Type != ledger.Produced || e.Intent == "" || rec == nil {
			continue
		}
		want := Class(e.Intent)
		if e.Intent == ledger.IntentPoison {
			want = Dead
		}
		if rec.class != want && !c.suspected(rec.job) {
			text := fmt.Sprintf("meant to end %s, ended %s", want, rec.class)
			for _, l := range rec.job.letters {
				text += fmt.Sprintf(", filed in generation %d as %s", l.gen, l.code)
			}
			c.broken(RuleIntent, rec.job, text, rec)
		}
	}
}

// suspected reports whether a job was taken for what killed its processes, and filed as poison: three of them that are killed
// or lose their task while the same job runs prove it guilty as far as an engine can know. Without a fault there is no excuse.
// Where nobody could ask whether its effect had happened, the letter says that instead.
func (c *check) suspected(j *job) bool {
	return !c.faultless(len(c.events)) && slices.ContainsFunc(j.letters, func(l *letter) bool { return l.code == "poison" || l.code == "unreconciled" })
}
