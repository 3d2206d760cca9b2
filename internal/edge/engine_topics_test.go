package edge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// What somebody else writes to a tier is filed unless it is a copy of ours; a forged copy that breaks no rule is a job.
func TestForeignRecordsInATier(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		r.Kinds = kinds(r)
		i := r.Start("a")
		r.Good(1)
		h, tier := edge.Header, r.TierTopics()[0]
		copied := func(more ...kgo.RecordHeader) []kgo.RecordHeader {
			return append([]kgo.RecordHeader{h(job.HeaderKind, "foreign"), h(job.HeaderID, "c"), h(job.HeaderDelay, "1")}, more...)
		}
		cases := []hostile{
			{"no headers", record("x"), malformed("a record of a retry tier lacks header waybill-kind")},
			{"a job of the job topic", record("x", copied()[:2]...), malformed("a record of a retry tier lacks header waybill-hop")},
			{"a bad origin", record("x", copied(h(job.HeaderHop, "1"), h(job.HeaderOrigin, "x"))...), malformed(`origin "x" is not topic/partition/offset/milliseconds`)},
			{"a bad hop", record("x", copied(h(job.HeaderHop, "-1"), h(job.HeaderOrigin, "x/0/0/0"))...), malformed(`hop "-1" is not a number`)},
			{"an oversized error", record("x", copied(h(job.HeaderHop, "1"), h(job.HeaderOrigin, "x/0/0/0"), h(job.HeaderError, strings.Repeat("e", 9_000)))...),
				malformed("header waybill-error has 9000 bytes")},
			{"a CloudEvent", record("x", h("ce_specversion", "1.0"), h("ce_type", "t"), h("ce_source", "s"), h("ce_id", "1")), malformed("lacks header waybill-kind")},
		}
		for n := range cases {
			cases[n].record.Topic, cases[n].record.Partition = tier, int32(n)%r.Partitions
			r.Put(cases[n].record)
			r.Good(1)
		}
		far := record("x", copied(h(job.HeaderHop, "1"), h(job.HeaderOrigin, "elsewhere/9/9/0"))...)
		far.Topic = tier
		far.Headers[2] = h(job.HeaderDelay, "86400000") // never longer than the tier's own
		r.Put(far)
		r.Good(1)
		r.Finished()
		if runs := r.Runs("c"); len(runs) != 1 || runs[0].Message.Hop != 1 || runs[0].Message.Origin.Topic != "elsewhere" {
			t.Errorf("the copy that breaks no rule ran %d times", len(runs))
		}
		letters := r.Letters()
		for n, want := range cases {
			found := 0
			for _, l := range letters {
				if l.Disposition == dlq.Malformed && l.Code == job.CodeMalformed && strings.Contains(l.Text, want.text) && string(l.Payload) == "x" {
					found++
				}
			}
			if found == 0 {
				t.Errorf("case %d, %s: no letter says %q", n, want.name, want.text)
			}
		}
		if len(letters) != len(cases) {
			t.Errorf("%d letters, want %d", len(letters), len(cases))
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// A receipt log that holds what no Waybill wrote cannot be trusted: its task stops and says so, the others go on.
func TestForeignRecordInTheReceiptLog(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		i := r.Start("a")
		r.Good(2)
		r.Finished()
		receipts := retrytopics.ReceiptTopic(r.Topic, r.Group)
		junk := r.Put(&kgo.Record{Topic: receipts, Partition: 1, Value: []byte("not a receipt")})[0]
		for n := range 5 { // the next segment finds the gap
			r.Put(r.Job(0, "good", fmt.Sprintf("other-%d", n), `{}`), r.Job(1, "good", fmt.Sprintf("stopped-%d", n), `{}`))
		}
		r.Until(func() string {
			if p := strings.Join(i.Pauses(), "\n"); !strings.Contains(p, r.Topic+"/1: stopped") || strings.Contains(p, r.Topic+"/0") {
				return "pauses: " + p
			}
			return ""
		})
		r.Put(r.Job(0, "good", "other-5", `{}`))
		r.Until(func() string { return want(6, len(r.Runs("other-"))) })
		log := strings.Join(i.Logged("the receipt log cannot be read"), "\n")
		after := junk + 1
		if said := fmt.Sprintf("delete the partition's records below offset %d (kafka-delete-records)", after); !strings.Contains(log, receipts+"/1") || !strings.Contains(log, said) {
			t.Errorf("log %q does not say %q", log, said)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
		deleted, err := r.Admin.DeleteRecords(t.Context(), kadm.Offsets{receipts: {1: {Topic: receipts, Partition: 1, At: after, LeaderEpoch: -1}}})
		if err == nil {
			err = deleted.Error()
		}
		if err != nil {
			t.Fatal(err)
		}
		i = r.Start("b")
		r.Good(2)
		r.Finished()
		if n := len(r.Runs("stopped-")); n < 5 {
			t.Errorf("%d of the 5 jobs of the stopped task ran", n)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// Foreign records among the dead letters and audit entries hurt nobody; a reader counts them.
func TestForeignRecordsAmongLetters(t *testing.T) {
	edge.Both(t, func(t *testing.T, c *edge.Cluster) {
		r := edge.New(t, c)
		r.Kinds = kinds(r)
		i := r.Start("a")
		r.Put(&kgo.Record{Topic: r.LetterTopic(), Value: []byte("no letter")},
			&kgo.Record{Topic: r.LetterTopic(), Headers: []kgo.RecordHeader{edge.Header(dlq.HeaderLetter, "99")}},
			&kgo.Record{Topic: retrytopics.AuditTopic(r.Group), Value: []byte("no entry")})
		r.Put(r.Job(0, "versioned", "bad", "no JSON"))
		r.Good(1)
		r.Finished()
		d, err := dlq.Open(r.Opts, r.Topic, r.Group)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		sum, err := d.List(t.Context(), dlq.Filter{}, func(*dlq.Letter) error { return nil })
		if err != nil || sum.Listed != 1 || sum.Foreign != 1 || sum.Newer != 1 {
			t.Errorf("%+v, %v", sum, err)
		}
		if err := i.Stop(); err != nil {
			t.Error(err)
		}
	})
}
