package main

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// What became of jobs of task emails/1: b is done after a hop, d is dead, was redriven and waits, k1 and k2 are of one key and
// wait behind each other, x is nobody's.
func TestWhatBecameOfAJob(t *testing.T) {
	s := newTranscript(t)
	if o := s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "2", "--tiers", "5s,1m"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	s.text.Reset()
	cl := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	put := func(r *kgo.Record, at time.Time, headers []job.Header) {
		r.Timestamp = at
		for _, h := range headers {
			r.Headers = append(r.Headers, kgo.RecordHeader(h))
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	envelope := func(id, key string, offset int64) *job.Envelope {
		e := &job.Envelope{WireKind: "email.welcome"}
		e.ID, e.Key, e.ContentType, e.Payload = id, []byte(key), "application/json", []byte(`{"n":1}`)
		e.Origin = job.Origin{Topic: "emails", Partition: 1, Offset: offset, Time: then}
		e.Identify("email.welcome", "email.welcome")
		e.Digest = job.DigestOf(e.Payload)
		return e
	}
	keys := map[string]string{"k1": "k", "k2": "k"}
	for i, id := range []string{"b", "d", "k1", "k2"} {
		key := id
		if keys[id] != "" {
			key = keys[id]
		}
		e := envelope(id, key, int64(i))
		put(&kgo.Record{Topic: "emails", Partition: 1, Key: e.Key, Value: e.Payload}, then, job.ProducerHeaders(nil, &e.Message))
	}
	b, d := envelope("b", "b", 0), envelope("d", "d", 1)
	stamp := func(e *job.Envelope, delay time.Duration) []job.Header {
		return job.CopyHeaders(nil, e, &job.Stamp{Hop: 1, Attempts: 1, Delay: delay, First: then, Origin: e.Origin, Code: job.CodeHandlerError, Text: "smtp: 421"})
	}
	put(&kgo.Record{Topic: retrytopics.TierTopic("emails", "mailer", 5*time.Second), Partition: 1, Key: b.Key, Value: b.Payload}, then, stamp(b, 5*time.Second))
	key, value, headers := dlq.Record(&dlq.Filing{Envelope: d, Disposition: dlq.Exhausted, Code: job.CodeHandlerError, Text: "no such user", Attempts: 4, First: then, Last: then,
		Instance: "worker-1", Now: then})
	put(&kgo.Record{Topic: retrytopics.DeadLetterTopic("emails", "mailer"), Partition: 0, Key: key, Value: value}, then.Add(time.Minute), headers)
	r := func(e *job.Envelope, st dedupe.State, hop, attempt uint32) dedupe.Receipt {
		return dedupe.Receipt{Identity: e.Identity, State: st, Hop: hop, Attempt: attempt, Origin: e.Origin.Offset, Digest: e.Digest}
	}
	s.log(&dedupe.Owner{Instance: "worker-1"},
		&dedupe.Segment{Receipts: []dedupe.Receipt{r(b, dedupe.Retrying, 1, 1), r(d, dedupe.Dead, 0, 4)}},
		&dedupe.Segment{Receipts: []dedupe.Receipt{r(b, dedupe.Done, 1, 2)}})
	on := []string{"--group", "mailer", "--topic", "emails", "--partition", "1"}
	in := func(args ...string) []string { return append(args, on...) }
	s.run(in("job", "show", "email.welcome/b")...)
	s.run(in("job", "show", "email.welcome/d", "--json")...)
	s.run(in("job", "show", "email.welcome/x", "--since", "2026-01-02T00:00:00Z")...)
	s.run(in("job", "why", "email.welcome/b")...)
	s.run(in("job", "why", "email.welcome/d")...)
	s.run(in("job", "why", "email.welcome/k2", "--key", "k", "--json")...)
	s.run(in("job", "why", "email.welcome/x")...)
	s.run(in("job", "why", "--key", "k")...)
	s.run(in("job", "why", "--key", "none")...)
	s.run(in("job", "why")...)
	s.run("dlq", "redrive", "0/0", "--reason", "fixed", "--by", "ann", "--yes", "--group", "mailer")
	s.run(in("job", "show", "email.welcome/d")...)
	s.run(in("job", "why", "email.welcome/d")...)
	s.check("job")
}
