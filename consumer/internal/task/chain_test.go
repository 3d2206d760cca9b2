package task

import (
	"fmt"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

func chained(n int) func(*world) { return func(w *world) { w.chain = n } }

// What waits behind a head goes to the pool with it, up to the bound, and on from there.
func TestChainOfAKey(t *testing.T) {
	r := newRig(t, chained(3))
	var ms []job.Message
	for i := range 5 {
		ms = append(ms, msg("keyed", fmt.Sprint(i), "k"))
	}
	r.give(ms...)
	r.said("run keyed/0", "and behind it, 2 more")
	for i := range 5 {
		r.end(fmt.Sprint("keyed/", i), success)
	}
	r.said("run keyed/3", "and behind it, 1 more")
}

// What stands behind a failure runs at once: it need not wait for the copy's ack, nor go back.
func TestChainGoesOn(t *testing.T) {
	r := newRig(t, chained(8))
	r.give(msg("keyed", "0", "k"), msg("keyed", "1", "k"), msg("keyed", "2", "k"))
	r.end("keyed/0", success)
	r.end("keyed/1", failure)
	r.said("run keyed/2 attempt 1", "!goes back")
	same(t, "while the copy is on its way", r.offered(), "keyed/2")
	r.p.settleDown()
	if s := r.p.m.Stats(); s.Attempts != 3 || s.Cancelled != 0 {
		t.Errorf("%d attempts, %d cancelled; what did not begin is neither", s.Attempts, s.Cancelled)
	}
	r.end("keyed/2", success)
}

// A second record of a job that failed waits for the ack: what it is follows from the receipt, and the others go on.
func TestSecondWaitsForTheAck(t *testing.T) {
	r := newRig(t, chained(8))
	r.give(msg("keyed", "0", "k"), msg("keyed", "0", "k"), msg("keyed", "1", "k"))
	r.end("keyed/0", failure)
	same(t, "while the copy is on its way", r.offered())
	r.p.settleDown()
	same(t, "the second is stale", r.offered(), "keyed/1")
	if s := r.p.m.Stats(); s.Stale != 1 {
		t.Errorf("%d stale", s.Stale)
	}
	r.end("keyed/1", success)
}

// A pool that lets go cancels the head; what stands behind is not looked at before the head is.
func TestChainIsCancelled(t *testing.T) {
	r := newRig(t, chained(8))
	r.give(msg("keyed", "0", "k"), msg("keyed", "1", "k"))
	r.end("keyed/0", job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled})
	same(t, "cancelled", r.offered())
	r.p.tick(false)
	same(t, "looked at again", r.offered(), "keyed/0")
	r.end("keyed/0", success)
	r.end("keyed/1", success)
}

// Only what is plain goes along: nothing that may be decided in another way when its turn comes.
func TestWhatEndsAChain(t *testing.T) {
	m := func(change func(*job.Message)) job.Message {
		m := msg("keyed", "1", "k")
		change(&m)
		return m
	}
	for name, c := range map[string]struct {
		second job.Message
		order  func(*world)
	}{
		"the same job":    {second: msg("keyed", "0", "k")},
		"another kind":    {second: msg("again", "1", "k")},
		"another key":     {second: msg("keyed", "1", "l")},
		"scheduled":       {second: m(func(m *job.Message) { m.At = day0.Add(time.Hour) })},
		"may expire":      {second: m(func(m *job.Message) { m.Expires = day0.Add(time.Hour) })},
		"newer version":   {second: m(func(m *job.Message) { m.Version = 7 })},
		"unknown kind":    {second: msg("mystery", "1", "k")},
		"chains are off":  {second: msg("keyed", "1", "k"), order: chained(1)},
		"what is unknown": {second: m(func(m *job.Message) { m.ID = "" })},
	} {
		t.Run(name, func(t *testing.T) {
			if c.order == nil {
				c.order = chained(8)
			}
			r := newRig(t, c.order)
			r.give(msg("keyed", "0", "k"), c.second)
			r.said("run keyed/0", "!and behind it")
		})
	}
}

// A task that is quick to finish what it holds is not paused for the number of its records at once; for their bytes it is,
// unless it is tiers that have them.
func TestGraceBeforeBackpressure(t *testing.T) {
	limits := Limits{Records: 4, Bytes: 1 << 20, Tier: 100, Ahead: 100, Grace: time.Second}
	r := newRig(t, small(limits))
	some := func(from, n int) (ms []job.Message) {
		for i := range n {
			ms = append(ms, msg("free", fmt.Sprint(from+i), ""))
		}
		return ms
	}
	r.give(some(0, 5)...)
	r.said("!pause main")
	if !r.p.m.Crowded() || r.p.m.Held() != 5 {
		t.Errorf("holds %d of 4, crowded: %v", r.p.m.Held(), r.p.m.Crowded())
	}
	r.wait(999 * time.Millisecond)
	r.p.tick(false)
	r.said("!pause main")
	for i := range 3 {
		r.end(fmt.Sprint("free/", i), success)
	}
	if r.p.m.Crowded() {
		t.Error("crowded at half of what it may hold")
	}
	r.wait(time.Second)
	r.give(some(5, 3)...)
	r.said("!pause main")
	r.wait(time.Second)
	r.p.tick(false)
	r.said("pause main (backpressure)")

	r = newRig(t, small(limits))
	r.give(some(0, 8)...) // twice as many
	r.said("pause main (backpressure)")
}

// Copies that come with one fetch may take more than all that tiers share. The job topic has its floor then, which one fetch
// of its own passes; it is not paused for that unless it stays so, or holds half of what the task may.
func TestGraceBesideFullTiers(t *testing.T) {
	crowd := func(fresh int) *rig {
		r := newRig(t, small(Limits{Records: 1000, Bytes: 200_000, Tier: 1000, Ahead: 1000, Grace: time.Second}))
		r.failed(110)
		r.p.deliver("retry.10s", 110, 0)
		r.said("pause retry.10s", "!pause main")
		for i := range fresh {
			r.give(msg("free", fmt.Sprint("fresh", i), ""))
		}
		return r
	}
	m := crowd(80).p.m
	if b := m.budget(); m.main.bytes <= b.of(m.main) || m.main.bytes >= m.cfg.Limits.Bytes/2 {
		t.Fatalf("the scene is wrong: holds %d, the floor is %d", m.main.bytes, b.of(m.main))
	}

	r := crowd(80)
	r.said("!pause main")
	r.wait(999 * time.Millisecond)
	r.p.tick(false)
	r.said("!pause main")
	r.wait(time.Millisecond)
	r.p.tick(false)
	r.said("pause main (backpressure)")

	r = crowd(150)
	r.said("pause main (backpressure)")
}

// A chain is cut at the bound, and the rest follows when all of it is back.
func TestLengthOfChains(t *testing.T) {
	r := newRig(t, chained(100), small(Limits{Records: 10_000, Bytes: 1 << 30, Tier: 1000, Ahead: 10_000, Reruns: 10_000}))
	var ms []job.Message
	for i := range 150 {
		ms = append(ms, msg("keyed", fmt.Sprint(i), "k"))
	}
	r.give(ms...)
	equal(t, "the first", 1+r.entry("keyed/0").Chain(), 100)
	for i := range 100 {
		r.end(fmt.Sprint("keyed/", i), success)
	}
	equal(t, "the second", 1+r.entry("keyed/100").Chain(), 50)
	for i := range 50 {
		r.end(fmt.Sprint("keyed/", 100+i), success)
	}
}

// Of a long chain no two are one job, and none is left out for looking like another.
func TestMembersOfAChain(t *testing.T) {
	var s links
	for turn := range 70_000 { // the turns are counted in 16 bits
		n := 2
		if turn%10_000 == 0 {
			n = memberSlots / 2
		}
		at := func(i int) *Entry {
			e := new(Entry)
			e.env.Identity = job.IdentityOf("kind", nil, fmt.Sprint(i))
			return e
		}
		s.begin(at(0))
		for i := 1; i < n; i++ {
			if !s.add(at(i)) {
				t.Fatalf("turn %d: %d is taken for another", turn, i)
			}
		}
		for i := 0; i < n; i += 97 {
			if s.add(at(i)) {
				t.Fatalf("turn %d: %d is not found", turn, i)
			}
		}
	}
}
