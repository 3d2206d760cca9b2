package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/bench"
)

// sideVerb is the hidden command that turns this program into one side of a measurement.
const sideVerb = "bench-side"

func benchCommand(a *app) *cobra.Command {
	var o bench.Options
	var check bool
	c := &cobra.Command{
		Use:   "bench CASE...",
		Short: "Measure Waybill on a Kafka beside a plain loop on the same records",
		Long: `bench measures Waybill on a cluster of yours, as a ratio to a plain franz-go consumer group loop that reads the same
records in the same run: no absolute rate means anything on another machine.

The cases:
` + caseList() + `
Each row of a case is the median of five rounds, printed with the lowest and the highest of them (a distribution-free
confidence interval of 93.75%). A round is a raw side and a Waybill side, one after the other, each in a process of its own
that works for at least ten seconds; processor time is that of the process. Topics (8 partitions, 200 B values under the
usual headers, keys by Zipf with s=1.1 over 10,000 keys) have names of their own that begin with waybill-bench- and are
deleted at the end, with the groups. A case takes minutes and up to a few GB of the brokers' disks: run it where nothing
else runs, and nobody minds.

With --json each row is an object on a line; "figure" is what was asked of it and "ok" whether it was reached. With --check
the exit status is 1 when a row is below its figure. What is short of the method (--rounds, --seconds, --jobs, --profile)
says so in "below_method" and is refused by --check.

A Kafka to measure on: go run ./internal/realkafka/cmd/realkafka -fast`,
		Example: `  waybill bench noop --brokers localhost:9092
  waybill bench noop --row effectively_once --json --check --brokers localhost:9092
  waybill bench noop --rounds 1 --seconds 2 --brokers localhost:9092`,
		RunE: func(c *cobra.Command, args []string) error { return a.bench(c, args, o, check) },
	}
	f := c.Flags()
	f.BoolVar(&check, "check", false, "exit with status 1 when a row is below its figure")
	f.StringVar(&o.Row, "row", "", "measure only the row of that name")
	f.IntVar(&o.Rounds, "rounds", bench.Rounds, "how many rounds are measured")
	f.Float64Var(&o.Seconds, "seconds", bench.Seconds, "how long a side works at least")
	f.IntVar(&o.Jobs, "jobs", 0, "how many jobs a topic is loaded with (default: what the case says)")
	f.StringVar(&o.Profile, "profile", "", "write a processor profile of each side into this folder")
	return c
}

func caseList() string {
	var b strings.Builder
	for _, c := range bench.Cases() {
		fmt.Fprintf(&b, "  %-8s %s\n", c.Name, c.Measures)
		if len(c.Rows) > 1 {
			fmt.Fprintf(&b, "  %-8s rows: %s\n", "", strings.Join(c.Rows, ", "))
		}
	}
	return b.String()
}

func (a *app) bench(c *cobra.Command, names []string, o bench.Options, check bool) error {
	if len(names) == 0 {
		return errors.New("name a case; `waybill bench --help` lists them")
	}
	cases, err := bench.Lookup(names, o.Row)
	if err != nil {
		return err
	}
	if below := o.Below(); check && below != "" {
		return fmt.Errorf("--check holds measurements against figures, and these would be below the method: %s", below)
	}
	t, err := a.target(needs{})
	if err != nil {
		return fmt.Errorf("%w\nbench needs a running Kafka; to start one: go run ./internal/realkafka/cmd/realkafka -fast", err)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the sides of a measurement are this program started again, and its path is not known: %w", err)
	}
	o.Connection, o.Side = settings(t.cfg), []string{program, sideVerb}
	o.Say = func(line string) { a.say("%s", line) }
	missed := 0
	o.Report = func(r *bench.Row) error {
		if !r.OK() {
			missed++
		}
		return a.show(r, func(t *table) { benchRow(t, r) })
	}
	if err := bench.Run(c.Context(), cases, o); err != nil {
		return t.unreached(err)
	}
	if check && missed > 0 {
		a.say("waybill: %d rows are below their figures", missed)
		return exitStatus(1)
	}
	return nil
}

// benchRow shows one row to people: a line for each value, its interval beside it.
func benchRow(t *table, r *bench.Row) {
	t.note("%s", strings.TrimSuffix(r.Case+" "+r.Name, " "))
	for _, v := range r.Values {
		low, high := r.Value(v.Name+"_low"), r.Value(v.Name+"_high")
		switch {
		case strings.HasSuffix(v.Name, "_low") || strings.HasSuffix(v.Name, "_high"):
		case v.Text != "":
			t.row("  "+v.Name, v.Text)
		case low == low: // not NaN: there is an interval
			t.row("  "+v.Name, bench.Show(v.Number), bench.Show(low)+" to "+bench.Show(high))
		default:
			t.row("  "+v.Name, bench.Show(v.Number))
		}
	}
	if r.Below != "" {
		t.row("  below the method", r.Below)
	}
	if asked := r.Asked(); asked != "" {
		verdict := "reached"
		if !r.OK() {
			verdict = "MISSED"
		}
		t.row("  figure", asked, verdict)
	}
}

func benchSideCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: sideVerb, Hidden: true, Args: cobra.NoArgs,
		Short: "One side of a measurement; it is told on standard input what to do",
		RunE:  func(c *cobra.Command, _ []string) error { return bench.Serve(c.Context(), a.in, a.out) },
	}
}
