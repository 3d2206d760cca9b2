package task

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
)

// A topic that was deleted and made anew is another one: no offset of the group, and no frontier of the log, means anything
// in it (I16). Only an operator may say where to begin. A tier begins at its start, which skips nothing.
func TestRecreatedWhileNobodyOwned(t *testing.T) {
	anew := func(i int) func(w *world) {
		return func(w *world) {
			many(5)(w)
			w.topics[i].id = dedupe.TopicID{99}
			clear(w.committed)
		}
	}
	for _, c := range []struct {
		name   string
		setup  func(w *world)
		want   string
		source int
		paused string
	}{
		{"the offset is gone with the old topic", anew(0), "the topic was deleted and made anew", 0, "recreated"},
		{"the offset is still there", func(w *world) { anew(0)(w); w.committed["main"] = place{3, true} }, "the topic was deleted and made anew", 0, "recreated"},
		{"a group that starts at the end", func(w *world) { anew(0)(w); w.startEnd = true }, "the topic was deleted and made anew", 0, "recreated"},
		{"an operator's order wins", func(w *world) { anew(0)(w); w.committed["main"] = place{1, false} }, "start main at 1", 0, ""},
		{"a tier", anew(1), "start retry.10s at 0", 1, ""},
		{"a tier whose offset is still there", func(w *world) {
			anew(1)(w)
			w.committed["retry.10s"] = place{3, true}
			w.append(w.topics[1], nil, nil, nil)
		}, "start retry.10s at 0", 1, ""},
		{"the others go on", anew(0), "start retry.10s at 0", 1, ""},
		{"no frontier, but no other topic either", func(w *world) {
			w.committed["main"] = place{7, true} // beyond the end: the first segment has no frontier of it
			w.runs("before").tick(true)
			w.procs[0].settleDown()
			w.procs[0].crash()
			clear(w.committed)
		}, "start main at 0", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			c.setup(w)
			r := &rig{world: w, t: t}
			w.trace = func(f string, a ...any) { r.lines = append(r.lines, fmt.Sprintf(f, a...)) }
			r.p = w.runs("b")
			r.said(c.want)
			equal(t, "pauses", r.p.m.sources[c.source].pauses.String(), c.paused)
			for range 3 { // and so it stays, without asking again
				r.wait(time.Minute)
				r.p.tick(true)
				r.p.settleDown()
			}
			r.said("!prove", "!start")
			for _, x := range r.p.m.Status().Sources[0].Pauses {
				for _, want := range []string{"main/0: the topic was deleted and made anew", "set its offset", "kafka-topics.sh --delete --topic receipts", "window of their own (" + soon + ", " + until + ")"} {
					if !strings.Contains(x.Text, want) {
						t.Errorf("text %q lacks %q", x.Text, want)
					}
				}
			}
		})
	}
}

// Without kinds that have a window of their own the receipt log stays.
func TestReceiptsStayInANewTopic(t *testing.T) {
	kinds := newWorld().kinds
	delete(kinds, soon)
	delete(kinds, until)
	equal(t, "to be done besides", kinds.InNewTopic("receipts"), "")
}

// The cluster shows another id for a topic that is being read: nothing of the old one is committed to it.
func TestRecreatedWhileRunning(t *testing.T) {
	r := newRig(t)
	r.unchecked = true
	r.give(msg("free", "1", ""))
	r.main().id = dedupe.TopicID{99}
	r.p.m.OutOfRange("retry.10s", r.now) // makes the machine look at places
	r.p.carry()
	r.p.settleDown()
	r.said("the topic was deleted and made anew", "pause main")
	r.end("free/1", success)
	r.p.tick(true)
	r.said("segment of epoch 0: free/1 done")
	r.p.settleDown()
	equal(t, "committed", r.committed["main"], place{0, true})
	equal(t, "pauses", r.p.m.main.pauses.String(), "recreated")
}

// Within an epoch the greater frontier wins, so an order below it needs a new one: else a crash would forget the order.
func TestOrderForATierThatComesLater(t *testing.T) {
	tierAt := func(at int64) *rig {
		r := newRig(t)
		for range 3 {
			r.append(r.topics[2], nil, nil, nil)
		}
		r.p.fetchAll()
		r.p.settleDown()
		r.p.tick(true)
		r.p.settleDown()
		equal(t, "committed", r.committed["retry.2m"], place{3, true})
		r.p.crash()
		r.p = r.assign("b", "retry.10s")
		r.p.settleDown()
		r.p.tick(true)
		r.p.settleDown()
		r.committed["retry.2m"] = place{at, false}
		r.lines = nil
		r.p.m.AddTier("retry.2m", r.topics[2].id, 2*time.Minute, r.now)
		r.p.carry()
		r.p.settleDown()
		return r
	}
	r := tierAt(1)
	r.said("audit: rewound retry.2m to 1", "start retry.2m at 1", "!commit")
	r.p.crash() // before anything could say so: the order stands
	r.p = r.runs("c")
	r.said("start retry.2m at 1")

	r = tierAt(1)
	r.unchecked = true // the checker knows orders on the job topic alone
	give := func(id string) {
		r.produce(msg("keyed", id, id))
		r.p.deliver("main", 1, 0)
	}
	give("1")
	r.p.tick(true)
	r.said("ownership record", "!segment")
	r.p.settleDown()
	give("2")
	r.p.tick(true)
	r.said("prove membership", "segment of epoch 5: main=0 retry.10s=0 retry.2m=1")
	r.p.settleDown()
	equal(t, "committed", r.committed["retry.2m"], place{1, true})
	same(t, "offered", r.offered(), "keyed/1", "keyed/2")
	r.p.crash()
	r.p = r.runs("d")
	r.said("start retry.2m at 1")
}

// A task that is given up before the new epoch leaves the order where it is.
func TestRevokedBeforeTheOrderIsInForce(t *testing.T) {
	r := newRig(t, many(2))
	r.p.crash()
	r.p = r.assign("b")
	for len(r.p.answers) == 0 {
		switch {
		case len(r.p.logq) > 0:
			r.ack(r.landSegment())
		case r.p.read != nil:
			r.p.readSome(100)
		default:
			r.p.heartbeat()
		}
	}
	r.p.answers[0].starts = r.p.answers[0].starts[1:] // the job topic's place is not known for a moment
	r.p.prove()
	r.committed["main"] = place{1, false}
	r.p.tick(true)
	r.p.settleDown()
	r.said("start main at 1")
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.p.settleDown()
	equal(t, "gone", r.p.m.Gone(), true)
	equal(t, "committed", r.committed["main"], place{1, false})
}

// A log that goes back is another: the task stops and asks to be owned from scratch, and what was settled is written to the
// new log when it is let go.
func TestLogGoesBack(t *testing.T) {
	r := newRig(t, many(3))
	r.unchecked = true
	r.give(msg("free", "x", ""), msg("free", "y", ""))
	r.end("free/x", success)
	r.p.tick(true)
	x := r.p.logq[0]
	x.landLog()
	x.parts[0].Offset = 0
	seg := x.seg
	r.p.logq = nil
	if err := r.p.m.SegmentAcked(seg, x.parts, nil, r.now); err != nil {
		t.Fatal(err)
	}
	equal(t, "asks for a new owner", r.p.m.Out.Anew, true)
	r.p.carry()
	r.said("goes on at 0 although it was read up to", "pause main (stopped)")
	if p := r.p.m.Status().Sources[0].Pauses[0]; !strings.Contains(p.Text, "The receipts before are lost") {
		t.Errorf("text %q", p.Text)
	}
	r.end("free/y", success)
	r.p.tick(true)
	r.said("!run", "!segment")
	r.p.m.Abandon(r.now)
	r.p.carry()
	r.said("late segment of epoch 2: free/x done; free/y done")

	r = newRig(t, many(3))
	r.unchecked = true
	r.give(msg("free", "x", ""))
	r.p.m.Revoke(r.now)
	r.p.carry()
	r.end("free/x", success)
	r.p.tick(true)
	x = r.p.logq[0]
	x.landLog()
	x.parts[0].Offset = 0
	if err := r.p.m.SegmentAcked(x.seg, x.parts, nil, r.now); err != nil {
		t.Fatal(err)
	}
	r.p.logq = nil
	r.p.carry()
	r.said("late segment of epoch 2: free/x done", "drained")
}

// An ownership record that lands below what was read is one in another log.
func TestOwnershipRecordInAnotherLog(t *testing.T) {
	r := newRig(t, many(3))
	r.unchecked = true
	r.p.m.phase = owning
	r.p.m.Owned(0, r.now)
	equal(t, "asks for a new owner", r.p.m.Out.Anew, true)
	equal(t, "reads", r.p.m.Out.Read == nil, true)
}

// A partition that is not known is asked for ever less often.
func TestPlacesThatStayUnknown(t *testing.T) {
	r := assigned(t)
	r.p.settleDown()
	r.p.tick(true)
	r.p.settleDown()
	r.p.paused["elsewhere"] = true
	r.p.m.AddTier("elsewhere", dedupe.TopicID{9}, time.Minute, r.now)
	r.p.carry()
	asked := 0
	for range 600 { // a minute of ticks
		r.wait(100 * time.Millisecond)
		r.p.tick(true)
		asked += r.p.asks
		r.p.settleDown()
	}
	if asked < 5 || asked > 20 {
		t.Errorf("asked %d times in a minute", asked)
	}
	r.lines = nil
	r.p.m.HoldTopic("elsewhere", Missing, true, "it is not there", r.now)
	r.p.m.HoldTopic("elsewhere", Missing, false, "", r.now)
	r.p.m.HoldTopic("nowhere", Missing, true, "", r.now)
	r.p.tick(true)
	r.said("prove membership")
	equal(t, "the job topic", r.p.m.main.pauses.String(), "")
}

// Each reason says what it is about and what ends it; some know more than their reason.
func TestReasonsSayWhatEndsThem(t *testing.T) {
	for r := range reasons {
		if r.Text() == "" || r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d: %q, %q", r, r, r.Text())
		}
	}
	equal(t, "no reason", reasons.Text(), "")
	r := newRig(t)
	r.p.m.HoldFor(Stopped, "the disk is full", r.now)
	r.p.m.HoldTopic("retry.10s", Missing, true, "", r.now)
	st := r.p.m.Status()
	equal(t, "main", fmt.Sprint(texts(st.Sources[0])), "[stopped: the disk is full]")
	equal(t, "tier", fmt.Sprint(texts(st.Sources[1])), fmt.Sprintf("[stopped: the disk is full missing: %s]", Missing.Text()))
	r.p.m.Hold(Stopped, false, r.now)
	r.p.m.Hold(Stopped, true, r.now)
	equal(t, "a text ends with its pause", fmt.Sprint(texts(r.p.m.Status().Sources[0])), fmt.Sprintf("[stopped: %s]", Stopped.Text()))

	r = newRig(t)
	r.give(msg("free", "1", ""))
	r.end("free/1", failure)
	x := r.write()
	x.write.Problem, x.res = "retry.10s/0: no", Refused
	x.answer()
	equal(t, "refused", fmt.Sprint(texts(r.p.m.Status().Sources[1])), "[unacked_writes: retry.10s/0: no]")
	r.wait(time.Minute)
	r.p.tick(false)
	r.p.settleDown()
	equal(t, "acked", len(r.p.m.Status().Sources[1].Pauses), 0)
}

func texts(s SourceStatus) (out []string) {
	for _, p := range s.Pauses {
		out = append(out, p.Reason.String()+": "+p.Text)
	}
	return out
}

// A machine that is held before it is assigned shows why, and nothing else.
func TestHeldUnassigned(t *testing.T) {
	w := newWorld()
	m := New(Config{Topic: "main", TopicID: w.main().id, Tiers: w.tiers, Plan: w.plan, Kinds: w.kinds, Store: dedupe.NewMemory(time.Hour)})
	m.HoldFor(Layout, "beyond", w.now)
	m.AddTier("retry.10s", w.topics[1].id, time.Second, w.now)
	m.Tick(true, w.now)
	for _, s := range m.Status().Sources {
		equal(t, s.Topic, fmt.Sprint(texts(s)), "[layout: beyond]")
	}
	m.Revoke(w.now)
	equal(t, "gone", m.Gone(), true)
	equal(t, "drained", m.Out.Drained, true)
	equal(t, "wants nothing else", m.Out.Own || m.Out.Prove || m.Out.Segment != nil || m.Out.Late != nil, false)
}
