//go:build linux || darwin

package realkafka

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if helper() {
		return
	}
	code := Main(m)
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// fakeTB records how a test was ended, where the real one would end this test.
type fakeTB struct {
	testing.TB
	ended string
}

func (f *fakeTB) Helper() {}
func (f *fakeTB) Skip(args ...any) {
	f.ended = "skip: " + fmt.Sprint(args...)
	runtime.Goexit()
}
func (f *fakeTB) Fatal(args ...any) {
	f.ended = "fatal: " + fmt.Sprint(args...)
	runtime.Goexit()
}
func (f *fakeTB) Fatalf(format string, args ...any) { f.Fatal(fmt.Sprintf(format, args...)) }

// endOf runs a test's body and returns how it ended, "" if it ran through.
func endOf(t *testing.T, body func(testing.TB)) string {
	t.Helper()
	f := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		body(f)
	}()
	<-done
	return f.ended
}

func wantEnd(t *testing.T, got, prefix, part string) {
	t.Helper()
	if !strings.HasPrefix(got, prefix) || !strings.Contains(got, part) {
		t.Errorf("ended with %q, want %s with %q", got, prefix, part)
	}
}

func TestSuiteOff(t *testing.T) {
	t.Setenv(suiteEnv, "")
	t.Setenv(requiredEnv, "")
	for name, body := range map[string]func(testing.TB){
		"ForTest": func(tb testing.TB) { ForTest(tb, Options{}) },
		"Shared":  func(tb testing.TB) { Shared(tb) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(requiredEnv, "")
			wantEnd(t, endOf(t, body), "skip: ", "real-Kafka suite skipped: set WAYBILL_KAFKA=auto or to an address")
			t.Setenv(requiredEnv, "1")
			wantEnd(t, endOf(t, body), "fatal: ", "WAYBILL_KAFKA_REQUIRED=1")
		})
	}
}

func TestParseTarget(t *testing.T) {
	for value, want := range map[string]string{
		"auto":            "[]",
		"a:1":             "[a:1]",
		"a:1, [::1]:9092": "[a:1 [::1]:9092]",
		"1":               "error",
		"a:1,":            "error",
		"a:":              "error",
	} {
		addrs, err := parseTarget(value)
		got := fmt.Sprint(addrs)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: got %s (%v), want %s", value, got, err, want)
		}
	}
}

func TestAttach(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	t.Setenv(suiteEnv, strings.Join(fake.ListenAddrs(), ","))
	t.Setenv(requiredEnv, "")

	if end := endOf(t, func(tb testing.TB) {
		c := ForTest(tb, Options{})
		if got := len(c.Addrs()); got != 2 {
			t.Errorf("got %d addresses, want 2", got)
		}
		if err := c.WaitReady(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}); end != "" {
		t.Errorf("attaching ended with %q", end)
	}
	control := func(tb testing.TB) { _ = Shared(tb).Kill(1) }
	wantEnd(t, endOf(t, control), "skip: ", "controls broker processes")
	wantEnd(t, endOf(t, func(tb testing.TB) { ForTest(tb, Options{Brokers: 3}) }), "skip: ", "needs 3 brokers")
	wantEnd(t, endOf(t, func(tb testing.TB) { ForTest(tb, Options{TLS: true}) }), "skip: ", "configured for it")
	wantEnd(t, endOf(t, func(tb testing.TB) { ForTest(tb, Options{Brokers: 2}) }), "fatal: ", "use 1 or 3")
	t.Setenv(requiredEnv, "1")
	wantEnd(t, endOf(t, control), "fatal: ", "controls broker processes")
}

func TestAttachToNothing(t *testing.T) {
	t.Setenv(suiteEnv, "127.0.0.1:1")
	wantEnd(t, endOf(t, func(tb testing.TB) { Shared(tb) }), "fatal: ", "does not answer")
}

func TestAddUserNeedsSCRAM(t *testing.T) {
	c := &Cluster{access: access{mechanism: SASLPlain}}
	if err := c.AddUser(t.Context(), "a", "b"); err == nil || !strings.Contains(err.Error(), "Options.Users") {
		t.Errorf("got %v, want a hint at Options.Users", err)
	}
}

func TestNoSuchBroker(t *testing.T) {
	c := &Cluster{nodes: make([]*node, 3)}
	for _, i := range []int{-1, 0, 4} {
		if err := c.Kill(i); err == nil || !strings.Contains(err.Error(), "brokers are 1 to 3") {
			t.Errorf("broker %d: got %v", i, err)
		}
	}
}
