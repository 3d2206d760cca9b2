package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/ledger"
)

// assignment is the first line of a worker's standard input.
type assignment struct {
	Name    string   `json:"name"`
	Brokers []string `json:"brokers"`
	Topic   string   `json:"topic"`
	Group   string   `json:"group"`
	Ledger  string   `json:"ledger"`
	Log     string   `json:"log"`
}

// status is a line of a worker's standard output.
type status struct {
	Ready bool `json:"ready"`
	Tasks int  `json:"tasks"` // of which all say they run
}

// The group's clocks. 6 s is the shortest session that a broker takes by default.
const (
	session   = 6 * time.Second
	heartbeat = 500 * time.Millisecond
	rebalance = 15 * time.Second
	unknown   = 4 * time.Second
	perWorker = 32
)

// orphaned is the exit status of a worker whose parent is gone.
const orphaned = 3

var tiers = []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second}

// work is the whole life of a worker process: until SIGTERM, or until its parent is gone.
func work(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer stop()
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var a assignment
	if err := json.Unmarshal(first, &a); err != nil {
		return err
	}
	go func() { // not joined: it ends with the process, which it ends when the parent is gone
		_, _ = io.Copy(io.Discard, lines)
		os.Exit(orphaned)
	}()
	book, err := ledger.Open(a.Ledger, a.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	logFile, err := os.Create(a.Log)
	if err != nil {
		return err
	}
	defer logFile.Close()
	log := zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.Lock(logFile), zap.InfoLevel))
	c, err := consumer.New(consumer.Config{Brokers: a.Brokers, Group: a.Group, Mux: mux(book), Instance: a.Name, Logger: log,
		Foreign: []consumer.Topic{{Name: a.Topic, DefaultKind: "e2e.free"}}, Tiers: tiers, Setup: consumer.Create,
		Workers: perWorker, Classes: map[string]int{"loose": perWorker / 2}, KeepUnknown: unknown,
		SessionTimeout: session, Heartbeat: heartbeat, RebalanceTimeout: rebalance, DrainTimeout: drain})
	if err != nil {
		return err
	}
	over, end := context.WithCancel(context.Background())
	var saying sync.WaitGroup
	saying.Go(func() { say(over, c, json.NewEncoder(out)) })
	err = c.Run(ctx)
	end()
	saying.Wait()
	return err
}

func say(ctx context.Context, c *consumer.Consumer, out *json.Encoder) {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		s := status{Ready: c.Ready() == nil}
		for _, t := range c.Status().Tasks {
			if t.Phase == "running" {
				s.Tasks++
			}
		}
		if out.Encode(s) != nil {
			return
		}
	}
}
