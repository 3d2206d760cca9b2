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
	Log        string           `json:"log"`
	Twice      string           `json:"twice"`
}

// status is a line of a worker's standard output.
type status struct {
	Ready   bool `json:"ready"`
	Tasks   int  `json:"tasks"`
	Running int  `json:"running"`
}

// stopLine on a worker's standard input is SIGTERM for systems without signals.
const stopLine = "stop"

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
	go obey(lines, stop) // not joined: it ends with the process it can end

	log, done, err := openLog(a.Log)
	if err != nil {
		return err
	}
	defer done()
	book, err := ledger.Open(a.Ledger, a.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	c, err := consumer.New(consumer.Config{
		Brokers: a.Connection.Brokers, ClientID: a.Connection.ClientID, TLS: a.Connection.TLS, SASL: a.Connection.SASL,
		Group: a.Group, Topics: []string{a.Topic}, Mux: (&shop{sink: book, release: a.Release}).mux(a.Twice),
		Tiers: tiers, Workers: 8, Instance: a.Name, Logger: log,
		SessionTimeout: session, RebalanceTimeout: rebalance, Heartbeat: heartbeat, DrainTimeout: drain,
	})
	if err != nil {
		return err
	}
	return run(ctx, c, out)
}

// obey reads the rest of standard input.
func obey(lines *bufio.Reader, stop func()) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			os.Exit(3) // the parent is gone; whoever reads the ledger is gone with it
		}
		if line == stopLine+"\n" {
			stop()
		}
	}
}

// run runs the consumer and says how it does.
func run(ctx context.Context, c *consumer.Consumer, out io.Writer) error {
	over, end := context.WithCancel(context.Background())
	var saying sync.WaitGroup
	saying.Add(1)
	go func() { defer saying.Done(); say(over, c, out) }()
	err := c.Run(ctx)
	end()
	saying.Wait()
	return err
}

func say(ctx context.Context, c *consumer.Consumer, out io.Writer) {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	enc := json.NewEncoder(out)
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			s := status{Ready: c.Ready() == nil}
			if s.Ready {
				all := c.Status()
				s.Tasks = len(all.Tasks)
				for _, p := range all.Pools {
					s.Running += p.Running
				}
			}
			if enc.Encode(s) != nil {
				return // nobody reads any more
			}
		}
	}
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
