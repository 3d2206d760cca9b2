package checker

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// TestMutations breaks the good run in one place at a time. Each must be caught by the rules named, and by no other.
func TestMutations(t *testing.T) {
	for _, c := range mutations {
		t.Run(c.name, func(t *testing.T) {
			s, p := goodRun()
			c.do(&mutant{s, p, t})
			wantRules(t, s.in, c.want)
		})
	}
}

var mutations = []struct {
	name string
	do   func(*mutant)
	want string
}{
	// nothing lost, and the account
	{"a success is dropped", func(m *mutant) { m.drop(ledger.Called, m.right); m.drop(ledger.Returned, m.right) }, "I1 I11 intent"},
	{"a success behind a hop is dropped", func(m *mutant) { m.drop(ledger.Called, m.retriedHop); m.drop(ledger.Returned, m.retriedHop) }, "I11 I14 intent"},
	{"a return is dropped", func(m *mutant) { m.drop(ledger.Returned, m.plain) }, "I1 I11 intent"},
	{"a return of a process that lives is dropped", func(m *mutant) { m.drop(ledger.Returned, m.interrupted) }, "I1 I11 intent ledger"},
	{"a copy is dropped", func(m *mutant) {
		m.drop(ledger.Called, m.retriedHop)
		m.drop(ledger.Returned, m.retriedHop)
		m.dropRecord(m.retriedHop)
	}, "I1 I11 intent"},
	{"a copy that was run is not in its tier", func(m *mutant) { m.dropRecord(m.retriedHop) }, "identity"},
	{"a letter is dropped", func(m *mutant) { m.dropRecord(m.letter(m.dead)) }, "I11 I14 intent"},
	{"the letter of a conflict is dropped", func(m *mutant) { m.dropRecord(m.letter(m.conflict)) }, "I1 I11 intent"},
	{"a discard becomes a retry", func(m *mutant) { m.find(ledger.Returned, m.discarded).Result = ledger.Retry }, "I1 I11 intent"},
	{"an expiry lies ahead", func(m *mutant) { m.header(m.expired, "expires", ms(9_000_000).Format(time.RFC3339Nano)) }, "I1 I11 intent"},
	{"a record that was acked is gone", func(m *mutant) { m.dropRecord(m.expired) }, "lost"},
	{"the job topic is not consumed to its end", func(m *mutant) { m.in.Committed["jobs"][1] = 1 }, "quiesced"},
	{"a tier is not consumed", func(m *mutant) { m.in.Committed[tierTopics[0]][0]-- }, "quiesced"},
	{"a commit beyond the end", func(m *mutant) { m.in.Committed["jobs"][1]++ }, "I1"},
	{"a commit of no job topic", func(m *mutant) { m.in.Committed.Set("jobs.g.receipts", 0, 1) }, "I1"},
	{"a tier is trimmed above its committed offset", func(m *mutant) {
		m.in.From.Set(tierTopics[1], 0, 7)
	}, "I1"},
	{"a job ends otherwise than meant", func(m *mutant) { m.find(ledger.Produced, m.plain).Intent = "dead" }, "intent"},

	// order
	{"two jobs of a partition overlap", func(m *mutant) { m.shift(ledger.Returned, m.left, 10) }, "I5"},
	{"a partition starts out of order", func(m *mutant) {
		m.shift(ledger.Called, m.left, 40)
		m.shift(ledger.Returned, m.left, 40)
	}, "I5"},
	{"a key is given to a second job while it runs", func(m *mutant) {
		rec := m.produce(4902, 0, spec{kind: "key.mail", key: "k9", id: "next", payload: "x"})
		m.run(4940, 4945, "w1", 10, rec, ledger.Done)
		m.commit()
	}, "I5"},
	{"a second record of a running job is run", func(m *mutant) { m.call(28, "w1", 10, m.duplicate); m.returns(29, "w1", m.duplicate, ledger.Cancelled) }, "I5"},

	// reruns
	{"a done job is run again", func(m *mutant) { m.again(100, "w1", 10, m.plain) }, "I11 I6"},
	{"a done job is run again in another process, no fault", func(m *mutant) { m.again(7000, "w2", 20, m.scheduledHop) }, "I11 I6"},
	{"a duplicate is run", func(m *mutant) { m.again(100, "w1", 10, m.duplicate) }, "I11 I6"},
	{"a conflict is run", func(m *mutant) { m.again(100, "w1", 10, m.conflict) }, "I11 I6"},
	{"a hopped record is run again", func(m *mutant) { m.run(100, 101, "w1", 10, m.retried, ledger.Cancelled) }, "I6"},
	{"a discarded job is run again", func(m *mutant) { m.run(100, 101, "w1", 10, m.discarded, ledger.Cancelled) }, "I6"},
	{"a dead job is run again", func(m *mutant) { m.run(700, 701, "w1", 10, m.deadHop, ledger.Cancelled) }, "I6"},
	{"an older generation is run again", func(m *mutant) { m.run(800, 801, "w1", 10, m.redriven, ledger.Cancelled) }, "I6"},
	{"the kill comes too late to excuse the rerun", func(m *mutant) {
		m.shift(ledger.Returned, m.rerun, -30)
		m.find(ledger.Returned, m.rerun).Time = ms(4912)
		m.in.Timing.RerunWindow = 80 * time.Millisecond
	}, "I11 I6"},
	{"nobody was killed", func(m *mutant) { m.dropFaults() }, "I11 I5 I6 ledger"},

	// due
	{"a copy is called before it is due", func(m *mutant) { m.shift(ledger.Called, m.retriedHop, -80) }, "I7"},
	{"a copy is called before the `at` of its job", func(m *mutant) { m.header(m.scheduledHop, "delay", "840"); m.shift(ledger.Called, m.scheduledHop, -60) }, "I7"},
	{"a delay shorter than the handler asked for", func(m *mutant) { m.find(ledger.Returned, m.retried).Delay = time.Second }, "I7"},
	{"an `at` is lost on the way", func(m *mutant) { m.header(m.scheduled, "at", "") }, "I7"},

	// fences
	{"a fence goes back", func(m *mutant) { m.find(ledger.Called, m.interrupted).Fence = 30 }, "I9"},
	{"two processes share a fence", func(m *mutant) {
		for i := range m.in.Ledger {
			if m.in.Ledger[i].Fence == 20 {
				m.in.Ledger[i].Fence = 10
			}
		}
	}, "I9"},

	// copies, letters, redrives
	{"a copy changes its payload", func(m *mutant) { m.record(m.retriedHop).Value = []byte("z") }, "copy"},
	{"a copy changes its key", func(m *mutant) { m.record(m.scheduledHop).Key = []byte("z") }, "copy identity"},
	{"a copy changes its id", func(m *mutant) { m.header(m.scheduledHop, "id", "z") }, "copy identity"},
	{"a copy loses its delay", func(m *mutant) { m.header(m.retriedHop, "delay", "") }, "copy"},
	{"a copy loses its hop", func(m *mutant) { m.header(m.redrivenCopy, "hop", "") }, "copy"},
	{"a copy is to wait longer than its tier", func(m *mutant) {
		m.header(m.scheduledHop, "delay", "1001")
		m.shift(ledger.Called, m.scheduledHop, 100)
		m.shift(ledger.Returned, m.scheduledHop, 100)
	}, "copy"},
	{"a copy skips a hop", func(m *mutant) {
		m.header(m.retriedHop, "hop", "2")
		m.find(ledger.Called, m.retriedHop).Hop = 2
		m.find(ledger.Returned, m.retriedHop).Hop = 2
	}, "copy"},
	{"a copy comes from nowhere", func(m *mutant) {
		m.hop(800, 0, m.plain, 0, 1, 0, 0)
		pos := ledger.Pos{Topic: tierTopics[0], Offset: 4}
		m.header(pos, "id", "ghost")
		m.header(pos, "origin", "jobs/0/99/0")
		m.in.Committed[tierTopics[0]][0]++
	}, "I11 I14 copy"},
	{"a hop is doubled without a fault", func(m *mutant) {
		m.noKill()
		m.hop(800, 0, m.retried, 0, 1, 1, 500)
		m.commit()
	}, "copy"},
	{"a letter without its origin", func(m *mutant) { m.header(m.letter(m.dead), "origin", "") }, "letter"},
	{"a letter without its code", func(m *mutant) { m.header(m.letter(m.dead), "error", "") }, "letter"},
	{"a letter without its attempts", func(m *mutant) { m.header(m.letter(m.dead), "attempt", "") }, "letter"},
	{"a letter changes the payload", func(m *mutant) { m.record(m.letter(m.dead)).Value = []byte("z") }, "letter"},
	{"a letter of nobody", func(m *mutant) {
		at := m.letter(m.dead)
		m.header(at, "origin", "jobs/0/99/0")
		m.header(at, "id", "ghost")
	}, "I11 I14 intent letter"},
	{"a conflict with nothing", func(m *mutant) {
		at := m.letter(m.dead)
		m.header(at, "error", "conflict: with what?")
	}, "I11 I14 intent letter"},
	{"a job is filed twice without a fault", func(m *mutant) { m.noKill(); m.file(650, m.dead, 0, 2, "dead") }, "letter"},
	{"a done job is filed without a fault", func(m *mutant) { m.noKill(); m.file(650, m.plain, 0, 1, "dead") }, "I11"},
	{"a dead job is called in its tier", func(m *mutant) {
		m.noKill()
		rec := m.hop(625, 0, m.dead, 0, 2, 2, 10)
		m.commit()
		m.run(900, 901, "w1", 10, rec, ledger.Cancelled)
	}, "I6"},
	{"a redrive without a letter", func(m *mutant) { m.redrive(100, m.plain, 1); m.commit() }, "redrive"},
	{"a redrive is swallowed", func(m *mutant) {
		m.dropRecord(m.redrivenCopy)
		m.drop(ledger.Called, m.redrivenCopy)
		m.drop(ledger.Returned, m.redrivenCopy)
	}, "I1 I11 intent redrive"},
	{"a redrive begins with attempts burnt", func(m *mutant) { m.header(m.redrivenCopy, "attempt", "1") }, "attempts redrive"},

	// attempts and effects
	{"an attempt too many", func(m *mutant) { m.in.Kinds["key.mail"] = Kind{MaxAttempts: 1} }, "attempts"},
	{"an attempt is burnt without a call", func(m *mutant) { m.attemptOf(m.scheduledHop, 1) }, "attempts"},
	{"a snooze burns an attempt", func(m *mutant) { m.find(ledger.Returned, m.retried).Result = ledger.Snooze }, "attempts"},
	{"the record says another attempt", func(m *mutant) { m.header(m.retriedHop, "attempt", "0") }, "attempts"},
	{"an effect of nobody", func(m *mutant) { m.find(ledger.Effect, ledger.Pos{}).IdempotencyKey = "who?" }, "effect"},
	{"an effect too many", func(m *mutant) { m.effect(26, m.plain) }, "effect"},
	{"the idempotency key changes", func(m *mutant) { m.last(ledger.Called, m.rerun).IdempotencyKey = "fresh" }, "effect"},
	{"two jobs share an idempotency key", func(m *mutant) {
		m.find(ledger.Called, m.right).IdempotencyKey = m.attempt(m.plain).IdempotencyKey
	}, "effect"},

	// identity and ledger
	{"the handler is told another id", func(m *mutant) { m.find(ledger.Called, m.right).ID = "z" }, "identity"},
	{"the handler is told another key", func(m *mutant) { m.find(ledger.Called, m.right).Key = "z" }, "identity"},
	{"the handler is told another hop", func(m *mutant) {
		m.find(ledger.Called, m.retriedHop).Hop = 0
		m.find(ledger.Returned, m.retriedHop).Hop = 0
	}, "I6 identity"},
	{"a record in the topic is not the one acked", func(m *mutant) { m.find(ledger.Produced, m.left).Digest = "z" }, "identity"},
	{"a letter is handed to a handler", func(m *mutant) { m.find(ledger.Called, m.right).Record.Topic = dlqTopic }, "I1 I11 identity intent ledger"},
	{"a return without a call", func(m *mutant) { m.drop(ledger.Called, m.right) }, "I1 I11 intent ledger"},
	{"a dead process speaks", func(m *mutant) { m.run(7000, 7001, "w1", 10, m.expired, ledger.Cancelled) }, "I9 ledger"},
	{"an event is malformed", func(m *mutant) { m.find(ledger.Produced, m.left).Time = time.Time{} }, "ledger"},
	{"jobs are produced to a tier", func(m *mutant) { m.find(ledger.Produced, m.left).Record.Topic = "elsewhere" }, "ledger"},
}
