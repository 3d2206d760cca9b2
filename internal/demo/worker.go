package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/ledger"
)

// The group's clocks: short, so that a takeover after SIGKILL fits into the story. 6 s is the least a broker accepts.
const (
	session   = 6 * time.Second
	rebalance = 12 * time.Second
	heartbeat = 500 * time.Millisecond
	drain     = 3 * time.Second
)

var tiers = []time.Duration{time.Second, 3 * time.Second, 8 * time.Second}

// assignment is the first line of a worker's standard input: it may hold a password, so it is no argument and no variable
// of the environment.
type assignment struct {
	Name       string           `json:"name"`
	Release    int              `json:"release"`
	Topic      string           `json:"topic"`
	Group      string           `json:"group"`
	Connection connect.Settings `json:"connection"`
	Password   string           `json:"password"` // which Connection leaves out
	Ledger     string           `json:"ledger"`
	Receipts   string           `json:"receipts"` // directory of its seat
	Log        string           `json:"log"`
	Twice      string           `json:"twice"`
}

// status is a line of a worker's standard output.
type status struct {
	Ready    bool `json:"ready"`
	Tasks    int  `json:"tasks"`
	Running  int  `json:"running"`
	Reported bool `json:"reported"` // it was asked to report, and has
}

// What a worker is told on its standard input after its assignment.
const (
	stopLine   = "stop"   // SIGTERM for systems without signals
	reportLine = "report" // write to the log what every task waits for, and what every goroutine does
)

// Work is the whole life of a worker process: it reads its assignment from in, says to out how it does, and returns when it
// was told to stop (SIGTERM) and has drained. When in ends, the parent is gone, and so is this process at once.
func Work(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("a demo worker is started by `waybill demo`, which tells it on standard input what to do: %w", err)
	}
	var a assignment
	if err := json.Unmarshal(first, &a); err != nil {
		return fmt.Errorf("assignment: %w", err)
	}
	a.Connection.SASL.Password = a.Password
	log, done, err := openLog(a.Log)
	if err != nil {
		return err
	}
	reports := make(chan struct{}, 1)
	go obey(lines, stop, reports) // not joined: it ends with the process it can end

	defer done()
	book, err := ledger.Open(a.Ledger, a.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	c, err := consumer.New(consumer.Config{
		Brokers: a.Connection.Brokers, ClientID: a.Connection.ClientID, TLS: a.Connection.TLS, SASL: a.Connection.SASL,
		Group: a.Group, Topics: []string{a.Topic}, Mux: (&shop{sink: book, release: a.Release}).mux(a.Twice),
		Tiers: tiers, Workers: 8, Instance: a.Name, Logger: log, Dir: a.Receipts,
		SessionTimeout: session, RebalanceTimeout: rebalance, Heartbeat: heartbeat, DrainTimeout: drain,
	})
	if err != nil {
		return err
	}
	return run(ctx, c, &voice{c: c, out: json.NewEncoder(out), log: log, reports: reports})
}

// obey reads the rest of standard input.
func obey(lines *bufio.Reader, stop func(), reports chan<- struct{}) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			os.Exit(3) // the parent is gone; whoever reads the ledger is gone with it
		}
		switch line {
		case stopLine + "\n":
			stop()
		case reportLine + "\n":
			select {
			case reports <- struct{}{}:
			default: // one is under way
			}
		}
	}
}

// run runs the consumer and says how it does.
func run(ctx context.Context, c *consumer.Consumer, v *voice) error {
	over, end := context.WithCancel(context.Background())
	var saying sync.WaitGroup
	saying.Add(1)
	go func() { defer saying.Done(); v.say(over) }()
	err := c.Run(ctx)
	end()
	saying.Wait()
	return err
}

// voice tells the parent how a worker does. Its goroutine owns it.
type voice struct {
	c        *consumer.Consumer
	out      *json.Encoder
	log      *zap.Logger
	reports  <-chan struct{}
	reported bool
}

func (v *voice) say(ctx context.Context) {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.reports:
			v.report()
		case <-every.C:
		}
		s := status{Ready: v.c.Ready() == nil, Reported: v.reported}
		if s.Ready {
			all := v.c.Status()
			s.Tasks = len(all.Tasks)
			for _, p := range all.Pools {
				s.Running += p.Running
			}
		}
		if v.out.Encode(s) != nil {
			return // nobody reads any more
		}
	}
}

// report leaves in the log what somebody needs who asks later why a worker did not get on.
func (v *voice) report() {
	all := v.c.Status()
	for i := range all.Tasks {
		v.log.Info("a task", zap.Any("status", all.Tasks[i]))
	}
	all.Tasks = nil
	v.log.Info("the worker", zap.Any("status", all))
	var stacks strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2) // 2: with how long each has waited; a Builder takes everything
	v.log.Info("the goroutines\n" + stacks.String())
	v.reported = true
}

// openLog logs to a file: the terminal belongs to the story.
func openLog(path string) (*zap.Logger, func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log: %w", err)
	}
	enc := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	log := zap.New(zapcore.NewCore(enc, zapcore.Lock(f), zap.InfoLevel))
	return log, func() { _ = f.Close() }, nil
}
