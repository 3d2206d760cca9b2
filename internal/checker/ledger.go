package checker

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// readLedger puts the events in order, reads the faults, and hangs everything else on the jobs.
func (c *check) readLedger() {
	c.events = make([]*ledger.Event, 0, len(c.in.Ledger))
	for i := range c.in.Ledger {
		e := &c.in.Ledger[i]
		if err := e.Validate(); err != nil {
			c.broken(RuleLedger, nil, fmt.Sprintf("event %d: %v", i, err), e)
			continue
		}
		c.events = append(c.events, e)
		c.now = max(c.now, e.Time.UnixNano())
	}
	// stable: of equal times, as under a virtual clock, the order given decides
	slices.SortStableFunc(c.events, func(a, b *ledger.Event) int { return a.Time.Compare(b.Time) })
	c.readFaults()
	open := make(map[pairing][]*call)
	produced := make(map[ledger.Pos]bool)
	for rank, e := range c.events {
		switch e.Type {
		case ledger.Produced:
			produced[e.Record] = true
			c.readProduced(e)
		case ledger.Called:
			c.readCalled(e, rank, open)
		case ledger.Returned:
			c.readReturned(e, rank, open)
		case ledger.Ended:
			if rec := c.byPos[e.Record]; rec != nil {
				rec.job.outcomes = append(rec.job.outcomes, e)
			} else {
				c.broken(RuleI11, nil, "the engine accounts for a record that is in no topic", e)
			}
		case ledger.Filed:
			c.readFiled(e)
		case ledger.Redriven:
			c.readRedriven(e)
		case ledger.Faulted:
			if rec := c.byPos[e.Record]; rec != nil && e.Fault == ledger.Forget {
				rec.job.forgotten = append(rec.job.forgotten, e)
			}
		}
	}
	for pos, rec := range c.byPos {
		if rec.tier < 0 && !produced[pos] {
			c.res.Stats.Unannounced++
		}
	}
	c.close()
	c.readEffects()
}

// readProduced holds an ack against the topic.
func (c *check) readProduced(e *ledger.Event) {
	rec := c.byPos[e.Record]
	switch {
	case rec == nil:
		role, known := c.topics[e.Record.Topic]
		trimmed := e.Record.Offset < c.in.From.At(e.Record.Topic, e.Record.Partition, 0)
		if !known || role.tier >= 0 || role.dlq {
			c.broken(RuleLedger, nil, "a job was produced to no job topic", e)
		} else if !trimmed {
			c.broken(RuleLost, nil, fmt.Sprintf("%s %s was acked and is not in the topic", e.Kind, e.ID), e)
		}
	case rec.digest != e.Digest || string(rec.key) != e.Key || !rec.given && !c.named(rec, e):
		c.broken(RuleIdentity, rec.job, "the record is not the one that was acked here", e)
	case !rec.at.Equal(e.At) && !e.At.IsZero():
		c.broken(RuleI7, rec.job, "the record does not carry the `at` it was produced with", e)
	}
}

// named reports whether the record's kind and id are the event's. Only for records that are not given.
func (c *check) named(rec *record, e *ledger.Event) bool {
	kind, id := rec.kind, rec.id
	if kind == "" {
		kind, id, _ = rec.event()
	}
	return c.firstName(kind) == c.firstName(e.Kind) && id == e.ID
}

// pairing is what a `returned` has in common with its `called`.
type pairing struct {
	process       string
	call          int64
	record        ledger.Pos
	gen, hop, att int
}

func pairOf(e *ledger.Event) pairing {
	if e.Call != 0 {
		return pairing{process: e.Process, call: e.Call}
	}
	return pairing{e.Process, 0, e.Record, e.Generation, e.Hop, e.Attempt}
}

func (c *check) readCalled(e *ledger.Event, rank int, open map[pairing][]*call) {
	x := &call{Event: e, proc: c.faults.process(e.Process), start: rank, end: len(c.events), startT: e.Time.UnixNano(), endT: forever}
	if p := x.proc; p.ended && rank > p.endRank {
		x.died, x.end, x.endT = true, rank, x.startT
		if x.startT > p.endT+int64(c.in.Timing.Lease) {
			c.broken(RuleLedger, nil, "a process that had ended starts an attempt; give each run of a process its own name", x)
		}
	} else {
		open[pairOf(e)] = append(open[pairOf(e)], x)
	}
	if why := c.hang(x); why != "" {
		c.broken(RuleIdentity, x.job, why+strconv.Quote(e.Kind+" "+e.ID), x)
	}
	if x.job == nil {
		return
	}
	x.job.calls = append(x.job.calls, x)
	c.calls = append(c.calls, x)
	c.res.Stats.Calls++
}

// hang finds the record and the job of a call, or says what it did not find.
func (c *check) hang(x *call) (why string) {
	e := x.Event
	role, known := c.topics[e.Record.Topic]
	if !known || role.dlq {
		return "a handler was given a record of a topic that holds no jobs: "
	}
	x.place = place{role.job, e.Record.Partition}
	if x.rec = c.byPos[e.Record]; x.rec != nil {
		x.job = x.rec.job
		c.told(x)
		return ""
	}
	if x.job = c.find(x.place, e.Kind, e.Key, e.ID); x.job == nil {
		x.job = c.likely(x)
	}
	if x.job == nil || e.Record.Offset >= c.in.From.At(e.Record.Topic, e.Record.Partition, 0) {
		return "a handler was given a record that is not in its topic: "
	}
	return ""
}

// told holds what the handler was told against the record it was given.
func (c *check) told(x *call) {
	rec, e := x.rec, x.Event
	if !rec.given && !c.named(rec, e) || string(rec.key) != e.Key {
		c.broken(RuleIdentity, rec.job, fmt.Sprintf("the handler was told kind %s key %q id %s", e.Kind, e.Key, e.ID), x)
	}
	if rec.gen != e.Generation || rec.hop != e.Hop {
		c.broken(RuleIdentity, rec.job, fmt.Sprintf("the handler was told generation %d hop %d, the record says %d and %d",
			e.Generation, e.Hop, rec.gen, rec.hop), x)
	}
	if rec.attempt+1 != e.Attempt {
		c.broken(RuleAttempts, rec.job, fmt.Sprintf("attempt %d is run from a record that has %d behind it", e.Attempt, rec.attempt), x)
	}
}

func (c *check) readReturned(e *ledger.Event, rank int, open map[pairing][]*call) {
	k := pairOf(e)
	all := open[k]
	if len(all) == 0 {
		if p := c.faults.procs[e.Process]; p == nil || !p.ended || rank < p.endRank {
			c.broken(RuleLedger, nil, "an attempt returned that was not called, or returned twice", e)
		}
		return
	}
	x := all[0]
	if len(all) == 1 {
		delete(open, k)
	} else {
		open[k] = all[1:]
	}
	if x.proc.ended && rank > x.proc.endRank {
		return // what happens after the kill does not count
	}
	x.ret, x.end, x.endT = e, rank, e.Time.UnixNano()
	c.res.Stats.Results[e.Result]++
}

// close ends the calls of processes that died, and notes those that should have ended.
func (c *check) close() {
	for _, x := range c.calls {
		if x.ret != nil {
			continue
		}
		c.res.Stats.Unreturned++
		p := x.proc
		switch {
		case x.died: // began after the end of its process: never counted as running
		case p.ended:
			x.died, x.end, x.endT = true, p.endRank, p.endT
			c.res.Stats.Faults[p.endStat].Interrupted++
		case c.in.Quiesced && !p.stuck && len(p.outages) == 0:
			c.broken(RuleLedger, x.job, "an attempt never returned, though its process lived", x)
		}
	}
}

func (c *check) readFiled(e *ledger.Event) {
	if c.letterAt[e.Record] != nil {
		return
	}
	role, known := c.topics[e.Record.Topic]
	if !known || !role.dlq {
		c.broken(RuleLetter, nil, "a letter was seen outside the dead letters", e)
		return
	}
	if _, read := c.in.Topics[e.Record.Topic]; read && e.Record.Offset >= c.in.From.At(e.Record.Topic, e.Record.Partition, 0) {
		c.broken(RuleLetter, nil, "a letter that was seen is not in the topic", e)
		return
	}
	l := &letter{pos: e.Record, origin: e.Origin, gen: e.Generation, code: e.Code, digest: e.Digest, time: e.Time.UnixNano()}
	c.letterAt[l.pos] = l
	c.res.Stats.LetterCopies++
	c.file(role.job, l, e.Key, e.Kind, e.ID)
}

func (c *check) readRedriven(e *ledger.Event) {
	c.res.Stats.Redrives++
	if rec := c.byPos[e.Origin]; rec != nil && rec.job.enqueue > 0 {
		rec.job.redrives = append(rec.job.redrives, e)
		return
	}
	at := e.Record // of the copy
	if at.Topic == "" {
		at = e.Origin
	}
	if j := c.find(place{c.topics[at.Topic].job, at.Partition}, e.Kind, e.Key, e.ID); j != nil {
		j.redrives = append(j.redrives, e)
		return
	}
	c.broken(RuleRedrive, nil, fmt.Sprintf("%s %s was redriven and is no job", e.Kind, e.ID), e)
}
