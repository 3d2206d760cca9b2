package task

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

func TestDecide(t *testing.T) {
	other := msg("keyed", "1", "x")
	other.Payload = []byte("another payload")
	newer := msg("keyed", "1", "x")
	newer.Version = 2
	done := func(r *rig, m job.Message) {
		r.give(m)
		r.end("keyed/1", success)
	}
	for _, c := range []struct {
		name  string
		do    func(r *rig)
		want  []string
		count func(s Stats) int64
	}{
		{"fresh", func(r *rig) { r.give(msg("keyed", "1", "x")) }, []string{"run keyed/1 attempt 1 (main/0)"}, func(s Stats) int64 { return s.Attempts }},
		{"duplicate, receipt not yet sent", func(r *rig) { done(r, msg("keyed", "1", "x")); r.give(msg("keyed", "1", "x")) },
			[]string{"main/0", "!main/1"}, func(s Stats) int64 { return s.Duplicate }},
		{"duplicate, receipt on the way", func(r *rig) { done(r, msg("keyed", "1", "x")); r.p.tick(true); r.give(msg("keyed", "1", "x")) },
			[]string{"main/0", "!main/1"}, func(s Stats) int64 { return s.Duplicate }},
		{"duplicate, receipt durable", func(r *rig) {
			done(r, msg("keyed", "1", "x"))
			r.p.tick(true)
			r.p.settleDown()
			r.give(msg("keyed", "1", "x"))
		}, []string{"main/0", "!main/1"}, func(s Stats) int64 { return s.Duplicate }},
		{"duplicate under an alias", func(r *rig) { done(r, msg("keyed", "1", "x")); r.give(msg("oldkeyed", "1", "x")) },
			[]string{"main/0", "!main/1"}, func(s Stats) int64 { return s.Duplicate }},
		{"second enqueue of a job in a tier", func(r *rig) {
			r.give(msg("keyed", "1", "x"))
			r.end("keyed/1", failure)
			r.p.settleDown()
			r.give(msg("keyed", "1", "x"))
		}, []string{"main/0", "copy keyed/1", "!main/1"}, func(s Stats) int64 { return s.Stale }},
		{"second enqueue of a dead job", func(r *rig) {
			r.give(msg("keyed", "1", "x"))
			r.end("keyed/1", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
			r.p.settleDown()
			r.give(msg("keyed", "1", "x"))
		}, []string{"main/0", "letter keyed/1 attempts 1: explicit, dead", "!main/1"}, func(s Stats) int64 { return s.Stale }},
		{"conflict with a done job", func(r *rig) { done(r, msg("keyed", "1", "x")); r.give(other); r.p.settleDown() },
			[]string{"letter keyed/1 attempts 0: conflict, conflict"}, func(s Stats) int64 { return s.Conflict }},
		{"conflict with a running job waits for its end", func(r *rig) { r.give(msg("keyed", "1", "x"), other) }, []string{"run keyed/1", "!letter"}, func(s Stats) int64 { return s.Conflict + 1 }},
		{"malformed", func(r *rig) {
			h := job.ProducerHeaders(nil, &other)
			r.append(r.main(), nil, nil, append(h, h[1]))
			r.p.fetchAll()
			r.p.settleDown()
		}, []string{"letter keyed/01000000000000000000000000000000/0/0/1767225600000 attempts 0: malformed, malformed"}, func(s Stats) int64 { return s.Dead }},
		{"malformed in a tier", func(r *rig) {
			r.append(r.topics[1], nil, nil, job.ProducerHeaders(nil, &other))
			r.p.fetchAll()
			r.p.settleDown()
		}, []string{"letter keyed/02000000000000000000000000000000/0/0/1767225600000 attempts 0: malformed, malformed"}, func(s Stats) int64 { return s.Dead }},
		{"expired", func(r *rig) {
			m := msg("keyed", "1", "x")
			m.Expires = r.time()
			r.give(m)
			r.p.settleDown()
		}, []string{"audit expire of keyed/1", "!run"}, func(s Stats) int64 { return s.Expired }},
		{"not expired yet", func(r *rig) {
			m := msg("keyed", "1", "x")
			m.Expires = r.time().Add(1)
			r.give(m)
		}, []string{"run keyed/1", "!audit"}, func(s Stats) int64 { return s.Attempts }},
		{"scheduled", func(r *rig) {
			m := msg("keyed", "1", "x")
			m.At = r.time().Add(30 * time.Second)
			r.give(m)
			r.p.settleDown()
		}, []string{"copy keyed/1 as hop 1 -> retry.10s delay 10s attempts 0 not before 30s from now (none)", "!run"}, func(s Stats) int64 { return s.Hopped }},
		{"scheduled for the past", func(r *rig) {
			m := msg("keyed", "1", "x")
			m.At = r.time()
			r.give(m)
		}, []string{"run keyed/1"}, func(s Stats) int64 { return s.Attempts }},
		{"unknown kind", func(r *rig) { r.give(msg("mystery", "1", "x")); r.p.settleDown() },
			[]string{"copy mystery/1 as hop 1 -> retry.10s delay 10s attempts 0 (unknown_kind)"}, func(s Stats) int64 { return s.Hopped }},
		{"unknown version", func(r *rig) { r.give(newer); r.p.settleDown() },
			[]string{"copy keyed/1 as hop 1 -> retry.10s delay 10s attempts 0 (unknown_version)"}, func(s Stats) int64 { return s.Hopped }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			c.do(r)
			r.said(c.want...)
			equal(t, "its counter", c.count(r.p.m.Stats()), 1)
		})
	}
}

// An unknown job takes the next larger tier each time, burns no attempt and is filed when it was unknown for KeepUnknown.
func TestUnknownIsFiledInTheEnd(t *testing.T) {
	r := newRig(t, func(w *world) { w.keep = 0 }) // the default: 24 hours
	r.give(msg("mystery", "1", "x"))
	began := r.now
	for i := 0; len(r.letters) == 0; i++ {
		if i > 1000 {
			t.Fatal("never filed")
		}
		if x := r.write().write; x.Dest == ToTier {
			want := r.tiers[min(i, 1)].Topic
			equal(t, "tier", x.Topic, want)
			equal(t, "attempts", x.Stamp.Attempts, 0)
		}
		r.p.settleDown()
		r.p.fetchAll()
		r.now = max(r.now, r.p.m.NextDue())
		r.p.tick(true)
	}
	l := r.letters[0]
	equal(t, "disposition", fmt.Sprint(l.disp, l.code, l.attempts), "unknown unknown_kind 0")
	if d := time.Duration(r.now - began); d < 24*time.Hour || d > 24*time.Hour+3*time.Minute {
		t.Errorf("filed after %v", d)
	}
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	equal(t, "committed", r.committed["main"].at, 1)
}

// A job that was unknown for a while and then is known begins its own count of age.
func TestUnknownThenKnown(t *testing.T) {
	r := newRig(t)
	m := msg("mystery", "1", "x")
	r.give(m)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.p.crash()
	known := *r.kinds["keyed"]
	known.Name, known.FirstName = "mystery", "mystery"
	r.kinds["mystery"] = &known
	r.p = r.runs("b")
	r.p.fetchAll()
	r.now = r.p.m.NextDue() // the source was settled, and the copy waits
	r.p.tick(false)
	r.end("mystery/1", failure)
	x := r.write().write
	equal(t, "attempts", x.Stamp.Attempts, 1)
	equal(t, "first failure", x.Stamp.First.Equal(r.time()), true)
}

// A redrive runs though its job is dead, and makes the rest of its generation stale; a redrive of a done job is skipped.
func TestRedrive(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "1", "x"))
	r.end("keyed/1", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	r.p.settleDown()
	l := r.letters[0]
	r.redrive(l, []byte("an edited payload"))
	r.redrive(l, l.env.Payload) // by two operators at once
	r.p.fetchAll()
	r.said("letter keyed/1", "run keyed/1 gen 1 attempt 1 (retry.10s/0)", "!retry.10s/1")
	r.end("keyed/1", failure)
	r.p.settleDown()
	r.said("copy keyed/1 gen 1 as hop 1", "!run")
	equal(t, "the second redrive is stale", r.p.m.Stats().Stale, 1)
	r.wait(10 * time.Second)
	r.p.fetchAll()
	r.p.tick(false)
	r.end("keyed/1", success)
	r.redrive(l, l.env.Payload)
	r.p.fetchAll()
	equal(t, "already done", r.p.m.Stats().Duplicate, 1)
	r.give(msg("keyed", "1", "x"))
	equal(t, "and so is a second enqueue", r.p.m.Stats().Duplicate, 2)
}

// Identities are taken over the first name a kind ever had; copies keep the name on the wire.
func TestAliasOnCopies(t *testing.T) {
	r := newRig(t)
	r.give(msg("oldkeyed", "1", "x"))
	e := r.entry("keyed/1")
	equal(t, "kind", e.Message().Kind, "keyed")
	equal(t, "wire kind", e.Envelope().WireKind, "oldkeyed")
	equal(t, "identity", e.env.Identity, job.IdentityOf("keyed", []byte("x"), "1"))
	r.end("keyed/1", failure)
	r.p.settleDown()
	equal(t, "wire kind of the copy", r.topics[1].ghost[0].WireKind, "oldkeyed")
}
