package dlq

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// log writes a segment to the receipt log of partition 2, where the rig's jobs come from.
func (r *rig) log(seg *dedupe.Segment) {
	r.Helper()
	if err := r.writer.ProduceSync(r.ctx, &kgo.Record{Topic: "emails.mailer.receipts", Partition: 2, Value: dedupe.AppendSegment(nil, seg)}).FirstErr(); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) withLog() {
	r.Helper()
	if _, err := r.admin().CreateTopic(r.ctx, 4, 1, nil, "emails.mailer.receipts"); err != nil {
		r.Fatal(err)
	}
}

// What the receipt log knows is asked before anything is produced.
func TestRedriveAsksTheReceipts(t *testing.T) {
	withRig(t, func(r *rig) {
		r.withLog()
		of := func(id string, s dedupe.State, change func(*dedupe.Receipt)) dedupe.Receipt {
			x := dedupe.Receipt{Identity: r.job("a", id, "x").Identity, State: s, Attempt: 1, Origin: r.job("a", id, "x").Origin.Offset}
			if change != nil {
				change(&x)
			}
			return x
		}
		gen := func(n uint32) func(*dedupe.Receipt) { return func(x *dedupe.Receipt) { x.Gen = n } }
		r.log(&dedupe.Segment{Receipts: []dedupe.Receipt{
			of("dead", dedupe.Dead, nil), of("done", dedupe.Dead, nil), of("done", dedupe.Done, gen(1)), of("begun", dedupe.Retrying, gen(1)),
			of("dead again", dedupe.Dead, gen(1)), of("forgotten", dedupe.Done, nil), of("other", dedupe.Done, nil),
			of("enqueued again", dedupe.Retrying, func(x *dedupe.Receipt) { x.Repeats, x.Origin = true, x.Origin+5 }),
			of("done since", dedupe.Done, func(x *dedupe.Receipt) { x.Repeats, x.Origin = true, x.Origin+5 }),
			of("of an earlier enqueue", dedupe.Done, func(x *dedupe.Receipt) { x.Repeats, x.Origin = true, x.Origin-5 })}})
		r.log(&dedupe.Segment{Epoch: -1, Forget: []job.Identity{r.job("a", "forgotten", "x").Identity}})
		want := map[string]string{"dead": "", "done": "already done: its receipt is of generation 1", "begun": "generation 1 of it has begun (retrying)",
			"dead again": "generation 1 of it has begun (dead)", "forgotten": "", "unknown": "", "enqueued again": "enqueued again since", "done since": "done since", "of an earlier enqueue": ""}
		for id := range want {
			r.file(0, Filing{Envelope: r.job("a", id, "x"), Disposition: Exhausted})
		}
		got := map[string]string{}
		req := request()
		req.All, req.Each = true, func(l *Letter, refusal string) { got[l.ID] = refusal }
		report := r.redrive(req)
		for id, part := range want {
			if (got[id] == "") != (part == "") || !strings.Contains(got[id], part) {
				t.Errorf("%s: refused with %q, want %q", id, got[id], part)
			}
		}
		if report.Redriven != 4 || len(report.Skipped) != 5 || len(r.copies()) != 4 {
			t.Errorf("report %+v, %d copies", report, len(r.copies()))
		}
	})
}

// An edited payload is redriven like the letter's own; a new id that is taken is refused, and so is a conflict without one.
func TestRedriveUnderAnotherID(t *testing.T) {
	withRig(t, func(r *rig) {
		r.withLog()
		taken := r.job("a", "taken", "x")
		taken.Key = []byte("key-1")
		taken.Identify("a", "a")
		r.log(&dedupe.Segment{Receipts: []dedupe.Receipt{{Identity: r.job("a", "1", "x").Identity, State: dedupe.Done}, {Identity: taken.Identity, State: dedupe.Dead}}})
		ref := r.file(0, Filing{Envelope: r.job("a", "1", "other payload"), Disposition: Conflict})
		for newID, want := range map[string]string{"": "redrive it under a new id", "taken": "a job a/taken is known already (dead)", "1": "NewID is the id it has", "2": ""} {
			req := request()
			req.Refs, req.NewID = []string{ref}, newID
			req.Edit = func(l *Letter) error { l.Payload = []byte("mended"); return nil }
			var got string
			req.Each = func(_ *Letter, refusal string) { got = refusal }
			r.redrive(req)
			if (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("new id %q: refused with %q, want %q", newID, got, want)
			}
		}
		copies := r.copies()
		if len(copies) != 1 || copies[0].ID != "2" || string(copies[0].Payload) != "mended" || copies[0].Generation != 0 {
			t.Errorf("copies %+v", copies)
		}
	})
}

// Letters are one per identity, generation and digest: a conflict, or a later generation, is another letter of the job.
func TestLettersCollapse(t *testing.T) {
	withRig(t, func(r *rig) {
		later := r.job("a", "1", "x")
		later.Generation = 1
		for partition := range int32(2) { // a copy of each in another partition
			r.file(partition, Filing{Envelope: r.job("a", "1", "x"), Disposition: Exhausted})
			r.file(partition, Filing{Envelope: r.job("a", "1", "y"), Disposition: Conflict})
			r.file(partition, Filing{Envelope: later, Disposition: Exhausted, Text: fmt.Sprint("another text ", partition)})
		}
		got, sum := r.list(Filter{})
		if want := "[0/0 1 x2 0/1 1 x2 0/2 1 x2]"; fmt.Sprint(got) != want || sum.Records != 6 || sum.Letters != 3 || sum.Matched != 3 || sum.Listed != 3 {
			t.Errorf("letters %v, %+v", got, sum)
		}
	})
}
