package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

func TestStrictOnEmbeddedBroker(t *testing.T) {
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	at := broker.Addrs()
	strictOrder(t, rigOn(t, []kgo.Opt{kgo.SeedBrokers(at...)}, connect.Settings{Brokers: at}))
}

func TestRealStrict(t *testing.T) { strictOrder(t, newRig(t, realkafka.Shared(t))) }

// strictOrder: behind a head that fails twice through the tiers its key waits, while another key of the same partition goes on;
// behind a dead head that holds its key nothing runs until it is redriven, or forgotten.
func strictOrder(t *testing.T, r *rig) {
	cli := filepath.Join(t.TempDir(), "waybill")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", cli, "../../cmd/waybill").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	i := r.start("a")
	r.settled(i)
	keys := oneTask(4)
	line := func(key string, head script) (first ledger.Pos) {
		for n := range 6 {
			s := script{N: n}
			if n == 0 {
				s = head
			}
			e := r.put(ordered{s}, job.Options{ID: fmt.Sprintf("%s-%d", key, n), Key: []byte(key)})
			if pos := (ledger.Pos{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset}); n == 0 {
				first = pos
			}
		}
		return first
	}
	line(keys[0], script{Fails: 2})
	line(keys[1], script{})
	line(keys[2], script{End: "dead"})
	lost := line(keys[3], script{End: "dead"})

	r.began(keys[0], 8, 3)
	r.began(keys[1], 6, 1)
	if last := r.calls(keys[0] + "-0")[2]; slices.ContainsFunc(r.of(keys[1]), func(e ledger.Event) bool { return e.Time.After(last.Time) }) {
		t.Errorf("key %s did not go on while the head of %s waited", keys[1], keys[0])
	}
	for _, key := range keys[2:] {
		r.began(key, 1, 1)
	}
	before := r.copies()
	until(t, patience, func() string { // what follows goes round, twice
		if n := r.copies() - before; n < 20 {
			return fmt.Sprintf("%d copies", n)
		}
		return ""
	})
	for _, key := range keys[2:] {
		if ran := r.of(key); len(ran) != 1 {
			t.Fatalf("behind a dead head that holds its key: %v", ran)
		}
	}
	r.redrive(keys[2] + "-0")
	r.began(keys[2], 7, 2)

	r.rec.For("operator").Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Forget, Record: lost})
	said, err := exec.CommandContext(t.Context(), cli, "receipt", "forget", "e2e.ordered/"+keys[3]+"-0", "--key", keys[3], "--reason", "lost", "--by", "ann", "--yes",
		"--brokers", strings.Join(r.at.Brokers, ","), "--group", r.group, "--topic", r.topic).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	r.began(keys[3], 6, 1)
	r.idle(tiers...)
	r.stop(i)
	r.judge()
}

// oneTask is n keys of one partition.
func oneTask(n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		if key := fmt.Sprintf("key%d", i); job.PartitionOf([]byte(key), partitions) == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// of are the attempts noted so far of one key, in order.
func (r *rig) of(key string) []ledger.Event {
	return slices.DeleteFunc(r.calls(""), func(e ledger.Event) bool { return e.Key != key })
}

// began waits for n attempts of a key, the first heads of which are those of its first job and the others in the order of enqueue.
func (r *rig) began(key string, n, heads int) {
	r.t.Helper()
	until(r.t, patience, func() string {
		if got := len(r.of(key)); got < n {
			return fmt.Sprintf("%d attempts of %s, want %d", got, key, n)
		}
		return ""
	})
	for k, e := range r.of(key) {
		if want := fmt.Sprintf("%s-%d", key, max(0, k-heads+1)); e.ID != want {
			r.t.Errorf("attempt %d of %s is of %s, want %s", k, key, e.ID, want)
		}
	}
}

// copies counts what has been written to the tiers.
func (r *rig) copies() (n int64) {
	r.t.Helper()
	for _, d := range tiers {
		ends, err := r.admin.ListEndOffsets(r.t.Context(), retrytopics.TierTopic(r.topic, r.group, d))
		if err != nil {
			r.t.Fatal(err)
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	}
	return n
}

// redrive sends the letter of a job back.
func (r *rig) redrive(id string) {
	r.t.Helper()
	c, err := dlq.Open(r.opts, r.topic, r.group)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	tap := r.rec.For("operator")
	rep, err := c.Redrive(r.t.Context(), dlq.Request{Tier: retrytopics.TierTopic(r.topic, r.group, tiers[0]), Filter: dlq.Filter{ID: id}, Reason: "mended", By: "ann", Rate: -1,
		Each: func(l *dlq.Letter, refusal string) {
			if refusal == "" {
				tap.Record(ledger.Event{Type: ledger.Redriven, Kind: l.Kind, Key: string(l.Key), ID: l.ID, Generation: int(l.Generation) + 1,
					Origin: ledger.Pos{Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset}})
			}
		}})
	if err != nil || rep.Redriven != 1 {
		r.t.Fatalf("%+v: %v", rep, err)
	}
}

// judge asks the checker about all that happened, once all is idle and every instance has ended.
func (r *rig) judge() {
	r.t.Helper()
	jt := roles(r.topic, r.group)
	reader, err := topics.NewReader(r.opts, append(topics.Of([]checker.JobTopic{jt}), jt.Receipts)...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer reader.Close()
	if err := reader.Read(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	in := checker.Input{Ledger: r.rec.Events(), Jobs: []checker.JobTopic{jt}, Kinds: known, Quiesced: true,
		Timing: checker.Timing{Clock: 50 * time.Millisecond, RerunWindow: 3 * time.Second, Lease: session + rebalance, Drain: drain}}
	if in.Committed, err = reader.Committed(r.t.Context(), r.group); err != nil {
		r.t.Fatal(err)
	}
	reader.Fill(&in)
	if res := checker.Check(in); !res.OK() {
		r.t.Errorf("the checker:\n%v", res)
	}
}
