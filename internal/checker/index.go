package checker

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// readTopics makes the jobs out of the job topics, then hangs copies and letters on them.
func (c *check) readTopics() {
	total := 0
	for _, records := range c.in.Topics {
		total += len(records)
	}
	c.byPos = make(map[ledger.Pos]*record, total)
	c.byID = make(map[identity]*job, total)
	c.names = make(map[identity][]*job)
	for i, jt := range c.in.Jobs {
		for _, r := range sorted(c.in.Topics[jt.Topic]) {
			rec := c.newRecord(r, place{i, r.Partition}, -1)
			c.identify(rec)
			rec.job.records = append(rec.job.records, rec)
			c.res.Stats.Records++
		}
		for k, tier := range jt.Tiers {
			for _, r := range sorted(c.in.Topics[tier.Topic]) {
				rec := c.newRecord(r, place{i, r.Partition}, k)
				c.adopt(rec)
				rec.job.copies = append(rec.job.copies, rec)
				c.res.Stats.Copies++
			}
		}
		for _, r := range sorted(c.in.Topics[jt.DeadLetters]) {
			c.readLetter(i, r)
		}
	}
	for _, j := range c.jobs {
		slices.SortStableFunc(j.copies, func(a, b *record) int { return cmp.Or(cmp.Compare(a.gen, b.gen), cmp.Compare(a.hop, b.hop)) })
	}
	c.res.Stats.Jobs = len(c.jobs)
}

// sorted is the records in log order: by partition and offset. It points into the slice.
func sorted(records []Record) []*Record {
	all := make([]*Record, len(records))
	for i := range records {
		all[i] = &records[i]
	}
	slices.SortStableFunc(all, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return all
}

func (c *check) newRecord(r *Record, p place, tier int) *record {
	rec := &record{
		headers: parseHeaders(r.Headers, tier >= 0),
		pos:     ledger.Pos{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		place:   p, tier: tier, time: r.Time.UnixNano(), key: r.Key, digest: ledger.DigestOf(r.Value),
	}
	rec.consumed = r.Offset < c.in.Committed.At(r.Topic, r.Partition, 0)
	if _, twice := c.byPos[rec.pos]; twice {
		c.broken(RuleInput, nil, "a record is given twice", rec)
	}
	c.byPos[rec.pos] = rec
	c.now = max(c.now, rec.time)
	return rec
}

// identify finds the job of a record of a job topic. A record without an id of its own, or with headers that break the
// format, is one job by its place. The kind of a foreign record is configuration, one a topic.
func (c *check) identify(rec *record) {
	kind, id := rec.kind, rec.id
	if k, e, ok := rec.event(); ok && !rec.has("kind") {
		kind, id = k, e
	}
	rec.given = kind == "" || id == "" || rec.bad != ""
	if kind == "" {
		kind = "(" + rec.pos.Topic + ")"
	}
	if id == "" || rec.bad != "" {
		id = given + rec.pos.String()
	}
	i := identity{place: rec.place, kind: c.firstName(kind), key: string(rec.key), id: id, null: rec.key == nil}
	if c.repeatable(kind) && !rec.given {
		i.enqueue = rec.pos.Offset + 1
	}
	rec.job = c.jobOf(i)
}

func (c *check) jobOf(i identity) *job {
	j := c.byID[i]
	if j == nil {
		j = &job{identity: i}
		c.byID[i] = j
		c.jobs = append(c.jobs, j)
		if i.enqueue > 0 {
			i.enqueue = 0
			c.names[i] = append(c.names[i], j)
		}
	}
	return j
}

// find is the job named by an event, which cannot tell a null key from an empty one.
func (c *check) find(p place, kind, key, id string) *job {
	i := identity{place: p, kind: c.firstName(kind), key: key, id: id, null: key == ""}
	if j := c.byID[i]; j != nil || !i.null {
		return j
	}
	i.null = false
	return c.byID[i]
}

// adopt finds the job of a copy: its origin's where that is in the topic, else by its own headers.
func (c *check) adopt(rec *record) {
	own := identity{place: rec.place, kind: c.firstName(rec.kind), key: string(rec.key), id: rec.id, null: rec.key == nil}
	if origin := c.byPos[rec.origin]; rec.has("origin") && origin != nil && origin.tier < 0 {
		rec.job = origin.job
		own.enqueue = rec.job.enqueue
		if !origin.given && own != origin.job.identity {
			c.broken(RuleCopy, rec.job, "a copy names another job than its origin: "+strconv.Quote(rec.kind+" "+rec.id), rec, origin)
		}
		return
	}
	if rec.job = c.byID[own]; rec.job != nil {
		return
	}
	rec.job = c.jobOf(own)
	if rec.has("origin") && rec.origin.Offset < c.in.From.At(rec.origin.Topic, rec.origin.Partition, 0) {
		return // retention took its origin; the copy is all there is
	}
	c.broken(RuleCopy, rec.job, "a copy comes from no record of the job topic", rec)
}

// readLetter hangs one dead letter on its job.
func (c *check) readLetter(topic int, r *Record) {
	h := parseHeaders(r.Headers, true)
	l := &letter{
		pos: ledger.Pos{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset},
		gen: h.gen, code: h.code, origin: h.origin, time: r.Time.UnixNano(),
	}
	if len(r.Value) > 0 {
		l.digest = ledger.DigestOf(r.Value)
	}
	c.now = max(c.now, l.time)
	c.res.Stats.LetterCopies++
	c.letterAt[l.pos] = l
	for _, name := range []string{"origin", "error", "attempt"} {
		alias := map[string]string{"error": "code", "attempt": "attempts"}[name]
		if !h.has(name) && (alias == "" || !h.has(alias)) {
			c.broken(RuleLetter, nil, "a letter lacks header waybill-"+name, l)
		}
	}
	c.file(topic, l, string(r.Key), h.kind, h.id)
}

// file finds the job of a letter: its origin's, or the one it names.
func (c *check) file(topic int, l *letter, key, kind, id string) {
	var j *job
	if origin := c.byPos[l.origin]; origin != nil && origin.tier < 0 {
		j = origin.job
		l.conflict = c.conflicts(l, origin)
	} else {
		j = c.find(place{topic, l.origin.Partition}, kind, key, id)
	}
	if j == nil {
		c.broken(RuleLetter, nil, "a letter comes from no record of the job topic: "+strconv.Quote(kind+" "+id), l)
		return
	}
	j.letters = append(j.letters, l)
}

// conflicts reports whether a letter files a second payload of an identity. In generation 0 only a record of the job topic
// can carry another payload than the accepted one; which one that is only the engine knows where first successes are not
// recorded.
func (c *check) conflicts(l *letter, origin *record) bool {
	const code = "conflict" // of the wire format
	if l.gen > 0 {
		return false
	}
	accepted := origin.job.records[0]
	if l.code == code && origin.job.enqueue > 0 {
		if !slices.ContainsFunc(c.others(origin.job), func(o *job) bool { return o.records[0].digest != origin.digest }) {
			c.broken(RuleLetter, origin.job, "filed as a conflict, and no other enqueue of it has another payload", l, origin)
		}
		return true
	}
	if l.code == code {
		if !slices.ContainsFunc(origin.job.records, func(r *record) bool { return r.digest != origin.digest }) {
			c.broken(RuleLetter, origin.job, "filed as a conflict, and no record of it has another payload", l, origin)
		}
		return true
	}
	return origin.digest != accepted.digest && c.kind(origin.job.kind).Guarantee != AtLeastOnce
}
