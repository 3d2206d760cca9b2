package task

import (
	"slices"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
)

func TestLeaders(t *testing.T) {
	var l leaders
	for _, r := range []leadership{{10, 3}, {11, 3}, {12, unknownEpoch}, {15, 4}, {14, 3}, {20, 7}} { // 14: read again
		l.see(r.from, r.epoch)
	}
	for _, c := range []struct {
		at   int64
		want int32
	}{{10, unknownEpoch}, {11, 3}, {15, 3}, {16, 4}, {20, 4}, {21, 7}, {100, 7}} {
		equal(t, "before", l.before(c.at), c.want)
	}
	l.below(16)
	same(t, "from 16 on", l, leadership{15, 4}, leadership{20, 7})
	l.below(50)
	same(t, "from 50 on", l, leadership{20, 7})
	equal(t, "before 50", l.before(50), 7)
}

// A partition begins with the leader epoch that the group's commit names, where the commit is its place, and not at all where
// the log of that epoch ended before the commit.
func TestBeginsWithALeaderEpoch(t *testing.T) {
	ours := func(committed, logStart, end int64) Start {
		return Start{Committed: committed, Ours: true, LeaderEpoch: 3, LogStart: logStart, EpochEnd: end}
	}
	for _, c := range []struct {
		name  string
		at    int64
		start Start
		epoch int32
		cut   int64
	}{
		{"the commit is the place", 50, ours(50, 0, 60), 3, -1},
		{"and the end", 50, ours(50, 0, 50), 3, -1},
		{"the log ended before", 50, ours(50, 0, 49), 3, 49},
		{"and retention has taken all of it", 50, ours(50, 50, 0), 3, -1},
		{"the broker does not know of the epoch", 50, ours(50, 0, -1), 3, -1},
		{"the commit is behind", 50, ours(40, 0, 45), -1, -1},
		{"behind, and the log ended before", 50, ours(40, 0, 39), -1, 39},
		{"it is above", 50, ours(60, 0, 60), -1, -1},
		{"an operator's order", 50, Start{Committed: 50, LeaderEpoch: 3, EpochEnd: 20}, -1, -1},
		{"an older owner's, which did not say", 50, Start{Committed: 50, Ours: true, LeaderEpoch: -1, EpochEnd: -1}, -1, -1},
		{"none", 50, Start{Committed: -1, LeaderEpoch: -1, EpochEnd: -1}, -1, -1},
	} {
		s := &source{topic: "main"}
		equal(t, c.name, s.startAt(c.at, &c.start), Offset{"main", c.at, c.epoch})
		equal(t, c.name+": known then", s.leaders.before(c.at), c.epoch)
		equal(t, c.name+": cut", c.start.cut(), c.cut)
	}
}

// A log that was cut while nobody read it, and has grown past the frontier since, stops its partition when it is taken over.
func TestLogCutWhileNobodyOwned(t *testing.T) {
	for _, c := range []struct {
		end    int64
		paused string
	}{{7, "truncated"}, {10, ""}} {
		r := newRig(t, many(10))
		r.unchecked = true
		twenty(r.world)
		r.p.crash()
		r.p = r.assign("b")
		for len(r.p.answers) == 0 {
			r.p.step()
		}
		starts := r.p.answers[0].starts
		starts[0].LeaderEpoch, starts[0].EpochEnd = 3, c.end
		r.p.settleDown()
		equal(t, "pauses", r.p.m.main.pauses.String(), c.paused)
		equal(t, "of a tier", r.p.m.sources[1].pauses.String(), "")
		if c.paused != "" {
			r.said("note: main/0 was read up to 10, but lost its end from 7 on (a leader without it took over) and went on")
			r.p.tick(true)
			r.p.settleDown()
			equal(t, "started", r.p.started["main"], false)
		}
	}
}

// A commit bears the leader epoch of the last record below it, not of the last one read.
func TestCommitsBearLeaderEpochs(t *testing.T) {
	m := New(Config{Topic: "main", TopicID: dedupe.TopicID{1}, Kinds: newWorld().kinds, Store: dedupe.NewMemory(0)})
	m.Assign(1)
	m.Owned(0, 1)
	if err := m.Entries([]*dedupe.Entry{{Owner: &dedupe.Owner{}}}); err != nil {
		t.Fatal(err)
	}
	m.ReadDone(1)
	m.Proved(true, []Start{{Topic: "main", ID: dedupe.TopicID{1}, Committed: -1, LeaderEpoch: -1, LogEnd: 100}}, 1)
	ack := func() Offset {
		t.Helper()
		m.Out.Reset()
		m.Tick(true, 1)
		seg := m.Out.Segment
		err := m.SegmentAcked(seg, []*dedupe.Entry{{Offset: m.cfg.Store.Position().Next, Segment: &dedupe.Segment{Epoch: 0, Receipts: seg.Receipts, Frontiers: seg.Frontiers}}}, nil, 1)
		if err != nil || len(m.Out.Commit) != 1 {
			t.Fatal(err, m.Out.Commit)
		}
		return m.Out.Commit[0]
	}
	equal(t, "nothing read", ack(), Offset{"main", 0, -1})
	m.Out.Reset()
	w := newWorld()
	for _, id := range []string{"a", "b", "c"} {
		w.produce(msg("free", id, ""))
	}
	records := w.main().recs
	for i, epoch := range []int32{5, 5, 6} {
		records[i].LeaderEpoch = epoch
	}
	m.Records("main", records, 1)
	done := slices.Clone(m.Out.Run)
	m.Outcomes(done[:1], 1)
	equal(t, "one of three", ack(), Offset{"main", 1, 5})
	m.Outcomes(done[1:], 1)
	equal(t, "all", ack(), Offset{"main", 3, 6})
}

// A log that lost its end and grew again holds other records where some were read: its partition stops, whoever finds out.
func TestLogThatLostItsEnd(t *testing.T) {
	r := newRig(t)
	r.unchecked = true // the broker itself loses records
	twenty(r.world)
	r.p.fetchAll()
	r.end("free/t0", success)
	offered := len(r.p.pool)
	twenty(r.world) // as if the log had been cut to 17 and had grown again
	r.p.m.Diverged("main", 17, r.now)
	r.p.deliver("main", 5, 0) // the client had them already
	r.p.settleDown()
	r.said("note: main/0 was read up to 20, but lost its end from 17 on")
	equal(t, "pauses", r.p.m.main.pauses.String(), "truncated")
	equal(t, "of a tier", r.p.m.sources[1].pauses.String(), "")
	r.p.deliver("main", 5, 0)
	r.p.m.Diverged("main", 17, r.now)
	r.p.settleDown()
	equal(t, "offered", len(r.p.pool), offered)
	equal(t, "pauses", r.p.m.main.pauses.String(), "truncated")
	r.end("free/t1", success) // what was read before ends as ever
	r.p.tick(true)
	r.p.settleDown()
	r.said("segment of epoch 0: free/t0 done; free/t1 done; main=2")
}

// What is no loss: what the client says of a place passed long ago, and a log of which retention has taken all that was read.
func TestLogThatDidNotLoseItsEnd(t *testing.T) {
	r := newRig(t)
	r.unchecked = true
	twenty(r.world)
	r.p.fetchAll()
	r.p.m.Diverged("main", 20, r.now)
	r.p.m.Diverged("elsewhere", 0, r.now)
	equal(t, "asks", r.p.m.Out.Prove, false)
	twenty(r.world)
	r.main().start = 20
	r.p.m.Diverged("main", 0, r.now)
	r.p.carry()
	r.p.settleDown()
	equal(t, "pauses", r.p.m.main.pauses.String(), "")
	r.p.fetchAll()
	equal(t, "read", r.p.m.main.next, int64(40))
}

// A receipt log that lost its end says less than the group committed: the log is the truth, but not without a word.
func TestReceiptLogThatLostItsEnd(t *testing.T) {
	for at, said := range map[int64]string{10: "!lost its end", 12: "the receipt log says 10 and the group had committed 12: the log lost its end"} {
		r := newRig(t, many(10))
		r.unchecked = true
		twenty(r.world)
		r.p.crash()
		r.committed["main"] = place{at, true}
		r.p = r.runs("b")
		equal(t, "starts", r.p.fetch["main"], 10)
		r.said(said)
	}
}
