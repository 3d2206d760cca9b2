package page

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/bench/internal/peers"
	"github.com/waybill-dev/waybill/bench/internal/suite"
)

// Write writes benchmarks.md and benchmarks.svg into the folder.
func Write(folder string, results []suite.Result) error {
	if len(results) == 0 {
		return errors.New("there are no results to make a page of; measure first")
	}
	var svg bytes.Buffer
	if err := plot(&svg, results); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(folder, "benchmarks.svg"), svg.Bytes(), 0o644),
		os.WriteFile(filepath.Join(folder, "benchmarks.md"), []byte(text(results)), 0o644))
}

// section is the part of the page about a case.
type section struct {
	name, title, about string
	measures           []measure
}

var sections = []section{
	{"noop", "A handler that does nothing", `What the library itself costs. Each job costs the same, so a side ends in the middle of the topic.`,
		[]measure{{"noop", "jobs/s", "", false, rate}, {"noop", "CPU µs a job", "", true, micros}}},
	{"work", "A handler of 1 ms", `What the order of keys costs when a job takes time. Keys follow Zipf's law, so one key has 15% of the jobs and one
partition more: who runs one job of a partition at a time waits for the fullest partition, who runs one of a key at a time for
the hottest key. Sides that run one job at a time are cut after their seconds; the others go to the end of the topic.`,
		[]measure{{"work", "jobs/s", "", false, rate}, {"work", "CPU µs a job", "", true, micros}}},
	{"latency", "From enqueue to start, idle", `One job after the other with 10 to 15 ms between them: from before produce (franz-go, no linger, the same for all)
until the handler starts.`,
		[]measure{{"latency", "p50 ms", "", true, p50}, {"latency", "p99 ms", "", true, p99}}},
}

func text(results []suite.Result) string {
	var b strings.Builder
	b.WriteString(`# Benchmarks: Waybill beside others

This page and its plot are made by ` + "`go -C bench run . -out ../docs`" + ` from [benchmarks.jsonl](benchmarks.jsonl), a line for each side measured. Rates mean
nothing on another machine; run it on yours, and compare the sides of one run. Client and broker share the cores.

![The medians as bars](benchmarks.svg)
`)
	var missing []string
	for _, s := range sections {
		if !s.write(&b, results) {
			missing = append(missing, s.title)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "\nNot measured yet: %s.\n", strings.Join(missing, "; "))
	}
	about(&b, results)
	circumstances(&b, results)
	return b.String()
}

// write reports whether there is anything to write.
func (s section) write(b *strings.Builder, results []suite.Result) bool {
	if !slices.ContainsFunc(results, func(r suite.Result) bool { return r.Case == s.name }) {
		return false
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| | handlers at once |", s.title, s.about)
	for _, m := range s.measures {
		fmt.Fprintf(b, " %s |", m.Title)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(s.measures)) + "\n")
	columns := make([][]bar, len(s.measures))
	for i, m := range s.measures {
		columns[i] = bars(results, m)
	}
	least := len(results)
	for row, l := range columns[0] {
		fmt.Fprintf(b, "| %s | %s |", l.peer.Name, l.peer.Concurrency)
		for _, c := range columns {
			fmt.Fprintf(b, " %s |", c[row].spread)
		}
		b.WriteString("\n")
		least = min(least, l.rounds)
	}
	b.WriteString("\n")
	for i, m := range s.measures {
		behind(b, m, columns[i])
	}
	if least < 5 {
		fmt.Fprintf(b, "\nBelow the method: some sides have only %d of 5 rounds.\n", least)
	}
	return true
}

// behind says who is better than Waybill, by the medians, for each of its guarantees.
func behind(b *strings.Builder, m measure, column []bar) {
	for _, ours := range column {
		if !isOurs(ours.peer) {
			continue
		}
		var names []string
		for _, l := range column {
			factor := l.spread.median / ours.spread.median
			if m.less {
				factor = 1 / factor
			}
			if !isOurs(l.peer) && factor > 1 {
				names = append(names, fmt.Sprintf("%s (%.2f times)", l.peer.Name, factor))
			}
		}
		if len(names) == 0 {
			names = []string{"nobody"}
		}
		fmt.Fprintf(b, "- %s, %s; better than it: %s.\n", ours.peer.Name, m.Title, strings.Join(names, ", "))
	}
}

func isOurs(p peers.Peer) bool { return strings.HasPrefix(p.ID, "waybill") }

func about(b *strings.Builder, results []suite.Result) {
	b.WriteString("\n## Who they are, and what one does not get from them\n\n| | version | settings | what it lacks |\n|---|---|---|---|\n")
	for _, p := range peers.All() {
		var versions []string
		for _, r := range results {
			if r.Peer == p.ID && !slices.Contains(versions, r.Version) {
				versions = append(versions, r.Version)
			}
		}
		if len(versions) > 0 {
			fmt.Fprintf(b, "| %s | %s | %s | %s |\n", p.Name, strings.Join(versions, "; "), p.Settings, p.Lacks)
		}
	}
	b.WriteString(`
Every one of them is set so that an offset is committed only after its record was handled. Only Waybill settles each job by itself (retry
tiers, schedules, dead letters, receipts); a client's loop has to bring that along, and then costs more than here.
`)
}

func circumstances(b *strings.Builder, results []suite.Result) {
	s := results[len(results)-1].Setting
	engines := distinct(results, func(r suite.Result) string { return r.Setting.Engine })
	kafkas := distinct(results, func(r suite.Result) string { return r.Setting.Kafka })
	seconds := s.Seconds
	for _, r := range results {
		seconds = min(seconds, r.Setting.Seconds)
	}
	fmt.Fprintf(b, "\n## Machine and method\n\n- %d cores (%s), %d GiB, %s, %s; one Apache Kafka %s on the same machine; Waybill at commit %s.\n",
		s.Cores, s.CPU, s.Memory, s.System, s.Go, kafkas, engines)
	for _, c := range []string{"noop", "work"} {
		jobs := distinct(results, func(r suite.Result) string {
			if r.Case != c {
				return ""
			}
			return fmt.Sprint(r.Setting.Jobs)
		})
		if jobs != "" {
			fmt.Fprintf(b, "- Topic of %s: %s jobs in 8 partitions, 200 B that no codec compresses, under the headers of package producer; keys by Zipf\n  (s=1.1, v=1, 10,000 keys, seed 1).\n", c, jobs)
		}
	}
	fmt.Fprintf(b, `- A figure is the median of its rounds; in brackets the lowest and the highest, which for five is a 93.75%% interval of the median. In
  a round each peer has its turn, in the order of the table, in a process of its own. Nothing else should run meanwhile, which nobody checks.
- A side works for at least %g s, over as many passes of the topic, each in a new group, as it takes. The clock of a pass runs from the first
  handler's start to the last one's end. Processor time is that of the process (getrusage), from before the client is made. (`+"`waybill bench`"+`
  counts the commit, too.)
- After each pass the group's offsets are held against what was handled: never more, and all of a topic that was worked through to its end. Of a
  pass that was cut, only that it did not commit more.
`, seconds)
}

// distinct are the values there are, by comma.
func distinct(results []suite.Result, of func(suite.Result) string) string {
	var out []string
	for _, r := range results {
		if v := of(r); v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return strings.Join(out, ", ")
}
