package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// receipt is one of an email.welcome job with its id as key, from partition 1.
func receipt(id string, state dedupe.State, change func(*dedupe.Receipt)) dedupe.Receipt {
	r := dedupe.Receipt{Identity: job.IdentityOf("email.welcome", []byte(id), id), State: state, Attempt: 1, Origin: 7, Digest: job.DigestOf([]byte(`{"n":1}`))}
	if change != nil {
		change(&r)
	}
	return r
}

// log writes entries to the receipt log of task emails/1, an hour apart.
func (s *transcript) log(entries ...any) {
	s.t.Helper()
	cl := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i, e := range entries {
		r := &kgo.Record{Topic: retrytopics.ReceiptTopic("emails", "mailer"), Partition: 1, Timestamp: then.Add(time.Duration(i) * time.Hour)}
		switch e := e.(type) {
		case *dedupe.Owner:
			r.Value = dedupe.AppendOwner(nil, e)
		case *dedupe.Segment:
			r.Value = dedupe.AppendSegment(nil, e)
		}
		if err := cl.ProduceSync(s.t.Context(), r).FirstErr(); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestReceipts(t *testing.T) {
	s := newTranscript(t)
	if o := s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "2", "--tiers", "5s,1m"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	s.text.Reset()
	hop := func(n uint32) func(*dedupe.Receipt) {
		return func(r *dedupe.Receipt) { r.Hop, r.Attempt, r.Code = n, n, job.CodeHandlerError }
	}
	s.log(&dedupe.Owner{Instance: "worker-1"},
		&dedupe.Segment{Epoch: 0, Receipts: []dedupe.Receipt{receipt("b", dedupe.Retrying, hop(1)), receipt("g", dedupe.Retrying, hop(1))}},
		&dedupe.Owner{Instance: "worker-2"},
		&dedupe.Segment{Epoch: 0, Marks: []dedupe.Receipt{receipt("c", dedupe.Started, nil)}}, // void
		&dedupe.Segment{Epoch: 2, Receipts: []dedupe.Receipt{receipt("b", dedupe.Done, func(r *dedupe.Receipt) { r.Attempt, r.Result = 2, []byte("sent as 17") }),
			receipt("g", dedupe.Step, func(r *dedupe.Receipt) { r.Hop, r.Result = 1, make([]byte, 40) })}},
		&dedupe.Segment{Epoch: 0, Receipts: []dedupe.Receipt{receipt("b", dedupe.Done, nil)}}) // a late one
	on := []string{"--group", "mailer", "--topic", "emails", "--partition", "1"}
	in := func(args ...string) []string { return append(args, on...) }
	s.run(in("receipt", "show", "email.welcome/b")...)
	s.run(in("receipt", "show", "email.welcome/b", "--json")...)
	s.run(in("receipt", "show", "email.welcome/g")...)
	s.run(in("receipt", "show", "email.welcome/c")...)
	s.run(in("receipt", "show", "email.welcome/b", "--null-key")...)
	s.run("receipt", "show", "email.welcome/b", "--null-key", "--group", "mailer")
	s.run("receipt", "show", "email.welcome/b", "--partition", "2", "--group", "mailer")
	s.run(in("receipt", "show", "email.welcome")...)
	s.run(in("receipt", "show")...)
	s.run("receipt", "verify", "--group", "mailer")
	s.run("receipt", "verify", "--group", "mailer", "--partition", "1", "--json")
	s.run("receipt", "verify", "--group", "mailer", "--partition", "7")
	s.run(in("receipt", "forget", "email.welcome/b")...)
	s.run(in("receipt", "forget", "email.welcome/c", "--reason", "ticket 88")...)
	s.run(in("receipt", "forget", "email.welcome/g", "--reason", "ticket 88", "--yes")...)
	s.run(in("receipt", "forget", "email.welcome/b", "--reason", "ticket 88")...)
	s.run(in("receipt", "forget", "email.welcome/b", "--reason", "ticket 88", "--by", "ann", "--yes")...)
	s.run(in("receipt", "forget", "email.welcome/g", "--reason", "ticket 88", "--by", "ann", "--yes", "--force", "--json")...)
	s.run(in("receipt", "show", "email.welcome/b")...)
	s.run("receipt", "verify", "--group", "mailer", "--topic", "emails", "--partition", "1")
	s.check("receipt")

	audit := s.read(retrytopics.AuditTopic("mailer"), 2)
	for i, want := range []string{`"forced":false`, `"forced":true`} {
		line := string(audit[i].Value)
		for _, want := range []string{want, `"receipt.forget"`, "ann", "ticket 88", job.IdentityOf("email.welcome", []byte([]string{"b", "g"}[i]), []string{"b", "g"}[i]).String()} {
			if !strings.Contains(line, want) {
				t.Errorf("audit line %d lacks %s: %s", i, want, line)
			}
		}
	}
}
