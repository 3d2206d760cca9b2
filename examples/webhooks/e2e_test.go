package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/examples/webhooks/intake"
	"github.com/waybill-dev/waybill/examples/webhooks/relay"
	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/internal/witness"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

func TestMain(m *testing.M) { os.Exit(realkafka.Main(m)) }

// dataFile is where the real deliveries are looked for, from this folder; dataVar names another place.
const (
	dataFile = "../../../shared/data/github-webhooks.ndjson"
	dataVar  = "WAYBILL_WEBHOOKS_DATA"
)

// deliveries reads the real deliveries; the test is skipped where they are not.
func deliveries(t *testing.T) ([]byte, []*sent) {
	t.Helper()
	path := os.Getenv(dataVar)
	named := path != ""
	if !named {
		path = dataFile
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		t.Skipf("the real GitHub deliveries are not part of this repository: there is no %s, and %s names no other file "+
			`({"event": name, "payload": object} a line, such as those of the npm package @octokit/webhooks-examples)`, dataFile, dataVar)
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []*sent
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var d struct {
			Event   string
			Payload json.RawMessage
		}
		var about struct {
			Repository struct {
				FullName string `json:"full_name"`
			}
		}
		if err := errors.Join(json.Unmarshal(lines.Bytes(), &d), json.Unmarshal(d.Payload, &about)); err != nil {
			t.Fatalf("line %d: %v", len(all)+1, err)
		}
		all = append(all, &sent{id: strconv.Itoa(len(all) + 1), event: d.Event, body: d.Payload, repository: about.Repository.FullName})
	}
	if err := lines.Err(); err != nil || len(all) == 0 {
		t.Fatalf("%d deliveries, %v", len(all), err)
	}
	return raw, all
}

// sent is one delivery as it went in.
type sent struct {
	id, event, repository string
	body                  []byte
}

var tiers = []time.Duration{time.Second, 3 * time.Second}

const (
	attempts = 12
	timeout  = time.Second
	drain    = 5 * time.Second
	session  = 6 * time.Second
)

// e2e is one end-to-end run: names, ledger and what reads the topics.
type e2e struct {
	brokers      []string
	topic, group string // of the subscriber
	book         *ledger.Recorder
	reader       *topics.Reader
	jobs         checker.JobTopic
}

// The real deliveries go through a real Kafka to a subscriber that fails now and then, while one of two relays is stopped
// in good order. Every delivery arrives, is applied once, and is first attempted in the order of its repository.
func TestRealDeliveriesThroughARealKafka(t *testing.T) {
	raw, all := deliveries(t)
	kafka := realkafka.Shared(t)
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after everything that is registered below
	x := newE2E(t, kafka)
	sub := newSubscriber(20260101, x.book.For("subscriber"))
	server := httptest.NewServer(sub)
	defer server.Close()

	stop1, stop2 := x.relay(t, "relay-1", server.URL), x.relay(t, "relay-2", server.URL)
	x.deliver(t, raw, all)
	sub.await(t, len(all)/3)
	stop1()
	sub.await(t, len(all))
	x.settled(t)
	stop2()

	sub.check(t, all)
	result := checker.Check(x.input(t))
	t.Logf("%s", result)
	if !result.OK() {
		t.Error("the checker found rules broken, see above")
	}
	if a := result.Stats; a.Jobs != len(all) || a.Effects != len(all) || a.Letters != 0 || a.Copies == 0 {
		t.Errorf("%d jobs, %d effects, %d letters, %d copies of %d deliveries", a.Jobs, a.Effects, a.Letters, a.Copies, len(all))
	}
}

func newE2E(t *testing.T, kafka *realkafka.Cluster) *e2e {
	t.Helper()
	suffix := rand.Text()[:8]
	x := &e2e{brokers: kafka.Addrs(), topic: "webhooks-" + suffix, group: "relay-" + suffix + "-flaky", book: ledger.NewRecorder()}
	x.jobs = checker.JobTopic{Topic: x.topic, DeadLetters: retrytopics.DeadLetterTopic(x.topic, x.group), Receipts: retrytopics.ReceiptTopic(x.topic, x.group)}
	for _, d := range tiers {
		x.jobs.Tiers = append(x.jobs.Tiers, checker.Tier{Topic: retrytopics.TierTopic(x.topic, x.group, d), Delay: d})
	}
	var err error
	if x.reader, err = topics.NewReader(kafka.ClientOpts(), topics.Of([]checker.JobTopic{x.jobs})...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.reader.Close)
	return x
}

// relay starts one and returns when it is ready. What is returned stops it in good order.
func (x *e2e) relay(t *testing.T, name, url string) (stop func()) {
	t.Helper()
	sink := x.book.For(name)
	r, err := relay.New(relay.Config{
		Consumer: consumer.Config{Brokers: x.brokers, Group: x.group[:len(x.group)-len("-flaky")], Topics: []string{x.topic}, Tiers: tiers, Instance: name,
			Setup: consumer.Create, Partitions: 6, SessionTimeout: session, RebalanceTimeout: 12 * time.Second, Heartbeat: 500 * time.Millisecond, DrainTimeout: drain},
		Subscribers: []relay.Subscriber{{Name: "flaky", URL: url + "/hooks", Secret: secret}},
		Timeout:     timeout, MaxAttempts: attempts,
		Middleware: []processor.Middleware{witness.Middleware(sink, nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		sink.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Stop, Target: name})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		sink.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Exit, Target: name})
	}
	t.Cleanup(stop)
	eventually(t, time.Minute, name+" is a member of its group", func() bool { return r.Ready() == nil })
	return stop
}

// deliver sends the first third over HTTP as GitHub does, and the file whole: what came by HTTP comes a second time then,
// under the id it had.
func (x *e2e) deliver(t *testing.T, raw []byte, all []*sent) {
	t.Helper()
	p, err := intake.NewProducer(producer.Config{Brokers: x.brokers, Topic: x.topic})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}()
	h := intake.Server{Jobs: p, AckTimeout: 30 * time.Second}.Handler()
	for _, d := range all[:len(all)/3] {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks", bytes.NewReader(d.body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-GitHub-Event", d.event)
		r.Header.Set("X-GitHub-Delivery", d.id)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var a intake.Accepted
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != http.StatusAccepted || a.ID != d.id {
			t.Fatalf("delivery %s: status %d: %s", d.id, w.Code, w.Body)
		}
		x.produced(d, a.Partition, a.Offset)
	}
	n := 0
	err = intake.Load(t.Context(), p, bytes.NewReader(raw), "", func(line int, e producer.Enqueued) {
		n++
		x.produced(all[line-1], e.Partition, e.Offset)
	})
	if err != nil || n != len(all) {
		t.Fatalf("%d of %d lines loaded: %v", n, len(all), err)
	}
}

func (x *e2e) produced(d *sent, partition int32, offset int64) {
	opts, err := hook.Options(d.event, d.id, d.body)
	key := string(opts.Key)
	if err != nil || key == "" {
		key = d.id // the producer's choice where nothing orders
	}
	x.book.For("driver").Record(ledger.Event{Type: ledger.Produced, Record: ledger.Pos{Topic: x.topic, Partition: partition, Offset: offset},
		Kind: hook.Kind, Key: key, ID: d.id, Digest: ledger.DigestOf(d.body)})
}

// settled waits until the group has committed the end of everything it reads.
func (x *e2e) settled(t *testing.T) {
	t.Helper()
	var why error
	eventually(t, time.Minute, "everything is committed", func() bool {
		why = x.idle(t.Context())
		return why == nil
	}, func() string { return why.Error() })
}

func (x *e2e) idle(ctx context.Context) error {
	committed, err := x.reader.Committed(ctx, x.group)
	if err != nil {
		return err
	}
	if err := x.reader.Read(ctx); err != nil {
		return err
	}
	var in checker.Input
	x.reader.Fill(&in)
	for _, topic := range append([]checker.Tier{{Topic: x.topic}}, x.jobs.Tiers...) {
		for partition, end := range in.Ends[topic.Topic] {
			if at := committed.At(topic.Topic, partition, 0); at < end {
				return fmt.Errorf("%s/%d: committed %d of %d", topic.Topic, partition, at, end)
			}
		}
	}
	return nil
}

// input is the run as the checker wants it. The relays have ended.
func (x *e2e) input(t *testing.T) checker.Input {
	t.Helper()
	if err := x.reader.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	committed, err := x.reader.Committed(t.Context(), x.group)
	if err != nil {
		t.Fatal(err)
	}
	in := checker.Input{Ledger: x.book.Events(), Committed: committed, Jobs: []checker.JobTopic{x.jobs},
		Kinds: map[string]checker.Kind{hook.Kind: {MaxAttempts: attempts}}, Quiesced: true, DedupingDownstream: true,
		Timing: checker.Timing{Clock: 100 * time.Millisecond, RerunWindow: 3 * time.Second, Lease: session + drain, Drain: drain, Session: session}}
	x.reader.Fill(&in)
	return in
}

// eventually asks until ok says yes.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool, why ...func() string) {
	t.Helper()
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	end := time.After(within)
	for !ok() {
		select {
		case <-every.C:
		case <-end:
			for _, f := range why {
				what += ": " + f()
			}
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
