package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/bench/internal/page"
	"github.com/waybill-dev/waybill/bench/internal/peers"
	"github.com/waybill-dev/waybill/bench/internal/side"
	"github.com/waybill-dev/waybill/bench/internal/suite"
	"github.com/waybill-dev/waybill/internal/embedded"
)

// TestMain lets the test binary be a side.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == side.Arg {
		if err := side.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// options are those of a run of one pass a side: to begin takes some of them seconds.
func options(t *testing.T) suite.Options {
	t.Helper()
	b, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return suite.Options{Brokers: b.Addrs(), Cases: []string{"noop", "work", "latency"}, Side: []string{os.Args[0], side.Arg},
		Results: filepath.Join(t.TempDir(), "benchmarks.jsonl"), Rounds: 1, Seconds: 1e-6, Jobs: 200, Setting: suite.Setting{Kafka: "kfake"}, Say: t.Logf}
}

// Each peer works through every case, commits what it handled, and is on the page; a second call measures nothing again.
func TestPeers(t *testing.T) {
	for _, p := range peers.All() {
		t.Run(p.ID, func(t *testing.T) {
			o := options(t)
			o.Peers = []string{p.ID}
			for range 2 {
				if err := suite.Run(t.Context(), o); err != nil {
					t.Fatal(err)
				}
			}
			results, err := suite.ReadResults(o.Results)
			if err != nil || len(results) != 3 {
				t.Fatalf("%d results, %v", len(results), err)
			}
			for _, r := range results {
				if s := r.Sample; s.Jobs == 0 || s.Seconds <= 0 || r.Case != "latency" && s.CPU <= 0 || r.Case == "latency" && s.P99 < s.P50 {
					t.Errorf("%+v", r)
				}
			}
			checkPage(t, filepath.Dir(o.Results), results, p)
		})
	}
}

func checkPage(t *testing.T, folder string, results []suite.Result, p peers.Peer) {
	t.Helper()
	if err := page.Write(folder, results); err != nil {
		t.Fatal(err)
	}
	md, err := os.ReadFile(filepath.Join(folder, "benchmarks.md"))
	if err != nil || strings.Count(string(md), "| "+p.Name+" |") != 4 || !strings.Contains(string(md), "only 1 of 5 rounds") {
		t.Errorf("%v, page:\n%s", err, md)
	}
	svg, err := os.Open(filepath.Join(folder, "benchmarks.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	names := 0
	for d := xml.NewDecoder(svg); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok && string(text) == p.Name {
			names++
		}
	}
	if names != 4 {
		t.Errorf("the plot has %s %d times", p.Name, names)
	}
}

// The page says who is better than Waybill, and by how much.
func TestBehind(t *testing.T) {
	var results []suite.Result
	for _, r := range []struct {
		peer string
		jobs int
	}{{"franz-go", 3000}, {"waybill-at-least-once", 2000}, {"watermill", 1000}} {
		results = append(results, suite.Result{Case: "noop", Peer: r.peer, Round: 1, Sample: side.Sample{Jobs: r.jobs, Passes: 1, Seconds: 1, CPU: 1}})
	}
	folder := t.TempDir()
	if err := page.Write(folder, results); err != nil {
		t.Fatal(err)
	}
	md, err := os.ReadFile(filepath.Join(folder, "benchmarks.md"))
	if err != nil || !strings.Contains(string(md), "AtLeastOnce, jobs/s; better than it: franz-go, raw loop (1.50 times).") {
		t.Errorf("%v\n%s", err, md)
	}
	if !strings.Contains(string(md), "Not measured yet: A handler of 1 ms; From enqueue to start, idle.") {
		t.Errorf("it does not say what was not measured:\n%s", md)
	}
}

// Waybill with receipts is held against Watermill round by round: below its figure or the method -check fails.
func TestFigure(t *testing.T) {
	rounds := func(n int, seconds, times float64) (out []suite.Result) {
		for i := range n {
			for peer, rate := range map[string]float64{"waybill-effectively-once": times * float64(i+1), "watermill": float64(i + 1), "franz-go": 100} {
				out = append(out, suite.Result{Case: "noop", Peer: peer, Round: i + 1, Sample: side.Sample{Jobs: int(rate * 1e6), Seconds: seconds}})
			}
		}
		return out
	}
	for _, c := range []struct {
		name    string
		results []suite.Result
		out     string
		err     string
	}{
		{"met", rounds(5, 10, 3.5), `"ratio":3.5,"ratio_low":3.5,"ratio_high":3.5,"rounds":5,"seconds":10,"figure":"ratio >= 3","ok":true`, ""},
		{"missed", rounds(5, 10, 2.5), `"ok":false`, "ratio >= 3"},
		{"too few rounds", rounds(4, 10, 3.5), `"below_method":"4 of 5 rounds"`, "4 of 5 rounds"},
		{"too short", rounds(5, 2, 3.5), `"below_method":"sides of 2 instead of 10 s"`, "instead of 10 s"},
		{"one side", rounds(5, 10, 3.5)[:1], "", "no round"},
	} {
		for _, check := range []bool{false, true} {
			var out strings.Builder
			err := figure(&out, c.results, check)
			if !strings.Contains(out.String(), c.out) {
				t.Errorf("%s: %s", c.name, out.String())
			}
			if failed := check && c.err != ""; (err != nil) != failed || failed && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s, -check %v: %v", c.name, check, err)
			}
		}
	}
}

// A call that is over measures nothing; a side that fails names its peer; no results are no page.
func TestFaults(t *testing.T) {
	o := options(t)
	o.Until = time.Now().Add(-time.Hour)
	if err := suite.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if results, err := suite.ReadResults(o.Results); err != nil || len(results) != 0 {
		t.Errorf("%v, %v", results, err)
	}
	if err := page.Write(t.TempDir(), nil); err == nil {
		t.Error("a page of nothing")
	}
	o.Until, o.Side = time.Time{}, []string{os.Args[0], "-test.run=NoSuchTest"}
	if err := suite.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "franz-go, round 1") {
		t.Errorf("%v", err)
	}
}
