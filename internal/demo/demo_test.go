package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
)

// TestMain lets the test binary be the processes that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "work":
			if err := Work(context.Background(), os.Stdin, os.Stdout); err != nil {
				_, _ = os.Stderr.WriteString(err.Error())
				os.Exit(1)
			}
			os.Exit(0)
		case "fail":
			_, _ = os.Stderr.WriteString("out of luck")
			os.Exit(7)
		}
	}
	os.Exit(m.Run())
}

func command(t *testing.T, verb string) []string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{program, verb}
}

func TestOptionsSayAllFaultsAtOnce(t *testing.T) {
	_, err := Run(t.Context(), Options{Jobs: 1, Over: -1, Sabotage: "x", Connection: connect.Settings{Brokers: []string{"a b"}}})
	for _, field := range []string{"Worker", "Observe", "Jobs", "Over", "Sabotage", "Brokers"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named: %v", field, err)
		}
	}
}

// The ledgers of an earlier demo would be held against the topics of this one.
func TestFolderOfAnEarlierDemo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, driverLedger), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), Options{Worker: command(t, "fail"), Dir: dir, Observe: func(Event) {}}); err == nil || !strings.Contains(err.Error(), "name another") {
		t.Errorf("a folder that was used is taken: %v", err)
	}
}

// TestWorkload: whatever its length, the story needs some of each.
func TestWorkload(t *testing.T) {
	for _, n := range []int{minJobs, 180, defaultJobs} {
		count, ids := map[string]int{}, map[string]bool{}
		for _, e := range workload(n) {
			ids[e.opts.ID] = true
			count[e.args.Kind()]++
			switch a := e.args.(type) {
			case charge:
				count["timeouts"] += a.Timeouts
				if a.Currency == brokenCurrency {
					count["broken charge"]++
				}
			case welcome:
				count["busy"] += a.Busy
				if a.Template == brokenTemplate {
					count["broken welcome"]++
				}
			case report:
				count["panics"] += a.Panics
			}
		}
		if len(ids) != n {
			t.Errorf("%d jobs have %d ids", n, len(ids))
		}
		for _, what := range append([]string{"timeouts", "busy", "panics", "broken charge", "broken welcome"}, kinds...) {
			if count[what] == 0 {
				t.Errorf("%d jobs: no %s", n, what)
			}
		}
		if faultless(workload(n)) == "" {
			t.Errorf("%d jobs: none is without fault", n)
		}
	}
}

func TestHandlers(t *testing.T) {
	book := ledger.NewRecorder()
	for _, c := range []struct {
		release int
		args    job.Args
		attempt int
		want    job.Verdict
	}{
		{1, charge{Currency: "EUR"}, 1, job.VerdictDone},
		{1, charge{Currency: "EUR", Timeouts: 1}, 1, job.VerdictRetry},
		{1, charge{Currency: "EUR", Timeouts: 1}, 2, job.VerdictDone},
		{1, charge{Currency: brokenCurrency}, 4, job.VerdictRetry},
		{2, charge{Currency: brokenCurrency}, 1, job.VerdictDone},
		{1, welcome{Template: brokenTemplate}, 1, job.VerdictDead},
		{2, welcome{Template: brokenTemplate}, 1, job.VerdictDone},
		{1, welcome{Busy: 1}, 1, job.VerdictRetry},
		{1, report{Panics: 1}, 1, job.VerdictRetry},
		{1, report{Panics: 1}, 2, job.VerdictDone},
	} {
		set, err := (&shop{sink: book.For("test"), release: c.release}).mux("").Compile()
		if err != nil {
			t.Fatal(err)
		}
		payload, _ := json.Marshal(c.args)
		m := &job.Message{Kind: c.args.Kind(), ID: "i", Payload: payload, Attempt: c.attempt}
		if got := set.Lookup(c.args.Kind()).Run(t.Context(), m); got.Verdict != c.want {
			t.Errorf("release %d, attempt %d of %+v: %+v", c.release, c.attempt, c.args, got)
		}
	}
}

func TestCallTwice(t *testing.T) {
	calls := 0
	h := callTwice("a")(func(context.Context, *job.Message) error { calls++; return nil })
	for _, id := range []string{"a", "b"} {
		if err := h(t.Context(), &job.Message{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 3 {
		t.Errorf("%d calls, want 3", calls)
	}
}

func TestTailWaitsForWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	follow := &tail{path: path}
	if events, err := follow.next(); len(events) > 0 || err != nil {
		t.Fatal(events, err)
	}
	line := func(text string) []byte {
		b, _ := json.Marshal(ledger.Event{Type: ledger.Note, Time: time.Unix(1, 0), Process: "p", Text: text})
		return append(b, '\n')
	}
	a, b := line("a"), line("b")
	for _, step := range []struct {
		write []byte
		want  string
	}{{a, "a"}, {b[:5], ""}, {b[5:], "b"}, {nil, ""}, {append(line("c"), line("d")...), "cd"}} {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(step.write)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		events, err := follow.next()
		got := ""
		for _, e := range events {
			got += e.Text
		}
		if got != step.want || err != nil {
			t.Errorf("after %q: %q %v", step.write, got, err)
		}
	}
}

func assign(t *testing.T) assignment {
	dir := t.TempDir()
	return assignment{Name: "w", Release: 1, Topic: "t", Group: "g", Connection: connect.Settings{Brokers: []string{"127.0.0.1:1"}}, // nobody listens
		Ledger: filepath.Join(dir, "ledger"), Log: filepath.Join(dir, "log")}
}

func await(t *testing.T, p *process) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.kill()
		t.Fatal("the worker did not end")
	}
}

func TestKilledWorkerTellsItsSignal(t *testing.T) {
	p, err := spawn(command(t, "work"), assign(t))
	if err != nil {
		t.Fatal(err)
	}
	if p.pid <= 0 || p.gone() || p.expected() || p.state() != "joining" {
		t.Errorf("pid %d, gone %v, state %s", p.pid, p.gone(), p.state())
	}
	p.kill()
	await(t, p)
	if signal, exit := p.end(); signal != "SIGKILL" || exit != -1 || p.state() != "killed" {
		t.Errorf("%s %d %s", signal, exit, p.state())
	}
}

// TestWorkerEndsWithItsParent: the end of its standard input is the end of its parent, however that came about.
func TestWorkerEndsWithItsParent(t *testing.T) {
	p, err := spawn(command(t, "work"), assign(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, p)
	if signal, exit := p.end(); signal != "" || exit != 3 {
		t.Errorf("%q %d", signal, exit)
	}
}

// TestWorkerReports: who asks why a step took too long finds in the log what the worker did.
func TestWorkerReports(t *testing.T) {
	stage, err := openStage(connect.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer stage.close()
	if err := stage.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := assign(t)
	a.Connection, a.Topic, a.Group = stage.connection, stage.topic, stage.group
	p, err := spawn(command(t, "work"), a)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ready:
	case <-p.done:
	}
	p.report()
	select {
	case <-p.told:
	case <-time.After(30 * time.Second):
		t.Error("the worker did not report")
	}
	p.kill()
	await(t, p)
	log, err := os.ReadFile(a.Log)
	for _, part := range []string{"demo.run", `"instance":"w"`, `"topic":"shop"`} {
		if err != nil || !strings.Contains(string(log), part) {
			t.Errorf("the log lacks %q: %v\n%.3000s", part, err, log)
		}
	}
}

func TestStoodStill(t *testing.T) {
	at := time.Now()
	for name, c := range map[string]struct {
		now  time.Time
		want time.Duration
	}{
		"on time":                       {at.Add(time.Second), time.Second},
		"a machine that slept":          {at.Round(0).Add(time.Hour), time.Hour}, // only the wall clock went on
		"a clock that was set back":     {at.Add(time.Second).Round(0).Add(-time.Hour), 0},
		"the same reading of the clock": {at, 0},
	} {
		if got := max(0, stoodStill(at, c.now)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSummary(t *testing.T) {
	p := &Progress{Planned: 9, Done: 7, Unread: 2, Tiers: []TierProgress{{"1s", 3}}, late: []string{"shop/1 is committed to 4 of 6"}, Workers: []WorkerProgress{{Worker: "w", State: "working", Tasks: 3, Running: 1}}}
	for _, part := range []string{"7 of 9", "2 records", "3 of the tiers", "shop/1 is committed to 4 of 6", "w is working: 3 tasks, 1 attempts"} {
		if !strings.Contains(p.summary(), part) {
			t.Errorf("%q lacks %q", p.summary(), part)
		}
	}
}

func TestWorkWithoutParent(t *testing.T) {
	if err := Work(t.Context(), strings.NewReader(""), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "waybill demo") {
		t.Error(err)
	}
	if err := Work(t.Context(), strings.NewReader("nonsense\n"), &bytes.Buffer{}); err == nil {
		t.Error("an assignment that is no JSON was taken")
	}
}

// TestStoryEndsWhenWorkersFail names the worker, its status and what it said.
func TestStoryEndsWhenWorkersFail(t *testing.T) {
	var ended []Event
	_, err := Run(t.Context(), Options{Worker: command(t, "fail"), Dir: t.TempDir(), Observe: func(e Event) {
		if e.Type == WorkerEnded {
			ended = append(ended, e)
		}
	}})
	if err == nil || !strings.Contains(err.Error(), "out of luck") || !strings.Contains(err.Error(), "7") {
		t.Errorf("error %v", err)
	}
	if len(ended) == 0 {
		t.Error("nobody was told that a worker ended")
	}
}

func TestStoryEndsWhenToldTo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := 0, 0
	_, err := Run(ctx, Options{Worker: command(t, "work"), Observe: func(e Event) {
		switch e.Type {
		case WorkerReady:
			cancel()
		case WorkerStarted:
			started++
		case WorkerEnded:
			ended++
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if started == 0 || ended != started {
		t.Errorf("%d workers started, %d ended", started, ended)
	}
}
