package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/bench"
	"github.com/waybill-dev/waybill/internal/embedded"
)

const sideArg = "bench-side"

// TestMain lets the test binary be a side of a measurement.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == sideArg {
		if err := bench.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func broker(t *testing.T) connect.Settings {
	t.Helper()
	b, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return connect.Settings{Brokers: b.Addrs()}
}

// tiny is a run that takes seconds.
func tiny(c connect.Settings) bench.Options {
	return bench.Options{Connection: c, Side: []string{os.Args[0], sideArg}, Rounds: 1, Seconds: 0.05, Jobs: 400}
}

// Every case runs, yields each of its rows well formed, and leaves nothing behind.
func TestCases(t *testing.T) {
	for _, c := range bench.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			o := tiny(broker(t))
			if c.Name == "noop" {
				o.Rounds = 2 // there are intervals then
			}
			var names []string
			o.Report = func(r *bench.Row) error {
				names = append(names, r.Name)
				checkRow(t, c.Name, r)
				return nil
			}
			if err := bench.Run(t.Context(), []bench.Case{c}, o); err != nil {
				t.Fatal(err)
			}
			want := c.Rows
			if len(want) == 0 {
				want = []string{""}
			}
			if !slices.Equal(names, want) {
				t.Errorf("rows %q, want %q", names, want)
			}
			checkClean(t, o.Connection)
		})
	}
}

// checkRow holds a row against what is promised of its JSON.
func checkRow(t *testing.T, name string, r *bench.Row) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if m["case"] != name || m["below_method"] == "" || m["ok"] == nil {
		t.Errorf("row %s", text)
	}
	for key, v := range m {
		n, ok := v.(float64)
		if v == nil || ok && n < 0 && !strings.HasSuffix(key, "_above_ms") { // a difference has either sign
			t.Errorf("%s is %v in %s", key, v, text)
		}
	}
	for _, f := range r.Figures {
		if _, ok := m[f.Of].(float64); !ok {
			t.Errorf("a figure is of %s, which is not in %s", f.Of, text)
		}
	}
}

func checkClean(t *testing.T, c connect.Settings) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	groups, err := kadm.NewClient(cl).ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range slices.Concat(topics.Names(), groups.Groups()) {
		if strings.HasPrefix(n, "waybill-bench-") {
			t.Errorf("%s is left", n)
		}
	}
}

// A run that ends early, for any reason, deletes what it made too.
func TestInterrupted(t *testing.T) {
	o := tiny(broker(t))
	o.Rounds, o.Row = 1000, bench.Cases()[0].Rows[0]
	ctx, cancel := context.WithCancel(t.Context())
	o.Report = func(*bench.Row) error { return nil }
	o.Say = func(line string) {
		if strings.Contains(line, "round 1 of") {
			cancel()
		}
	}
	if err := bench.Run(ctx, bench.Cases()[:1], o); err == nil {
		t.Error("no error")
	}
	checkClean(t, o.Connection)
}

func TestSideFails(t *testing.T) {
	o := tiny(broker(t))
	o.Report = func(*bench.Row) error { return nil }
	o.Side = []string{os.Args[0], "-test.run=NoSuchTest"} // ends without saying anything we know
	if err := bench.Run(t.Context(), bench.Cases()[:1], o); err == nil || !strings.Contains(err.Error(), "side raw-passes") {
		t.Errorf("%v", err)
	}
}

func TestLookup(t *testing.T) {
	for _, c := range []struct {
		names []string
		row   string
		want  string
	}{
		{[]string{"noop"}, "", ""},
		{[]string{"noop"}, "json", ""},
		{[]string{"nop"}, "", `no case "nop"; the cases are noop`},
		{[]string{"noop"}, "xml", `noop has no row "xml"`},
	} {
		got, err := bench.Lookup(c.names, c.row)
		if c.want == "" && (err != nil || len(got) != 1 || got[0].Name != c.names[0]) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v %s: %v %v", c.names, c.row, got, err)
		}
	}
}

func TestOptions(t *testing.T) {
	err := bench.Run(t.Context(), nil, bench.Options{Rounds: -1, Seconds: -1, Jobs: -1})
	for _, field := range []string{"Rounds", "Seconds", "Jobs", "Side", "Report", "Brokers"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not among the faults: %v", field, err)
		}
	}
	for _, c := range []struct {
		o    bench.Options
		want string
	}{
		{bench.Options{}, ""},
		{bench.Options{Rounds: 7, Seconds: 20}, ""},
		{bench.Options{Rounds: 4}, "4 of 5 rounds"},
		{bench.Options{Seconds: 9.5}, "sides of 9.5 instead of 10 s"},
		{bench.Options{Jobs: 5}, "topics of 5 jobs"},
		{bench.Options{Profile: "x"}, "profiled"},
	} {
		if got := c.o.Below(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.o, got, c.want)
		}
	}
}
