//go:build linux || darwin

package realkafka

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newClient returns a client that the test closes.
func newClient(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// ownBroker ends the test unless the suite may start brokers, for tests that call Start.
func ownBroker(t *testing.T) {
	t.Helper()
	if addrs := suiteTarget(t); addrs != nil {
		skip(t, "this test starts brokers, and WAYBILL_KAFKA names a Kafka that is not ours: set WAYBILL_KAFKA=auto")
	}
}

// createTopic creates a topic with one partition and the cluster's default replication.
func createTopic(t *testing.T, cl *kgo.Client, topic string) {
	t.Helper()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 1, -1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

// produce writes one record and waits for its acknowledgement.
func produce(ctx context.Context, cl *kgo.Client, topic, value string) error {
	return cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr()
}

// consume reads n records of a topic from its start.
func consume(t *testing.T, opts []kgo.Opt, topic string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := newClient(t, append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	var values []string
	for len(values) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(values), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func roundTrip(t *testing.T, c *Cluster, topic string) {
	t.Helper()
	cl := newClient(t, c.ClientOpts()...)
	createTopic(t, cl, topic)
	for i := range 10 {
		if err := produce(t.Context(), cl, topic, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(consume(t, c.ClientOpts(), topic, 10), ""); got != "0123456789" {
		t.Errorf("read %q", got)
	}
}

func TestRealSharedBroker(t *testing.T) {
	c := Shared(t)
	roundTrip(t, c, "shared-one")
	if os.Getenv(suiteEnv) != "auto" {
		return
	}
	if again := Shared(t); again.Addrs()[0] != c.Addrs()[0] {
		t.Errorf("got brokers %v and %v, want the same", c.Addrs(), again.Addrs())
	}
	wantEnd(t, endOf(t, func(tb testing.TB) { _ = Shared(tb).Kill(1) }), "fatal: ", "other tests use the shared broker")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	roundTrip(t, c, "shared-two") // closing a handed-out cluster does nothing
}

// onlyPartition describes the partition of a topic from createTopic. Brokers learn of a topic one after the other, and any
// of them may be the one that answers.
func onlyPartition(t *testing.T, admin *kadm.Client, topic string) (p kadm.PartitionDetail) {
	t.Helper()
	waitFor(t, time.Minute, func() error {
		topics, err := admin.ListTopics(t.Context(), topic)
		if err == nil {
			err = topics[topic].Err
		}
		if err == nil {
			p = topics[topic].Partitions[0]
		}
		return err
	})
	return p
}

// TestRealFailover is the reason for three brokers: with one dead, in turn killed,
// stopped and frozen, acknowledged writes go on and nothing acknowledged is lost.
func TestRealFailover(t *testing.T) {
	c := ForTest(t, Options{Brokers: 3})
	// The defaults notice a new leader within 5 s and a frozen broker within 20.
	cl := newClient(t, append(c.ClientOpts(), kgo.RecordDeliveryTimeout(time.Minute),
		kgo.MetadataMinAge(250*time.Millisecond), kgo.ProduceRequestTimeout(time.Second), kgo.RequestTimeoutOverhead(time.Second))...)
	admin := kadm.NewClient(cl)
	const topic = "failover"
	createTopic(t, cl, topic)
	detail := func() kadm.PartitionDetail { return onlyPartition(t, admin, topic) }
	if n := len(detail().Replicas); n != 3 {
		t.Fatalf("%d replicas, want 3", n)
	}
	written := 0
	write := func(n int) {
		t.Helper()
		for range n {
			if err := produce(t.Context(), cl, topic, fmt.Sprint(written)); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	write(10)
	for _, fault := range []struct {
		name         string
		break_, mend func(i int) error
	}{
		{"kill", c.Kill, c.StartBroker},
		{"stop", func(i int) error { return c.Stop(t.Context(), i) }, c.StartBroker},
		{"pause", c.Pause, c.Resume},
	} {
		leader := int(detail().Leader)
		began := time.Now()
		if err := fault.break_(leader); err != nil {
			t.Fatalf("%s broker %d: %v", fault.name, leader, err)
		}
		write(10)
		t.Logf("%s of leader %d: ten more writes acknowledged after %v", fault.name, leader, time.Since(began))
		began = time.Now()
		if err := fault.mend(leader); err != nil {
			t.Fatalf("mend broker %d: %v", leader, err)
		}
		if err := c.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		waitFor(t, time.Minute, func() error {
			if isr := detail().ISR; len(isr) != 3 {
				return fmt.Errorf("in-sync replicas %v, want three", isr)
			}
			return nil
		})
		t.Logf("mended and in sync after %v", time.Since(began))
		write(10)
	}
	for i, v := range consume(t, c.ClientOpts(), topic, written) {
		if v != fmt.Sprint(i) {
			t.Fatalf("record %d is %q", i, v)
		}
	}
}

func TestRealRestartKeepsPortsAndData(t *testing.T) {
	c := ForTest(t, Options{})
	roundTrip(t, c, "kept")
	addrs := fmt.Sprint(c.Addrs())
	before, err := c.PID(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	after, err := c.PID(1)
	if err != nil || before == after || after == 0 {
		t.Errorf("process %d before and %d after (%v)", before, after, err)
	}
	if got := fmt.Sprint(c.Addrs()); got != addrs {
		t.Errorf("addresses moved from %s to %s", addrs, got)
	}
	if got := len(consume(t, c.ClientOpts(), "kept", 10)); got != 10 {
		t.Errorf("%d records after the restart, want 10", got)
	}
	if err := c.StartBroker(1); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Errorf("second start: %v", err)
	}
	if err := c.Stop(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := c.Stop(t.Context(), 1); err != nil {
		t.Errorf("stopping what is down: %v", err)
	}
	if err := c.Pause(1); err == nil || !strings.Contains(err.Error(), "not running") {
		t.Errorf("pausing what is down: %v", err)
	}
	if err := c.WaitReady(t.Context()); err == nil || !strings.Contains(err.Error(), "no broker is running") {
		t.Errorf("waiting for nothing: %v", err)
	}
}

func TestRealStopOfAFrozenBroker(t *testing.T) {
	c := ForTest(t, Options{})
	if err := c.Pause(1); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(t.Context(), 1); err != nil {
		t.Error(err)
	}
	tail, err := c.LogTail(1)
	if err != nil || !strings.Contains(tail, "App info kafka.server for 1 unregistered") {
		t.Errorf("no clean shutdown (%v):\n%s", err, tail)
	}
	if err := c.StartBroker(1); err != nil {
		t.Fatal(err)
	}
	expired, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Stop(expired, 1); err == nil || !strings.Contains(err.Error(), "killed, since it had not stopped") {
		t.Errorf("impatient stop: %v", err)
	}
}

func TestRealCloseLeavesNothing(t *testing.T) {
	var log syncBuilder
	c := ForTest(t, Options{Brokers: 3, Log: &log})
	pids := make([]int, 0, 3)
	for i := 1; i <= 3; i++ {
		pid, err := c.PID(i)
		if err != nil || pid == 0 {
			t.Fatalf("broker %d: process %d, %v", i, pid, err)
		}
		pids = append(pids, pid)
	}
	if err := c.Pause(2); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, pid := range pids {
		if _, err := os.FindProcess(pid); err != nil {
			t.Error(err)
		}
		if !gone(pid) {
			t.Errorf("process %d outlives Close", pid)
		}
	}
	if _, err := os.Stat(c.Dir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory %s outlives Close: %v", c.Dir(), err)
	}
	if err := c.StartBroker(1); err == nil || !strings.Contains(err.Error(), "the cluster is closed") {
		t.Errorf("start after Close: %v", err)
	}
	for i := 1; i <= 3; i++ {
		if want := fmt.Sprintf("broker %d: ", i); !strings.Contains(log.String(), want) {
			t.Errorf("Options.Log holds no line of broker %d", i)
		}
	}
}

// syncBuilder is read while brokers may write.
type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestRealStartErrors(t *testing.T) {
	ownBroker(t)
	full := t.TempDir()
	if err := os.WriteFile(full+"/x", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Options{Dir: full})
	wantErrorWith(t, err, "is not empty")

	_, err = Start(t.Context(), Options{Properties: map[string]string{"num.io.threads": "many"}})
	wantErrorWith(t, err, "broker 1: format storage", "num.io.threads")

	// An address no machine has: the broker starts and dies.
	_, err = Start(t.Context(), Options{Properties: map[string]string{
		"listeners": "CLIENT://192.0.2.1:1,INTERNAL://192.0.2.1:2,CONTROLLER://192.0.2.1:3",
	}})
	wantErrorWith(t, err, "broker 1: ended by itself", "192.0.2.1")

	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err = Start(ctx, Options{Brokers: 3, Dir: dir, Properties: map[string]string{"controller.quorum.voters": "1@127.0.0.1:1"}})
	if err == nil {
		t.Error("a cluster without a quorum became ready")
	}
}

func wantErrorWith(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", parts)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not hold %q:\n%v", part, err)
		}
	}
}
