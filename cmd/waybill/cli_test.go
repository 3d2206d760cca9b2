package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

func TestSetup(t *testing.T) {
	s := newTranscript(t)
	s.run("setup", "plan", "--group", "mailer", "--topic", "emails")
	s.run("setup", "plan", "--group", "mailer", "--topic", "emails", "--partitions", "3", "--tiers", "5s,1m")
	s.run("setup", "plan", "--group", "mailer", "--topic", "emails", "--partitions", "3", "--tiers", "5s,1m", "--json")
	s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "3", "--tiers", "5s,1m")
	s.run("setup", "plan", "--group", "mailer", "--topic", "emails")
	s.run("setup", "plan", "--group", "mailer", "--topic", "emails", "--json")
	s.run("setup", "plan", "--group", "mailer", "--topic", "emails", "--tiers", "5s,1m,1h")
	s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--tiers", "5s,1m,1h")
	s.run("setup", "apply", "--group", "mailer", "--topic", "orders")
	s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--tiers", "5s,1m,1h")
	s.run("setup", "rights", "--group", "mailer", "--topic", "emails")
	s.run("setup", "rights", "--group", "mailer", "--topic", "emails", "--role", "producer", "--principal", "User:shop")
	s.run("setup", "rights", "--group", "mailer", "--topic", "emails", "--role", "boss")
	s.check("setup")
}

func TestEnqueue(t *testing.T) {
	s := newTranscript(t)
	s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "1")
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(`{"user_id":"u2"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s.run("job", "enqueue", "email.welcome", "--topic", "emails")
	s.run("job", "enqueue", "email.welcome", "--topic", "emails", "--id", "w1", "--key", "u1", "--header", "a=b=c", "--payload", `{"user_id":"u1"}`, "--at", "2026-01-31T09:00:00Z", "--json")
	s.runWith("bytes", "job", "enqueue", "email.raw", "--topic", "emails", "--id", "w3", "--payload", "-", "--content-type", "text/plain")
	s.run("job", "enqueue", "email.welcome", "--topic", "emails", "--payload", "{")
	s.run("job", "enqueue", "email.welcome", "--topic", "emails", "--at", "tomorrow", "--expires", "yesterday")
	s.run("job", "enqueue", "email.welcome", "--topic", "emails", "--header", "waybill-kind=x")
	s.run("job", "enqueue", "email.welcome", "--topic", "emails", "--header", "x")
	s.run("job", "enqueue", "two words", "--topic", "emails")
	s.run("job", "enqueue", "email.welcome")
	s.run("job", "enqueue", "--topic", "emails")
	s.check("enqueue")

	if o := s.run("job", "enqueue", "email.welcome", "--topic", "emails", "--id", "w2", "--payload", "@"+file); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	recs := s.read("emails", 4)
	if got := string(recs[1].Value); got != `{"user_id":"u1"}` || string(recs[1].Key) != "u1" {
		t.Errorf("second job: key %q payload %q", recs[1].Key, got)
	}
	want := map[string]string{job.HeaderKind: "email.welcome", job.HeaderID: "w1", job.HeaderAt: "2026-01-31T09:00:00Z", job.HeaderContentType: "application/json", "a": "b=c"}
	for _, h := range recs[1].Headers {
		if want[h.Key] != string(h.Value) {
			t.Errorf("header %s is %q, want %q", h.Key, h.Value, want[h.Key])
		}
		delete(want, h.Key)
	}
	if len(want) > 0 {
		t.Errorf("headers are missing: %v", want)
	}
	if got := string(recs[2].Value); got != "bytes" {
		t.Errorf("payload from standard input: %q", got)
	}
	if got := string(recs[3].Value); got != `{"user_id":"u2"}` {
		t.Errorf("payload from a file: %q", got)
	}
}

func TestLooking(t *testing.T) {
	s := newTranscript(t)
	s.seed()
	s.run("group", "show", "--group", "mailer")
	s.run("group", "show", "--group", "mailer", "--json")
	s.run("task", "list", "--group", "mailer")
	s.run("task", "list", "--group", "mailer", "--topic", "emails", "--json")
	s.run("retry", "list", "--group", "mailer")
	s.run("retry", "list", "--group", "mailer", "--limit", "1")
	s.run("retry", "list", "--group", "mailer", "--json")
	s.run("group", "show", "--group", "nobody")
	s.run("task", "list", "--group", "mailer", "--topic", "orders")
	s.run("group", "show")
	s.check("looking")
}

func TestDeadLetters(t *testing.T) {
	s := newTranscript(t)
	s.seed()
	on := []string{"--group", "mailer", "--topic", "emails"}
	in := func(args ...string) []string { return append(args, on...) }
	s.run(in("dlq", "list")...)
	s.run(in("dlq", "list", "--json", "--kind", "email.welcome")...)
	s.run(in("dlq", "list", "--limit", "1", "--newest")...)
	s.run(in("dlq", "list", "--disposition", "nonsense", "--code", "bad", "--since", "x")...)
	s.run(in("dlq", "show", "0/0")...)
	s.run(in("dlq", "show", "0/1", "--json")...)
	s.run(in("dlq", "show", "0/9")...)
	s.run(in("dlq", "export", "--id", "e2")...)
	s.run(in("dlq", "redrive", "--all")...)
	s.run(in("dlq", "redrive", "--reason", "r")...)
	s.run(in("dlq", "redrive", "--all", "--reason", "fixed")...)
	s.run(in("dlq", "redrive", "--all", "--reason", "fixed", "--json")...)
	s.run(in("dlq", "redrive", "0/0", "0/7", "--reason", "fixed", "--by", "ann", "--yes")...)
	s.run(in("dlq", "redrive", "--kind", "email.welcome", "--reason", "fixed", "--by", "ann", "--yes", "--json")...)
	s.run(in("dlq", "list")...)
	s.run(in("dlq", "list", "--pending")...)
	s.check("dlq")
}

func TestRedriveEdited(t *testing.T) {
	s := newTranscript(t)
	s.seed()
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(`{"mended":true}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := s.run("dlq", "redrive", "0/0", "--group", "mailer", "--edit", file, "--content-type", "application/mended", "--new-id", "e1-again", "--reason", "wrong payload", "--yes"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	tier := s.read(retrytopics.TierTopic("emails", "mailer", 5*time.Second), 3)
	last := tier[len(tier)-1]
	got := map[string]string{}
	for _, h := range last.Headers {
		got[h.Key] = string(h.Value)
	}
	if string(last.Value) != `{"mended":true}` || got[job.HeaderID] != "e1-again" || got[job.HeaderContentType] != "application/mended" {
		t.Errorf("redriven: %s %v", last.Value, got)
	}
	entry := s.read(retrytopics.AuditTopic("mailer"), 1)[0]
	if !strings.Contains(string(entry.Value), "wrong payload") || !strings.Contains(string(entry.Value), "e1-again") {
		t.Errorf("audit: %s", entry.Value)
	}
}

func TestExportToFile(t *testing.T) {
	s := newTranscript(t)
	s.seed()
	path := filepath.Join(t.TempDir(), "letters.ndjson")
	for want := range 2 { // the second time the file is there
		if o := s.run("dlq", "export", "--group", "mailer", "--out", path); o.code != want || o.stdout != "" {
			t.Fatalf("%+v", o)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	for _, l := range lines {
		if !json.Valid([]byte(l)) {
			t.Errorf("no JSON: %s", l)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d letters, want 2", len(lines))
	}
}

func TestCommandLine(t *testing.T) {
	t.Setenv("WAYBILL_CONFIG", "")
	for _, c := range []struct {
		args         string
		code         int
		stdout, want string // want is in stderr
	}{
		{"--version", 0, "waybill version", ""},
		{"--help", 0, "Usage:", ""},
		{"", 0, "Usage:", ""},
		{"dlq", 0, "redrive", ""},
		{"nonsense", 1, "", "unknown command"},
		{"group show --nonsense", 1, "", "waybill group show --help"},
		{"group show", 1, "", "WAYBILL_BROKERS"},
		{"group show --sasl-mechanism PLAIN", 1, "", "WAYBILL_BROKERS"}, // and both others at once
		{"group show --sasl-mechanism PLAIN", 1, "", "WAYBILL_CONSUMER_GROUP"},
		{"group show --sasl-mechanism PLAIN", 1, "", "SASL.Username"},
		{"group show --brokers localhost:9092", 1, "", "WAYBILL_CONSUMER_GROUP"},
		{"group show --brokers localhost:nine --group g", 1, "", "Brokers[0]"},
		{"group show --brokers localhost:9092 --group g --tls-ca /does/not/exist", 1, "", "TLS.CAFile"},
		{"group show --brokers localhost:9092 --group g --sasl-mechanism PLAIN", 1, "", "SASL.Username"},
		{"group show --brokers localhost:9092 --group g --config /does/not/exist.yaml", 1, "", "exist.yaml"},
		{"demo --sabotage nonsense", 1, "", "Sabotage"},
		{"demo --jobs 1", 1, "", "Jobs"},
	} {
		o := waybill(t, "", strings.Fields(c.args)...)
		if o.code != c.code || !strings.Contains(o.stdout, c.stdout) || !strings.Contains(o.stderr, c.want) {
			t.Errorf("waybill %s: %+v", c.args, o)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Setenv("WAYBILL_CONFIG", "")
	o := waybill(t, "", "group", "show", "--brokers", "127.0.0.1:1", "--group", "g")
	if o.code != 1 || !strings.Contains(o.stderr, "is 127.0.0.1:1 a broker") {
		t.Errorf("%+v", o)
	}
}

// TestSettings: a flag beats the environment, the environment the file.
func TestSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "waybill.yaml")
	if err := os.WriteFile(path, []byte("brokers: [file:9092]\nsasl: {mechanism: PLAIN, username: file, password: p}\nconsumer: {group: file, topics: [file]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WAYBILL_CONSUMER_GROUP", "env")
	t.Setenv("WAYBILL_CONSUMER_TOPICS", "env")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("p2"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{file: path, topic: "flag", tls: (&app{}).tls}
	a.tls.ServerName, a.sasl.Username, a.sasl.PasswordFile = "kafka", "flag", secret
	got, err := a.target(needs{group: true, topic: true})
	if err != nil {
		t.Fatal(err)
	}
	c := got.cfg
	text := fmt.Sprint(c.Brokers, got.group, got.topics, c.SASL.Mechanism, c.SASL.Username, c.SASL.Password, c.TLS.Enabled, c.TLS.ServerName)
	if want := "[file:9092]env[flag]PLAIN" + "flag" + "" + "true kafka"; strings.ReplaceAll(text, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		text      string
		direction time.Duration
		want      time.Time
		bad       bool
	}{
		{"", 1, time.Time{}, false},
		{"90s", 1, now.Add(90 * time.Second), false},
		{"24h", -1, now.Add(-24 * time.Hour), false},
		{"2026-02-01T00:00:00+02:00", 1, time.Date(2026, 1, 31, 22, 0, 0, 0, time.UTC), false},
		{"-90s", 1, time.Time{}, true},
		{"tomorrow", 1, time.Time{}, true},
	} {
		got, err := parseWhen("at", c.text, now, c.direction)
		if (err != nil) != c.bad || !got.Equal(c.want) {
			t.Errorf("%q: %v %v", c.text, got, err)
		}
	}
}

// then is when everything seeded happened.
var then = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// seed makes a group without workers: jobs, copies in a tier, letters, an owner and a committed offset.
func (s *transcript) seed() {
	t := s.t
	t.Helper()
	if o := s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "2", "--tiers", "5s,1m"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	s.text.Reset()
	cl := s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	put := func(r *kgo.Record, headers []job.Header) {
		r.Timestamp = then
		for _, h := range headers {
			r.Headers = append(r.Headers, kgo.RecordHeader(h))
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	envelope := func(kind, id string, offset int64) *job.Envelope {
		e := &job.Envelope{}
		e.ID, e.Key, e.ContentType, e.Payload, e.WireKind = id, []byte("key-"+id), "application/json", []byte(`{"n":1}`), kind
		e.Origin = job.Origin{Topic: "emails", Partition: 1, Offset: offset, Time: then}
		e.Identify(kind, kind)
		e.Digest = job.DigestOf(e.Payload)
		return e
	}
	for i := range 3 {
		e := envelope("email.welcome", fmt.Sprint("m", i), int64(i))
		put(&kgo.Record{Topic: "emails", Partition: 1, Key: e.Key, Value: e.Payload}, job.ProducerHeaders(nil, &e.Message))
	}
	tier := retrytopics.TierTopic("emails", "mailer", 5*time.Second)
	for i := range 2 {
		e := envelope("email.welcome", fmt.Sprint("r", i), int64(i))
		put(&kgo.Record{Topic: tier, Partition: 1, Key: e.Key, Value: e.Payload}, job.CopyHeaders(nil, e, &job.Stamp{Hop: 1, Attempts: 1, Delay: 5 * time.Second,
			First: then, Origin: e.Origin, Code: job.CodeHandlerError, Text: "smtp: 421"}))
	}
	put(&kgo.Record{Topic: retrytopics.TierTopic("emails", "mailer", time.Minute), Partition: 0, Value: []byte("x")}, nil)
	for i, kind := range []string{"email.welcome", "report.build"} {
		e := envelope(kind, fmt.Sprint("e", i+1), int64(i))
		key, value, headers := dlq.Record(&dlq.Filing{Envelope: e, Disposition: dlq.Exhausted, Code: job.CodeHandlerError, Text: "no such user 17", Attempts: 4,
			First: then, Last: then, Handler: kind, Instance: "worker-1", Now: then})
		put(&kgo.Record{Topic: retrytopics.DeadLetterTopic("emails", "mailer"), Key: key, Value: value}, headers)
	}
	log := retrytopics.ReceiptTopic("emails", "mailer")
	put(&kgo.Record{Topic: log, Partition: 1, Value: dedupe.AppendOwner(nil, &dedupe.Owner{Instance: "old", Process: "p"})}, nil)
	put(&kgo.Record{Topic: log, Partition: 1, Value: dedupe.AppendOwner(nil, &dedupe.Owner{Instance: "worker-1", Process: "q"})}, nil)
	for range tailEntriesAndMore { // the ownership record is no longer in the tail
		put(&kgo.Record{Topic: log, Partition: 1, Value: dedupe.AppendSegment(nil, &dedupe.Segment{Epoch: 1})}, nil)
	}
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "emails", Partition: 1, At: 2, LeaderEpoch: -1, Metadata: "wb1"})
	resp, err := kadm.NewClient(cl).CommitOffsets(t.Context(), "mailer", o)
	if err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
}

const tailEntriesAndMore = 60

func (s *transcript) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(s.broker))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cl.Close)
	return cl
}

// read is the first n records of a topic.
func (s *transcript) read(topic string, n int) (out []*kgo.Record) {
	s.t.Helper()
	cl := s.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for len(out) < n {
		fetches := cl.PollFetches(s.t.Context())
		if err := fetches.Err(); err != nil {
			s.t.Fatal(err)
		}
		out = append(out, fetches.Records()...)
	}
	return out
}
