package main

import (
	"bufio"
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/demo"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

// short is the story with fewer jobs; the waiting for a dead worker's session stays.
var short = []string{"demo", "--jobs", "180", "--over", "6s"}

func demoEvents(t *testing.T, out string) (events []demo.Event) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e demo.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatalf("%v in %s", err, lines.Text())
		}
		events = append(events, e)
	}
	return events
}

// checkStory holds the events of a run that went well against what the story promises.
func checkStory(t *testing.T, o outcome) {
	t.Helper()
	if o.code != 0 {
		t.Fatalf("exit %d\n%s\n%s", o.code, o.stderr, o.stdout)
	}
	pids, signals := map[int]bool{}, map[string]int{}
	var account *checker.Result
	finished, redriven, letters, replayed, again := false, 0, 0, 0, -1
	for _, e := range demoEvents(t, o.stdout) {
		switch e.Type {
		case demo.WorkerStarted:
			if e.PID == 0 || pids[e.PID] {
				t.Errorf("%s has pid %d", e.Worker, e.PID)
			}
			pids[e.PID] = true
		case demo.WorkerEnded:
			if !pids[e.PID] {
				t.Errorf("%s ended with pid %d, which never started", e.Worker, e.PID)
			}
			delete(pids, e.PID)
			signals[e.Signal]++
			if want := map[string]int{"SIGKILL": -1}[e.Signal]; e.ExitStatus == nil || *e.ExitStatus != want {
				t.Errorf("%s ended by %s with status %v, want %d", e.Worker, e.Signal, e.ExitStatus, want)
			}
		case demo.Letters:
			letters = e.Count
		case demo.Redriven:
			redriven = e.Count
		case demo.Replayed:
			replayed = e.Count
			if e.Runs != nil {
				again = *e.Runs
			}
		case demo.Account:
			account = e.Result
		case demo.Finished:
			finished = e.OK != nil && *e.OK
		}
	}
	if len(pids) > 0 {
		t.Errorf("nobody said how these ended: %v", pids)
	}
	if signals["SIGKILL"] != 1 || signals["SIGTERM"] != 7 || len(signals) != 2 {
		t.Errorf("workers were ended by %v, want one SIGKILL and seven SIGTERM", signals)
	}
	if letters == 0 || redriven != letters {
		t.Errorf("%d letters, %d redriven", letters, redriven)
	}
	if replayed != 180 || again != 0 {
		t.Errorf("%d records were replayed, %d of them run again", replayed, again)
	}
	if !finished || account == nil || account.Account.Jobs.Records != 180 || account.Account.Jobs.Classes[checker.Done] != 180 {
		t.Errorf("finished %v, account %+v", finished, account)
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	checkStory(t, waybill(t, "", append(short, "--json")...))
}

func TestDemoSabotage(t *testing.T) {
	for sabotage, want := range map[string]string{"drop": "lost: 1", "double": "doubled: 1"} {
		t.Run(sabotage, func(t *testing.T) {
			t.Parallel()
			o := waybill(t, "", append(short, "--sabotage", sabotage)...)
			if o.code != 1 || !strings.Contains(o.stdout, want) || !strings.Contains(o.stdout, "as it should") {
				t.Errorf("exit %d, want 1 and %q\n%s\n%s", o.code, want, o.stderr, o.stdout)
			}
		})
	}
}

// TestDemoOnRealKafka leaves nothing behind.
func TestDemoOnRealKafka(t *testing.T) {
	cluster := realkafka.Shared(t)
	checkStory(t, waybill(t, "", append(short, "--json", "--brokers", strings.Join(cluster.Addrs(), ","))...))
}
