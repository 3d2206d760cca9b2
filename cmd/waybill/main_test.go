package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

var update = flag.Bool("update", false, "write the golden transcripts anew")

// TestMain lets the test binary be a worker of the demo or a side of a measurement, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == workerVerb || os.Args[1] == sideVerb) {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(realkafka.Main(m))
}

// outcome is what a command did.
type outcome struct {
	stdout, stderr string
	code           int
}

func waybill(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{stdout.String(), stderr.String(), code}
}

// transcript runs commands against one broker and holds what they print against a golden file.
type transcript struct {
	t      *testing.T
	broker string
	text   strings.Builder
}

func newTranscript(t *testing.T) *transcript {
	t.Helper()
	t.Setenv("WAYBILL_CONFIG", "")
	b, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return &transcript{t: t, broker: strings.Join(b.Addrs(), ",")}
}

// run is a command on the transcript's broker.
func (s *transcript) run(args ...string) outcome { return s.runWith("", args...) }

// must makes commands of lines, with the flags behind each, that must succeed.
func (s *transcript) must(flags ...string) func(line string) outcome {
	return func(line string) outcome {
		s.t.Helper()
		o := s.run(append(strings.Fields(line), flags...)...)
		if o.code != 0 {
			s.t.Fatalf("%s: %+v", line, o)
		}
		return o
	}
}

func (s *transcript) runWith(stdin string, args ...string) outcome {
	s.t.Helper()
	o := waybill(s.t, stdin, append([]string{"--brokers", s.broker}, args...)...)
	fmt.Fprintf(&s.text, "$ waybill %s\n%s", strings.Join(args, " "), o.stdout)
	if o.stderr != "" {
		fmt.Fprintf(&s.text, "--- stderr\n%s", o.stderr)
	}
	fmt.Fprintf(&s.text, "--- exit %d\n\n", o.code)
	return o
}

// what differs from run to run
var scrubs = []struct {
	old *regexp.Regexp
	new string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "BROKER"},
	{regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]+)?Z?`), "TIME"},
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`/partition:\d+`), "/partition:N"},
}

func (s *transcript) check(name string) {
	s.t.Helper()
	got := s.text.String()
	for _, scrub := range scrubs {
		got = scrub.old.ReplaceAllString(got, scrub.new)
	}
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if got != string(want) {
		s.t.Errorf("what the commands print is not what %s says (-update writes it anew):\n%s", path, difference(string(want), got))
	}
}

// difference shows the first line that differs with its surroundings.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		line := func(ls []string) string {
			if i < len(ls) {
				return ls[i]
			}
			return "(ends)"
		}
		if line(w) != line(g) {
			return fmt.Sprintf("line %d\n  want %s\n  got  %s", i+1, line(w), line(g))
		}
	}
	return "nothing differs"
}
