package realkafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	suiteEnv    = "WAYBILL_KAFKA"
	requiredEnv = "WAYBILL_KAFKA_REQUIRED"
)

// attachTimeout bounds the first contact with a cluster that should be running already.
const attachTimeout = 10 * time.Second

// ForTest returns the Kafka this test runs against, as WAYBILL_KAFKA says (see the
// package comment): a cluster started for it alone and closed at its end, or the one
// attached to. It skips the test when there is none or when the one attached to cannot
// be what o asks for, and fails it when a start fails. When a test with a cluster of its
// own fails, the brokers' last lines go to its log. Call it from the test's goroutine.
func ForTest(t testing.TB, o Options) *Cluster {
	t.Helper()
	addrs := suiteTarget(t)
	if addrs != nil {
		return attach(t, o, addrs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i, n := range c.nodes {
				t.Logf("realkafka: the end of broker %d's log:\n%s", i+1, n.logTail())
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// shared is the one cluster of this test process that Shared hands out.
var shared struct {
	mu      sync.Mutex
	cluster *Cluster
	err     error // of the one start tried; not tried again, since it takes long to fail
}

// Shared is ForTest with one plaintext broker that all tests of the process share: it is
// started by the first that asks and closed by CloseShared. Topics and groups need names
// of their own. Controlling its process fails the test.
//
// The goroutine that owns the broker outlives the test: those who look for leaked
// goroutines take their baseline (goleak.IgnoreCurrent) after Shared.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	if addrs := suiteTarget(t); addrs != nil {
		return attach(t, Options{}, addrs)
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cluster == nil && shared.err == nil {
		// Not the test's context: the broker outlives it.
		shared.cluster, shared.err = Start(context.Background(), Options{})
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return &Cluster{
		opts: shared.cluster.opts, dir: shared.cluster.dir, addrs: shared.cluster.addrs, tb: t,
		refuse: func(tb testing.TB) {
			tb.Helper()
			tb.Fatal("realkafka: other tests use the shared broker: control the processes of a cluster from ForTest")
		},
	}
}

// CloseShared closes the cluster of Shared, if there is one. Call it from TestMain, or
// let Main do it.
func CloseShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cluster == nil {
		return nil
	}
	err := shared.cluster.Close()
	shared.cluster = nil
	return err
}

// Main runs the tests, closes the shared cluster and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(realkafka.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	if err := CloseShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// suiteTarget returns the addresses to attach to, nil to start a cluster, and ends the
// test when the suite is off.
func suiteTarget(t testing.TB) []string {
	t.Helper()
	value := os.Getenv(suiteEnv)
	if value == "" {
		skip(t, "real-Kafka suite skipped: set WAYBILL_KAFKA=auto or to an address")
	}
	addrs, err := parseTarget(value)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// parseTarget reads a value of WAYBILL_KAFKA that is not empty; nil means "auto".
func parseTarget(value string) ([]string, error) {
	if value == "auto" {
		return nil, nil
	}
	addrs := strings.Split(value, ",")
	for i, addr := range addrs {
		addrs[i] = strings.TrimSpace(addr)
		if _, port, err := net.SplitHostPort(addrs[i]); err != nil || port == "" {
			return nil, fmt.Errorf("realkafka: %s=%q: want \"auto\" or host:port,host:port", suiteEnv, value)
		}
	}
	return addrs, nil
}

// skip skips the test, or fails it where the suite is required.
func skip(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(requiredEnv) == "1" {
		t.Fatalf("%s (%s=1 makes this skip a failure)", why, requiredEnv)
	}
	t.Skip(why)
}

// attach returns a cluster somebody else runs, if it can be what o asks for.
func attach(t testing.TB, o Options, addrs []string) *Cluster {
	t.Helper()
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		t.Fatal(err)
	}
	if o.SASL != "" || o.TLS || o.ACLs || len(o.Properties) > 0 {
		skip(t, "this test needs a Kafka configured for it, and WAYBILL_KAFKA names a running one: set WAYBILL_KAFKA=auto")
	}
	c := &Cluster{opts: o, addrs: addrs, tb: t, refuse: func(tb testing.TB) {
		tb.Helper()
		skip(tb, "this test controls broker processes, and WAYBILL_KAFKA names a Kafka that is not ours: set WAYBILL_KAFKA=auto")
	}}
	known, err := attachedBrokers(t.Context(), addrs)
	if err != nil {
		t.Fatalf("realkafka: %s=%s does not answer: %v", suiteEnv, strings.Join(addrs, ","), err)
	}
	if len(known) < o.Brokers {
		skip(t, fmt.Sprintf("this test needs %d brokers, and WAYBILL_KAFKA names a Kafka with %d: set WAYBILL_KAFKA=auto", o.Brokers, len(known)))
	}
	return c
}

// attachedBrokers asks the addresses in turn and returns the first answer.
func attachedBrokers(ctx context.Context, addrs []string) ([]int32, error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	var errs []error
	for _, addr := range addrs {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
		if err != nil {
			return nil, err
		}
		ids, err := askBrokers(ctx, cl)
		cl.Close()
		if err == nil {
			return ids, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}
