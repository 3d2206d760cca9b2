package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/demo"
)

// demoView shows the demo to people: lines that stay, and on a terminal a block below them that is drawn anew with each
// progress. Its lines fit 80 columns, since a wrapped line would spoil the redrawing.
type demoView struct {
	out   io.Writer
	tty   bool
	drawn int       // lines of the block that are on the screen
	last  time.Time // of the last progress line, without a terminal
	block []string
}

func newDemoView(out io.Writer) *demoView { return &demoView{out: out, tty: terminal(out)} }

// terminal reports whether out is one that understands cursor movements.
func terminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (v *demoView) observe(e demo.Event) {
	switch e.Type {
	case demo.Progressed:
		v.progress(e)
		return
	case demo.WorkerReady:
		return // the block shows it
	}
	v.erase()
	switch e.Type {
	case demo.Account:
		v.block = nil
		v.account(e.Result)
		if e.Runs != nil {
			fmt.Fprintf(v.out, "  the replay from offset zero: %d records read again, %d run again\n", e.Count, *e.Runs)
		}
	case demo.Finished:
		v.block = nil
		fmt.Fprintf(v.out, "\n%s\n", v.bold(e.Text))
	case demo.Letters:
		v.line(e, v.bold(e.Text))
		for _, g := range e.Letters {
			fmt.Fprintf(v.out, "         %3d x %s, %s after %s: %s\n", g.Count, g.Kind, g.Disposition, plural(g.Attempts, "attempt"), clip(g.Text, 70))
		}
	case demo.Chapter, demo.Replayed, demo.Sabotaged, demo.StoodStill:
		v.line(e, v.bold(e.Text))
	default:
		v.line(e, e.Text)
	}
	v.draw()
}

func (v *demoView) line(e demo.Event, text string) {
	fmt.Fprintf(v.out, "%s  %s\n", v.dim(fmt.Sprintf("%6.1fs", e.Elapsed)), text)
}

// progress is the block on a terminal, else a line every five seconds.
func (v *demoView) progress(e demo.Event) {
	if v.tty {
		v.block = progressBlock(e.Progress)
		v.erase()
		v.draw()
		return
	}
	if e.Time.Sub(v.last) < 5*time.Second {
		return
	}
	v.last = e.Time
	p := e.Progress
	v.line(e, fmt.Sprintf("%d of %d jobs enqueued, %d done, %d to be read, %s, %s", p.Produced, p.Planned, p.Done, p.Unread, waiting(p), plural(p.Letters, "letter")))
}

func waiting(p *demo.Progress) string {
	parts := make([]string, 0, len(p.Tiers))
	for _, t := range p.Tiers {
		parts = append(parts, fmt.Sprintf("%s %d", t.Tier, t.Waiting))
	}
	return fmt.Sprintf("%d in retry (%s)", p.Waiting(), strings.Join(parts, ", "))
}

func progressBlock(p *demo.Progress) []string {
	lines := []string{"",
		fmt.Sprintf("  %-15s%s %4d of %d done", "jobs", bar(p.Done, p.Produced, p.Planned, 30), p.Done, p.Planned)}
	for _, k := range p.Kinds {
		lines = append(lines, fmt.Sprintf("  %-15s%s %4d of %-5d%-12s%3d failures", k.Kind, bar(k.Done, k.Produced, k.Planned, 20), k.Done, k.Planned,
			strings.ReplaceAll(k.Order, "_", " "), k.Failures))
	}
	lines = append(lines, fmt.Sprintf("  %d to be read, %s, %s", p.Unread, waiting(p), plural(p.Letters, "letter")))
	for _, w := range p.Workers {
		l := fmt.Sprintf("  %-10s pid %-8d release %d  %-9s", w.Worker, w.PID, w.Release, w.State)
		if w.State == "working" || w.State == "draining" {
			l += fmt.Sprintf("%d tasks  %2d running", w.Tasks, w.Running)
		}
		lines = append(lines, fmt.Sprintf("%-62s%5d attempts", l, w.Attempts))
	}
	return lines
}

// bar shows what is done, and lighter what is enqueued, of all.
func bar(done, begun, all, width int) string {
	if all == 0 {
		all = 1
	}
	d := min(done*width/all, width)
	b := min(max(begun*width/all-d, 0), width-d)
	return strings.Repeat("█", d) + strings.Repeat("▒", b) + strings.Repeat("░", width-d-b)
}

func (v *demoView) erase() {
	if v.drawn > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA\x1b[J", v.drawn)
		v.drawn = 0
	}
}

func (v *demoView) draw() {
	if !v.tty {
		return
	}
	for _, l := range v.block {
		fmt.Fprintln(v.out, l)
	}
	v.drawn = len(v.block)
}

func (v *demoView) bold(s string) string { return v.style("1", s) }
func (v *demoView) dim(s string) string  { return v.style("2", s) }

func (v *demoView) style(code, s string) string {
	if !v.tty {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// accountColumns are shown even when they are zero; the others of the account only where they are not.
var accountColumns = []checker.Class{checker.Done, checker.Moved, checker.Waiting, checker.Dead}

var rareColumns = []checker.Class{checker.Discarded, checker.Expired, checker.Duplicate, checker.Stale, checker.Conflict}

// account prints what became of every record, what it took, and what was wrong.
func (v *demoView) account(r *checker.Result) {
	fmt.Fprintf(v.out, "\n%s\n", v.bold("The account: what became of each record of each topic (one row a topic, each offset counted once)"))
	columns := append([]checker.Class{}, accountColumns...)
	for _, c := range rareColumns {
		for _, row := range r.Account.Rows {
			if row.Classes[c] > 0 {
				columns = append(columns, c)
				break
			}
		}
	}
	columns = append(columns, checker.Lost)
	w := tabwriter.NewWriter(v.out, 2, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\ttopic\trecords\t")
	for _, c := range columns {
		fmt.Fprintf(w, "%s\t", c)
	}
	fmt.Fprintln(w, "doubled\t")
	for _, row := range r.Account.Rows {
		fmt.Fprintf(w, "\t%s\t%d\t", row.Topic, row.Records)
		for _, c := range columns {
			fmt.Fprintf(w, "%d\t", row.Classes[c])
		}
		fmt.Fprintf(w, "%d\t\n", row.Doubled)
	}
	w.Flush()
	v.balance(&r.Account)
	v.facts(r)
	for i, broken := range r.Violations {
		if i == 10 {
			fmt.Fprintf(v.out, "  ... and %d more\n", len(r.Violations)-i)
			break
		}
		if i == 0 {
			fmt.Fprintf(v.out, "\n%s\n", v.bold(fmt.Sprintf("%s of what was promised:", plural(len(r.Violations), "violation"))))
		}
		fmt.Fprintf(v.out, "  %s\n", broken)
	}
}

// balance writes the sum out.
func (v *demoView) balance(a *checker.Account) {
	classes := append([]checker.Class{checker.Done, checker.Waiting, checker.Dead}, rareColumns...)
	parts := make([]string, 0, len(classes))
	sum := 0
	for _, c := range classes {
		sum += a.Jobs.Classes[c]
		parts = append(parts, fmt.Sprintf("%d %s", a.Jobs.Classes[c], c))
	}
	sign := "="
	if sum != a.Jobs.Records {
		sign = "is not"
	}
	fmt.Fprintf(v.out, "\n  %d read %s %s\n", a.Jobs.Records, sign, strings.Join(parts, " + "))
	if n := a.Jobs.Classes[checker.Lost]; n > 0 {
		fmt.Fprintf(v.out, "  lost: %d\n", n)
	}
	if a.Jobs.Doubled > 0 {
		fmt.Fprintf(v.out, "  doubled: %d\n", a.Jobs.Doubled)
	}
}

func (v *demoView) facts(r *checker.Result) {
	s := &r.Stats
	fmt.Fprintf(v.out, "  %s for %s: %d failed, %d were cut off by the crash; %d effects, %d of them repeated\n",
		plural(s.Calls, "attempt"), plural(s.Jobs, "job"), s.Calls-s.Results["done"]-s.Unreturned, s.Unreturned, s.Effects, s.Repeated)
	for _, f := range s.Faults {
		if f.Fault == "kill" {
			fmt.Fprintf(v.out, "  the crash of %s cut off %s and made %s run again\n", f.Target, plural(f.Interrupted, "attempt"), plural(f.Reruns, "finished attempt"))
		}
	}
	if r.OK() {
		fmt.Fprintf(v.out, "  %s\n", v.bold("Every rule holds: nothing lost, nothing doubled, order kept, nothing early."))
	}
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// clip is the first line of s, cut to n runes.
func clip(s string, n int) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
