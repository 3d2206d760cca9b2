package checker

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// faultless reports whether nothing had happened to the run before a rank that could double what is produced.
func (c *check) faultless(rank int) bool { return c.faults.first >= rank }

// copies holds every record of a tier against the wire format, its tier and its job.
func (c *check) copies() {
	for _, j := range c.jobs {
		for i, rec := range j.copies {
			c.wellFormed(j, rec)
			c.unaltered(j, rec)
			if i == 0 || j.copies[i-1].older(rec) {
				c.follows(j, rec, i)
			} else if c.faultless(len(c.events)) && !(rec.hop == 0 && redrivenTo(j, rec.gen) > 1) {
				c.broken(RuleCopy, j, fmt.Sprintf("two copies of generation %d hop %d, and no fault in the run", rec.gen, rec.hop), j.copies[i-1], rec)
			}
		}
	}
}

func (c *check) wellFormed(j *job, rec *record) {
	bad := rec.bad
	for _, name := range []string{"kind", "id", "hop", "origin", "delay"} {
		if bad == "" && !rec.has(name) {
			bad = "header waybill-" + name + " is missing"
		}
	}
	jt := c.in.Jobs[rec.place.topic]
	switch tier := jt.Tiers[rec.tier]; {
	case bad != "":
	case rec.delay > tier.Delay:
		bad = fmt.Sprintf("its delay %v is longer than the tier's %v", rec.delay, tier.Delay)
	case rec.origin.Topic != jt.Topic || rec.origin.Partition != rec.pos.Partition:
		bad = "its origin is in another partition: " + rec.origin.String()
	case rec.hop == 0 && rec.gen == 0:
		bad = "generation 0 hop 0 is the record of the job topic"
	}
	if bad != "" {
		c.broken(RuleCopy, j, bad, rec)
	}
}

// unaltered: a copy carries the key of its job, and the payload until a redrive edits it.
func (c *check) unaltered(j *job, rec *record) {
	origin := c.byPos[rec.origin]
	if origin == nil || origin.tier >= 0 {
		return
	}
	if string(rec.key) != string(origin.key) || (rec.key == nil) != (origin.key == nil) {
		c.broken(RuleCopy, j, fmt.Sprintf("the copy has another key: %q", rec.key), rec, origin)
	}
	if rec.gen == 0 && rec.digest != origin.digest {
		c.broken(RuleCopy, j, "the copy has another payload", rec, origin)
	}
	for _, o := range j.copies { // of one generation all carry the same
		if o.gen == rec.gen && rec.gen > 0 && o.digest != rec.digest && o.older(rec) && c.faultless(len(c.events)) {
			c.broken(RuleCopy, j, fmt.Sprintf("the payload changes within generation %d", rec.gen), o, rec)
			return
		}
	}
}

// follows: hops rise by one, attempts never fall, and a chain begins at hop 1 of generation 0 or at a redrive. Where a
// tier was trimmed before anybody read it, gaps prove nothing.
func (c *check) follows(j *job, rec *record, i int) {
	first := 1
	if rec.gen > 0 {
		first = 0
	}
	var before *record
	if i > 0 && j.copies[i-1].gen == rec.gen {
		before = j.copies[i-1]
		first = before.hop + 1
	}
	if rec.hop > first && !c.trimmed(rec.place) {
		c.broken(RuleCopy, j, fmt.Sprintf("hop %d of generation %d without hop %d", rec.hop, rec.gen, first), rec)
	}
	if before != nil && rec.attempt < before.attempt && !slices.ContainsFunc(j.copies[:i], func(o *record) bool {
		return o.gen == rec.gen && o.hop == before.hop && o.attempt <= rec.attempt // of two copies of a hop either may be the one
	}) {
		c.broken(RuleAttempts, j, fmt.Sprintf("attempts fall from %d to %d from hop %d to %d",
			before.attempt, rec.attempt, before.hop, rec.hop), before, rec)
	}
	if rec.gen > 0 && rec.hop == 0 && rec.attempt != 0 {
		c.broken(RuleRedrive, j, fmt.Sprintf("a redrive begins with %d attempts burnt", rec.attempt), rec)
	}
}

// trimmed reports whether a tier of the task misses records.
func (c *check) trimmed(p place) bool {
	for _, t := range c.in.Jobs[p.topic].Tiers {
		if c.in.From.At(t.Topic, p.partition, 0) > 0 {
			return true
		}
	}
	return false
}

// redrivenTo is how often a job was redriven to a generation.
func redrivenTo(j *job, gen int) (n int) {
	for _, e := range j.redrives {
		if e.Generation == gen {
			n++
		}
	}
	return n
}

// redrives: a generation above 0 needs the letter of the one before it, and whoever redrove a job was heard.
func (c *check) redrives() {
	for _, j := range c.jobs {
		for _, rec := range j.copies {
			if rec.gen > 0 && rec.hop == 0 && !filedIn(j, rec.gen-1) {
				c.broken(RuleRedrive, j, fmt.Sprintf("generation %d began without a letter of generation %d", rec.gen, rec.gen-1), rec)
			}
		}
		for _, e := range j.redrives {
			known := c.trimmed(j.place)
			for _, rec := range j.copies {
				known = known || rec.gen == e.Generation && rec.hop == 0
			}
			if !known {
				c.broken(RuleRedrive, j, fmt.Sprintf("redriven to generation %d, and no tier holds it", e.Generation), e)
			}
		}
	}
}

func filedIn(j *job, gen int) bool {
	for _, l := range j.letters {
		if l.gen == gen && !l.conflict {
			return true
		}
	}
	return false
}

// checkLetters: a letter carries the payload it files, comes once, and is not the second ending of its job. Letters are
// counted once for each (identity, generation, digest); two records with the same conflicting payload make two of them.
func (c *check) checkLetters() {
	type once struct {
		gen    int
		digest string
		origin ledger.Pos
	}
	for _, j := range c.jobs {
		if len(j.letters) == 0 {
			continue
		}
		seen := make(map[once]*letter, len(j.letters))
		for _, l := range j.letters {
			c.carries(j, l)
			k := once{l.gen, c.digestOf(l), l.origin}
			if other := seen[k]; other != nil && c.faultless(len(c.events)) {
				c.broken(RuleLetter, j, fmt.Sprintf("generation %d was filed twice, and no fault in the run", l.gen), other, l)
			}
			seen[k] = l
			if k.origin = (ledger.Pos{}); seen[k] == nil {
				seen[k] = l
				c.res.Stats.Letters++
			}
			c.second(j, l)
		}
	}
}

// digestOf is the digest of what a letter files, also where the payload was too large to keep.
func (c *check) digestOf(l *letter) string {
	if origin := c.byPos[l.origin]; l.digest == "" && origin != nil {
		return origin.digest
	}
	return l.digest
}

func (c *check) carries(j *job, l *letter) {
	if l.digest == "" {
		return
	}
	for _, all := range [][]*record{j.records, j.copies} {
		for _, rec := range all {
			if rec.gen == l.gen && rec.digest == l.digest {
				return
			}
		}
	}
	if l.gen > 0 && c.trimmed(j.place) {
		return
	}
	c.broken(RuleLetter, j, fmt.Sprintf("the letter of generation %d carries a payload no record of it has", l.gen), l)
}

// second reports a letter of a job that was done, or goes on, in the same generation. Two owners may disagree where one of
// them met a fault; otherwise a job has one ending.
func (c *check) second(j *job, l *letter) {
	if l.conflict || slices.ContainsFunc(j.calls, func(x *call) bool { return x.Generation == l.gen && c.troubled(x) }) {
		return
	}
	for _, x := range j.calls {
		switch {
		case x.Generation != l.gen || j.forgottenBetween(l.time, x.startT) || j.forgottenBetween(x.startT, l.time):
		case x.result() == ledger.Done && c.recorded(x):
			j.double = true
			c.broken(RuleI11, j, "both done and filed as a dead letter, and no fault excuses it", x, l)
			return
		case x.startT > l.time+int64(c.in.Timing.RerunWindow+c.in.Timing.Clock):
			c.broken(RuleI6, j, "called after its generation was filed as a dead letter, and no fault excuses it", x, l)
			return
		}
	}
}
