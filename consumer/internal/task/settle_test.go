package task

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

func TestOutcomes(t *testing.T) {
	dead := func(c job.Code) job.Outcome { return job.Outcome{Verdict: job.VerdictDead, Code: c, Text: "why"} }
	after := func(d time.Duration) job.Outcome {
		return job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Delay: d}
	}
	for _, c := range []struct {
		name    string
		outcome job.Outcome
		want    string // the write
		receipt string
		count   func(Stats) int64
	}{
		{"done", success, "", "free/1 done;", func(s Stats) int64 { return s.Done }},
		{"retry by the plan", failure, "copy free/1 as hop 1 -> retry.10s delay 10s attempts 1 (handler_error)", "free/1 retrying hop 1;", func(s Stats) int64 { return s.Retried }},
		{"retry soon", after(time.Second), "copy free/1 as hop 1 -> retry.10s delay 1s attempts 1 (handler_error)", "free/1 retrying hop 1;", func(s Stats) int64 { return s.Retried }},
		{"retry nearly a tier", after(time.Minute), "-> retry.2m delay 1m attempts 1 (handler_error)", "free/1 retrying hop 1;", func(s Stats) int64 { return s.Retried }},
		{"retry between tiers", after(30 * time.Second), "-> retry.10s delay 10s attempts 1 not before 30s from now", "free/1 retrying hop 1;", func(s Stats) int64 { return s.Retried }},
		{"retry far", after(10 * time.Hour), "-> retry.2m delay 2m attempts 1 not before 10h from now", "free/1 retrying hop 1;", func(s Stats) int64 { return s.Retried }},
		{"snooze", job.Outcome{Verdict: job.VerdictSnooze, Code: job.CodeSnoozed, Delay: 2 * time.Minute}, "-> retry.2m delay 2m attempts 0 (none)", "free/1 retrying hop 1;", func(s Stats) int64 { return s.Hopped }},
		{"explicit", dead(job.CodeDead), "letter free/1 attempts 1: explicit, dead", "free/1 dead;", func(s Stats) int64 { return s.Dead }},
		{"undecodable", dead(job.CodeDecode), "letter free/1 attempts 1: undecodable, decode", "free/1 dead;", func(s Stats) int64 { return s.Dead }},
		{"content type", dead(job.CodeContentType), "letter free/1 attempts 1: undecodable, content_type", "free/1 dead;", func(s Stats) int64 { return s.Dead }},
		{"discard", job.Outcome{Verdict: job.VerdictDiscard, Code: job.CodeDiscarded, Text: "why"}, "audit discard of free/1", "free/1 discarded;", func(s Stats) int64 { return s.Discarded }},
		{"cancelled", job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled}, "", "", func(s Stats) int64 { return s.Cancelled }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.give(msg("free", "1", ""))
			r.end("free/1", c.outcome)
			if c.want != "" {
				equal(t, "counted before the ack", r.p.m.Stats().Settled(), 0)
				r.said(c.want)
				r.p.tick(true)
				r.said("!segment") // I4: nothing is settled before the ack
				r.p.settleDown()
			}
			equal(t, "its counter", c.count(r.p.m.Stats()), 1)
			r.lines = nil
			r.p.tick(true)
			if c.receipt == "" {
				r.said("!segment", "run free/1 attempt 1")
				return
			}
			r.said("segment of epoch 0: " + c.receipt + " main=1")
		})
	}
}

// A plan walks the tiers, is used up by attempts or by age, and counts no hop that was no failure.
func TestPlanIsUsedUp(t *testing.T) {
	again := func(r *rig) {
		r.p.settleDown()
		r.p.fetchAll()
		r.now = max(r.now, r.p.m.NextDue())
		r.p.tick(false)
	}
	t.Run("attempts", func(t *testing.T) {
		r := newRig(t)
		r.give(msg("free", "1", ""))
		r.end("free/1", job.Outcome{Verdict: job.VerdictSnooze, Delay: time.Second})
		again(r)
		for range 3 {
			r.end("free/1", failure)
			again(r)
		}
		r.said("copy free/1 as hop 1 -> retry.10s delay 1s attempts 0", "copy free/1 hop 1 as hop 2 -> retry.10s delay 10s attempts 1",
			"copy free/1 hop 2 as hop 3 -> retry.2m delay 2m attempts 2", "letter free/1 hop 3 attempts 3: exhausted, handler_error")
	})
	t.Run("age", func(t *testing.T) {
		r := newRig(t)
		r.give(msg("free", "1", ""))
		r.end("free/1", failure)
		again(r)
		r.wait(time.Hour)
		r.end("free/1", failure)
		r.said("letter free/1 hop 1 attempts 2: too_old, handler_error")
	})
	t.Run("hops", func(t *testing.T) {
		r := newRig(t, func(w *world) { w.maxHop = 2 })
		r.give(msg("free", "1", ""))
		for range 3 {
			r.end("free/1", job.Outcome{Verdict: job.VerdictSnooze, Delay: time.Second})
			again(r)
		}
		r.said("copy free/1 hop 1 as hop 2", "letter free/1 hop 2 attempts 0: too_old")
	})
	t.Run("a long delay keeps its reason", func(t *testing.T) {
		r := newRig(t)
		r.give(msg("free", "1", ""))
		r.end("free/1", job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeDeadline, Text: "slow", Delay: 5 * time.Minute})
		at := r.time().Add(5 * time.Minute)
		again(r)
		r.said("copy free/1 as hop 1", "copy free/1 hop 1 as hop 2 -> retry.2m delay 2m attempts 1", "!run free/1 hop")
		x := r.write().write.Stamp
		equal(t, "what is known of the failure", fmt.Sprintln(x.Code, x.Text, x.First.IsZero()), "deadline slow false\n")
		for range 10 {
			if len(r.p.pool) == 0 {
				again(r)
			}
		}
		e := r.entry("free/1")
		equal(t, "attempt", fmt.Sprintln(e.env.Attempt, e.env.LastError, e.env.LastCode), "2 slow deadline\n")
		if r.time().Before(at) || r.time().After(at.Add(5*time.Millisecond)) {
			t.Errorf("run at %v, not at %v", r.time(), at)
		}
	})
}

func TestTooLarge(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", failure)
	refuse := func() {
		x := r.write()
		x.res = TooLarge
		x.answer()
	}
	refuse()
	r.said("copy free/1", "letter free/1 attempts 1: too_large, too_large", "!without payload", "!pause")
	equal(t, "the letter says what failed", r.write().write.Text,
		"the copy is too large for retry.10s: raise its max.message.bytes; last failure: no")
	refuse()
	equal(t, "the letter goes without its payload", r.write().write.Truncated, true)
	equal(t, "attempts", r.write().write.Attempts, 1)
	refuse() // even that: nothing is left but to try again, and to say so
	r.said("pause main (unacked_writes)")
	r.wait(time.Second)
	r.p.tick(false)
	r.p.settleDown()
	equal(t, "filed", fmt.Sprint(r.letters[0].disp, r.letters[0].truncated), "too_large true")
	equal(t, "dead", r.p.m.Stats().Dead, 1)
	r.said("resume main")
}

// A write that nobody takes is tried again, slower and slower, while the task's partitions are paused.
func TestRefusedWrites(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""), msg("free", "2", ""))
	r.end("free/1", failure)
	r.end("free/2", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	r.lines = nil
	for _, x := range []*flight{r.p.writes[0], r.p.writes[1]} {
		x.res = Refused
		x.answer()
	}
	r.said("pause main (unacked_writes)", "pause retry.10s (unacked_writes)")
	wait := 200 * time.Millisecond
	for range 12 {
		equal(t, "next try", time.Duration(r.p.m.NextDue()-r.now), wait)
		r.wait(wait - 1)
		r.p.tick(true)
		equal(t, "tried too soon", len(r.p.writes), 0)
		r.wait(1)
		r.p.tick(true)
		equal(t, "tried", len(r.p.writes), 2)
		for range 2 {
			x := r.p.writes[0]
			x.res = Refused
			x.answer()
		}
		wait = min(2*wait, 6*time.Second)
	}
	r.said("!resume", "!segment")
	r.wait(wait)
	r.p.tick(true)
	r.p.writes[0].landWrite()
	r.p.writes[0].answer2(Acked)
	r.said("!resume")
	r.p.writes[0].landWrite()
	r.p.writes[0].answer2(Acked)
	r.said("resume main", "resume retry.10s", "resume retry.2m")
	equal(t, "writes", r.p.m.Status().Writes, 0)
}

func (x *flight) answer2(res WriteResult) { x.res = res; x.answer() }

// The shard may be told twice, or late, how a write ended.
func TestAnswersOutOfPlace(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "1", ""))
	e := r.entry("free/1")
	r.end("free/1", failure)
	w := r.write().write
	r.p.settleDown()
	for _, res := range []WriteResult{Acked, Refused, TooLarge} {
		r.p.m.Written([]Answer{{w, res}}, r.now)
	}
	r.p.m.Outcomes([]*Entry{e}, r.now)
	r.p.carry()
	equal(t, "hopped", r.p.m.Stats().Hopped, 1)
	equal(t, "settled", r.p.m.Stats().Settled(), 1)
	r.said("copy", "!pause", "!letter")

	r.give(msg("free", "2", ""))
	r.end("free/2", failure)
	x := r.write()
	x.landWrite()
	x.answer2(Refused) // though it landed, and the ack comes after all
	r.p.m.Written([]Answer{{x.write, Acked}}, r.now)
	delete(r.p.active, x.write.Entry)
	r.p.carry()
	r.wait(time.Second)
	r.p.tick(false)
	equal(t, "not written again", len(r.p.writes), 0)
	equal(t, "settled", r.p.m.Stats().Settled(), 2)
}

// The receipt says what a later reader needs to know.
func TestReceipt(t *testing.T) {
	r := newRig(t)
	r.give(msg("keyed", "0", "x"), msg("keyed", "1", "x"))
	r.end("keyed/0", success)
	r.end("keyed/1", failure)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	g, _ := r.p.m.cfg.Store.Get(job.IdentityOf("keyed", []byte("x"), "1"))
	g.At = 0 // the store's
	want := dedupe.Receipt{Identity: g.Identity, Hop: 1, State: dedupe.Retrying, Attempt: 1, Origin: 1, KeyHash: job.KeyHash([]byte("x")),
		Digest: job.DigestOf([]byte("payload")), Code: job.CodeHandlerError, At: g.At}
	equal(t, "receipt", fmt.Sprintf("%+v", g), fmt.Sprintf("%+v", want))
	r.wait(10 * time.Second)
	r.p.fetchAll()
	r.p.tick(true)
	r.end("keyed/1", job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead})
	x := r.write().write
	equal(t, "letter", fmt.Sprint(x.Disposition, x.Attempts, x.First.Equal(r.topics[1].ghost[0].FirstFailure), x.Last.Equal(r.time())), "explicit 2 true true")
	equal(t, "disposition", x.Disposition, dlq.Explicit)
}

func TestJitterIsSpread(t *testing.T) {
	var sum float64
	const n = 10_000
	for i := range n {
		u := jitter(job.IdentityOf("k", nil, fmt.Sprint(i)), i%5)
		if u < 0 || u >= 1 {
			t.Fatalf("jitter %v", u)
		}
		sum += u
	}
	if mean := sum / n; mean < 0.48 || mean > 0.52 {
		t.Errorf("mean %v", mean)
	}
}
