// Command bench measures Waybill beside other libraries on the same topics, and writes docs/benchmarks.md with its plot:
//
//	go -C bench run . -out ../docs
//
// Without -brokers it starts an Apache Kafka of its own (Java 17 and Maven needed). A whole run takes about forty minutes;
// with -for it stops after a while, and the next call goes on where it ended: every side that was measured is a line of
// the results file. -render only writes the page again. What is measured, and how, stands on the page itself.
//
// Where both were measured, a line of JSON on standard output holds Waybill with receipts against Watermill's router, as `waybill bench --json`
// does; with -check the exit status is 1 when that is below its figure, or below the method. It alone, in about three minutes:
//
//	go -C bench run . -cases noop -peers waybill-effectively-once,watermill -out DIR -check
//
// It is a module of its own, so that Waybill's own module depends on none of those libraries. Needs cgo.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/bench/internal/page"
	"github.com/waybill-dev/waybill/bench/internal/side"
	"github.com/waybill-dev/waybill/bench/internal/suite"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == side.Arg {
		return side.Serve(ctx, os.Stdin, os.Stdout)
	}
	var o suite.Options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	brokers := fs.String("brokers", "", "host:port,... of a plaintext cluster where nothing else runs; empty: start one")
	cases := fs.String("cases", "noop,work,latency", "what is measured")
	only := fs.String("peers", "", "measure only these, by comma")
	kafka := fs.String("kafka", "", "version of the cluster of -brokers, for the page")
	out := fs.String("out", "../docs", "folder of benchmarks.md, benchmarks.svg and the results, benchmarks.jsonl")
	limit := fs.Duration("for", 0, "begin no side after that long; the next call goes on (0: to the end)")
	render := fs.Bool("render", false, "measure nothing and write the page")
	check := fs.Bool("check", false, "exit with status 1 when Waybill with receipts is below its figure beside Watermill")
	fs.IntVar(&o.Rounds, "rounds", 5, "how many rounds there are to be in the results")
	fs.Float64Var(&o.Seconds, "seconds", 10, "how long a side works at least")
	fs.IntVar(&o.Jobs, "jobs", 0, "how many jobs a topic has (0: what the case says)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o.Cases, o.Results = split(*cases), filepath.Join(*out, "benchmarks.jsonl")
	o.Peers = split(*only)
	o.Say = func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
	if !*render {
		if *limit > 0 {
			o.Until = time.Now().Add(*limit)
		}
		if err := measure(ctx, o, split(*brokers), *kafka); err != nil {
			return err
		}
	}
	results, err := suite.ReadResults(o.Results)
	if err != nil {
		return err
	}
	if err := page.Write(*out, results); err != nil {
		return err
	}
	return figure(os.Stdout, results, *check)
}

// figure writes the row that something is asked of, and holds it against that.
func figure(out io.Writer, results []suite.Result, check bool) error {
	row, ok := page.Receipts(results)
	if ok {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false) // ">=" is to be read
		if err := e.Encode(row); err != nil {
			return err
		}
	}
	switch {
	case !check:
		return nil
	case !ok:
		return errors.New("-check: no round of noop has both Waybill with receipts and Watermill")
	case row.Below != "":
		return fmt.Errorf("-check: below the method: %s", row.Below)
	case !row.OK():
		return fmt.Errorf("-check: below the figure: %s", row.Asked())
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// measure runs what is missing on the cluster named or on one of its own.
func measure(ctx context.Context, o suite.Options, brokers []string, kafka string) (err error) {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	o.Side, o.Brokers = []string{program, side.Arg}, brokers
	if len(brokers) == 0 {
		c, err := realkafka.Start(ctx, realkafka.Options{Fast: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		o.Brokers, kafka = c.Addrs(), realkafka.Version
	}
	o.Setting = setting(ctx, kafka)
	return suite.Run(ctx, o)
}

// setting describes this machine, by its kind and never by name. What cannot be found out is left empty.
func setting(ctx context.Context, kafka string) suite.Setting {
	s := suite.Setting{Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Kafka: kafka}
	if text, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		s.Engine = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _ := strconv.Atoi(strings.TrimSuffix(after(string(text), "MemTotal:"), " kB"))
		s.Memory = (kib + 1<<19) >> 20
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		s.CPU = strings.TrimPrefix(after(string(text), "model name"), ": ")
	}
	return s
}

// after is the rest of the first line that begins with the name.
func after(text, name string) string {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
