package checker

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// remembered is I2, I3 and I13 by the receipt logs, where they were read whole: what they say, entry by entry, is held
// against the records that frontiers and commits pass, and against what owners ran although their log had settled it.
func (c *check) remembered() {
	calls := make(map[place][]*call)
	for _, x := range c.calls {
		calls[x.place] = append(calls[x.place], x)
	}
	for i, jt := range c.in.Jobs {
		records, read := c.in.Topics[jt.Receipts]
		if !read || jt.Receipts == "" {
			continue
		}
		var f *fold
		for _, r := range sorted(records) {
			if c.in.From.At(r.Topic, r.Partition, 0) > 0 {
				continue // retention took its beginning
			}
			if p := (place{i, r.Partition}); f == nil || f.place != p {
				f.unmarked()
				f = c.newFold(p, calls[p])
			}
			pos := ledger.Pos{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}
			e, err := readEntry(r.Value)
			if err != nil {
				c.broken(RuleLog, nil, "an entry of the receipt log does not read: "+err.Error(), pos)
				continue
			}
			e.offset = r.Offset
			c.res.Stats.Entries++
			f.take(&e, pos, r.Time.UnixNano())
		}
		f.unmarked()
	}
	c.commits()
}

// fold is what one receipt log says up to an entry.
type fold struct {
	c *check
	place
	names  map[*job]name
	topics map[[16]byte]string
	logs   map[string][]*record // by offset
	calls  []*call

	said   map[name]said
	epoch  int64
	claims map[string]int64 // frontiers in force, by topic
	from   int64            // epoch of the claims
	passed map[string]int64 // the highest frontier yet, by topic
	marked map[mark]bool
}

// mark is what a started mark is of: one run of one job.
type mark struct {
	job      name
	gen, hop uint64
}

func (c *check) newFold(p place, calls []*call) *fold {
	f := &fold{c: c, place: p, names: map[*job]name{}, topics: map[[16]byte]string{}, logs: map[string][]*record{}, calls: calls,
		said: map[name]said{}, epoch: -1, from: -1, claims: map[string]int64{}, passed: map[string]int64{}, marked: map[mark]bool{}}
	for _, j := range c.jobs {
		if j.place != p {
			continue
		}
		f.names[j] = nameOf(j)
		for _, rec := range slices.Concat(j.records, j.copies) {
			f.logs[rec.pos.Topic] = append(f.logs[rec.pos.Topic], rec)
		}
	}
	for _, recs := range f.logs {
		slices.SortFunc(recs, func(a, b *record) int { return int(a.pos.Offset - b.pos.Offset) })
	}
	for topic, id := range c.in.TopicIDs {
		f.topics[id] = topic
	}
	return f
}

// nameOf is the identity of a job as the wire format defines it.
func nameOf(j *job) name {
	b := append(binary.AppendUvarint(nil, uint64(len(j.kind))), j.kind...)
	if j.null {
		b = append(b, 0)
	} else {
		b = append(binary.AppendUvarint(b, uint64(len(j.key))+1), j.key...)
	}
	sum := sha256.Sum256(append(b, j.id...))
	return name(sum[:16])
}

// take goes on by one entry.
func (f *fold) take(e *entry, pos ledger.Pos, at int64) {
	if e.owner {
		f.epoch = e.offset
		f.restored()
	}
	for _, j := range e.forget {
		delete(f.said, j)
	}
	for i, w := range e.words {
		if i >= len(e.words)-e.marks {
			if e.epoch != f.epoch {
				continue // a mark of somebody who does not own the task
			}
			if w.state == stateStarted {
				f.marked[mark{w.job, w.gen, w.hop}] = true
			}
		}
		if w.over(f.said[w.job]) {
			f.said[w.job] = w
		}
	}
	if !e.owner && e.epoch == f.epoch && len(e.frontiers) > 0 {
		f.advance(e, pos, at)
	}
	for _, s := range f.c.in.Commits[pos.Topic] {
		if s.Partition == pos.Partition && s.LogEnd == e.offset+1 {
			f.mirror(&s)
		}
	}
}

// advance takes the frontiers of an entry into force: those of one epoch join, a newer epoch's replace an older's. I2, I3.
func (f *fold) advance(e *entry, pos ledger.Pos, at int64) {
	claims := map[string]int64{}
	if f.from == f.epoch {
		claims = f.claims
	}
	for _, x := range e.frontiers {
		if topic, ok := f.topics[x.topic]; ok {
			claims[topic] = max(claims[topic], x.at)
		}
	}
	for topic, before := range f.claims {
		if now, ok := claims[topic]; (!ok || now < before) && !f.c.ordered(topic, f.partition, at) {
			f.c.broken(RuleI2, nil, fmt.Sprintf("the frontier of %s in force goes back from %d to %d", topic, before, now), pos)
		}
	}
	for topic, now := range claims {
		for _, rec := range f.logs[topic] {
			if rec.pos.Offset >= f.claims[topic] && rec.pos.Offset < now && !f.settled(rec) {
				f.c.broken(RuleI3, rec.job, fmt.Sprintf("the log's frontier %d is above it, and nothing in the log settles it", now), rec, pos)
			}
		}
	}
	f.claims, f.from = claims, f.epoch
	for topic, now := range claims {
		f.passed[topic] = max(f.passed[topic], now)
	}
}

// ordered reports whether an operator had moved the offset of a partition by then.
func (c *check) ordered(topic string, partition int32, by int64) bool {
	return slices.ContainsFunc(c.events, func(e *ledger.Event) bool {
		return e.Type == ledger.Faulted && e.Fault == ledger.Rewind && e.Record.Topic == topic && e.Record.Partition == partition && e.Time.UnixNano() <= by
	})
}

// settled reports whether the log, or what stands in for it, settles a record. Of jobs that the engine named by their place
// the log's name is not known here.
func (f *fold) settled(rec *record) bool {
	j := rec.job
	if j.enqueue > 0 && rec.tier < 0 && j.final == Duplicate {
		return true // the log tells of the other enqueue
	}
	if rec.given || len(j.records) > 0 && j.records[0].given || f.said[f.names[j]].stale(enqueuedAt(rec), uint64(rec.gen), uint64(rec.hop)) {
		return true
	}
	if slices.ContainsFunc(j.letters, func(l *letter) bool { return l.conflict && (l.origin == rec.pos || l.digest == rec.digest) }) {
		return true
	}
	return f.c.kind(j.kind).Guarantee == AtLeastOnce && slices.ContainsFunc(j.calls, func(x *call) bool { return x.rec == rec && x.result() == ledger.Done })
}

// enqueuedAt is the offset at which the enqueue of a record stands in the job topic.
func enqueuedAt(rec *record) int64 {
	if rec.tier >= 0 {
		return rec.origin.Offset
	}
	return rec.pos.Offset
}

// restored is I13 from outside: an owner has read its log up to its ownership record before it runs anything, so it runs
// nothing that the log had settled by then. No fault excuses it.
func (f *fold) restored() {
	for _, x := range f.calls {
		if x.Fence != f.epoch || x.rec == nil || x.rec.given {
			continue
		}
		if w := f.said[f.names[x.job]]; w.stale(enqueuedAt(x.rec), uint64(x.Generation), uint64(x.Hop)) {
			f.c.broken(RuleI13, x.job, fmt.Sprintf("run under epoch %d, and the log up to there settles it: state %d, generation %d, hop %d", f.epoch, w.state, w.gen, w.hop), x)
		}
	}
}

// unmarked: a handler whose kind asks for a started mark is called behind it.
func (f *fold) unmarked() {
	if f == nil {
		return
	}
	for _, x := range f.calls {
		g := f.c.kind(x.job.kind).Guarantee
		if (g == AtMostOnce || g == Reconciled) && !f.marked[mark{f.names[x.job], uint64(x.Generation), uint64(x.Hop)}] {
			f.c.broken(RuleAtMostOnce, x.job, "called without a started mark in the log", x)
		}
	}
}

// mirror is I3 for a commit of the group: what it passes was in the log's frontiers when it was seen.
func (f *fold) mirror(s *Commit) {
	if s.Ours && s.Offset > f.passed[s.Topic] {
		f.c.broken(RuleI3, nil, fmt.Sprintf("committed %d while the log's frontier was %d", s.Offset, f.passed[s.Topic]),
			ledger.Pos{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset})
	}
}

// commits is I2 for what the group was seen to have committed: it goes back only behind an operator's commit.
func (c *check) commits() {
	for _, jt := range c.in.Jobs {
		last := map[ledger.Pos]int64{}
		for i := range c.in.Commits[jt.Receipts] {
			s := &c.in.Commits[jt.Receipts][i]
			p := ledger.Pos{Topic: s.Topic, Partition: s.Partition}
			c.res.Stats.Commits++
			if !s.Ours {
				delete(last, p)
				continue
			}
			if before, ok := last[p]; ok && s.Offset < before {
				p.Offset = s.Offset
				c.broken(RuleI2, nil, fmt.Sprintf("the committed offset went back from %d to %d", before, s.Offset), p)
			}
			last[ledger.Pos{Topic: s.Topic, Partition: s.Partition}] = s.Offset
		}
	}
}
