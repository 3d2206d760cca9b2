package task

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// awaits has an attempt wait for its mark, and returns where the answers come.
func (p *proc) awaits(e *Entry) *[]Kept {
	answers := new([]Kept)
	p.m.Keep(&Keep{Receipt: SuspectMark(e), Mark: true, Answer: func(k Kept) { *answers = append(*answers, k) }}, p.w.now)
	p.carry()
	return answers
}

// back is a process that is the member again without having noticed that another was.
func (r *rig) back(p *proc) {
	r.seq++
	r.member, p.seq, r.p = p, r.seq, p
	p.settleDown()
}

var cancelled = job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled}

// A job waits for its mark while another owner begins it and dies: once the first has the task back the run is one that began and of
// which nobody knows the end, as if it had been taken over.
func TestMarkOfARunThatAnotherBegan(t *testing.T) {
	for _, c := range []struct {
		kind   string
		begins bool // the other does, before it dies
		want   Kept
	}{
		{"once", true, LookAgain},
		{"asked", true, LookAgain},
		{"free", true, LookAgain},
		{"once", false, Durable},
		{"asked", false, Durable},
		{"free", false, Durable},
	} {
		t.Run(c.kind+map[bool]string{true: " begun", false: " not begun"}[c.begins], func(t *testing.T) {
			r := newRig(t)
			r.give(msg(c.kind, "a", ""))
			name := c.kind + "/a"
			if c.kind == "free" {
				r.dies() // else it is no suspect
			}
			first := r.p
			answers := first.awaits(r.entry(name))
			r.p = r.runs("other")
			r.p.fetchAll()
			if c.begins {
				r.mark(name)
			}
			r.p.crash()
			r.back(first)
			r.p.tick(true)
			r.p.settleDown()
			same(t, "answers", *answers, c.want)
			if !c.begins {
				r.end(name, success)
				r.p.settleDown()
				return
			}
			r.end(name, cancelled)
			r.p.tick(false)
			r.p.settleDown()
			switch c.kind {
			case "once":
				same(t, "offered", r.offered())
				if len(r.letters) != 1 || r.letters[0].disp != dlq.OutcomeUnknown {
					t.Errorf("letters: %+v", r.letters)
				}
			case "asked":
				equal(t, "the handler is told that an attempt began", r.entry(name).Message().Unsure, true)
			default:
				r.suspicion(name, Alone)
			}
		})
	}
}

// What is found begun as the only suspect of an owner that died in between has taken down three: it is poison, not a fourth.
func TestPoisonBetweenTwoOwnershipsOfOne(t *testing.T) {
	r := newRig(t)
	r.give(msg("free", "killer", ""))
	r.dies()
	r.mark("free/killer")
	r.dies()
	r.suspicion("free/killer", Alone)
	first := r.p
	answers := first.awaits(r.entry("free/killer"))
	r.p = r.runs("other")
	r.p.fetchAll()
	r.suspicion("free/killer", Alone)
	r.mark("free/killer")
	r.p.crash()
	r.back(first)
	same(t, "answers", *answers, LookAgain)
	r.end("free/killer", cancelled)
	r.p.tick(false)
	r.p.settleDown()
	same(t, "offered", r.offered())
	if len(r.letters) != 1 || r.letters[0].disp != dlq.Poison {
		t.Errorf("letters: %+v", r.letters)
	}
}

// The success of the owner before comes late, in front of the segment with the mark: the job is done, and does not begin.
func TestMarkOfAJobThatIsDone(t *testing.T) {
	for _, sent := range []bool{true, false} {
		t.Run(map[bool]string{true: "mark on the way", false: "mark not sent"}[sent], func(t *testing.T) {
			r := newRig(t)
			r.give(msg("asked", "a", "k"), msg("asked", "b", "l"))
			r.mark("asked/a", "asked/b")
			r.end("asked/a", success)
			r.p.tick(true) // the segment that says so lands late
			r.p.crash()
			r.next()
			if !sent { // it waits behind another that is on the way
				r.p.awaits(r.entry("asked/b"))
			}
			answers := r.p.awaits(r.entry("asked/a"))
			late := r.orphans[0]
			r.orphans = nil
			late.landLog()
			r.p.settleDown()
			same(t, "answers", *answers, LookAgain)
			r.end("asked/a", cancelled)
			r.wait(time.Millisecond)
			r.p.tick(true)
			r.p.settleDown()
			same(t, "offered", r.offered(), "asked/b")
			equal(t, "receipt", r.durable("asked/a").State, dedupe.Done)
		})
	}
}
