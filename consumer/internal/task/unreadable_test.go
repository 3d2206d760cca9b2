package task

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// A batch that is not opened is one letter, counts as one record, and is settled like any other: nothing is committed past
// it before its letter is acked, and the client is told to go on behind it at once.
func TestUnreadable(t *testing.T) {
	r := newRig(t)
	r.unchecked = true // the world does not know of the batch
	r.give(msg("free", "1", ""))
	r.end("free/1", success)
	r.lines = nil
	r.p.m.Unreadable("main", 1, 40, 1<<20, r.now)
	out := r.p.m.Out
	if len(out.Writes) != 1 || len(out.Start) != 1 || len(out.Notes) != 1 {
		t.Fatalf("%d writes, %d starts, %d notes", len(out.Writes), len(out.Start), len(out.Notes))
	}
	w := out.Writes[0]
	equal(t, "start", out.Start[0], Offset{"main", 40, -1})
	equal(t, "origin", w.Entry.env.Origin.Offset, 1)
	equal(t, "destination", w.Dest, ToDeadLetters)
	equal(t, "code", w.Code, job.CodeTooLarge)
	equal(t, "truncated", w.Truncated, true)
	if !strings.Contains(w.Text, "records 1 to 39 of main/0") || !strings.Contains(w.Text, "set its offset of main/0 to 1") || out.Notes[0] != w.Text {
		t.Errorf("text %q, note %q", w.Text, out.Notes[0])
	}
	out.Reset()
	r.p.m.Out = out
	equal(t, "frontier before the ack", r.p.m.main.frontier(r.p.m.seq), 1)
	r.p.m.Written([]Answer{{w, Acked}}, r.now)
	equal(t, "frontier after it", r.p.m.main.frontier(r.p.m.seq), 40)
	equal(t, "dead", r.p.m.Stats().Dead, 1)
	equal(t, "receipt", r.p.m.view(w.Entry.env.Identity).State, dedupe.Dead)

	r.p.m.Out.Reset()
	r.p.m.Unreadable("main", 1, 40, 1<<20, r.now) // read again below the frontier: only the client must move on
	equal(t, "writes", len(r.p.m.Out.Writes), 0)
	equal(t, "start", r.p.m.Out.Start[0], Offset{"main", 40, -1})
	r.p.m.Out.Reset()
	r.p.m.Unreadable("retry.10s", 0, 3, 1<<20, r.now) // somebody else's, in a tier: not delayed
	equal(t, "writes", len(r.p.m.Out.Writes), 1)
	r.p.m.Out.Reset()
	r.p.m.Unreadable("nobody's", 0, 3, 1<<20, r.now)
	equal(t, "writes", len(r.p.m.Out.Writes)+len(r.p.m.Out.Start), 0)
}
