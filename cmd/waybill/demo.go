package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/internal/demo"
)

// workerVerb is the hidden command that turns this program into a worker of the demo.
const workerVerb = "demo-worker"

func demoCommand(a *app) *cobra.Command {
	var o demo.Options
	var sabotage string
	c := &cobra.Command{
		Use:   "demo",
		Short: "A minute with a broker, three workers, a crash, a fix and an account of every job",
		Long: `demo tells a story in about a minute, with nothing installed but Go. A broker runs inside this process and three
workers as processes of their own. They run 1200 jobs of three kinds: charges in order by customer, e-mails in any
order, reports one at a time in each partition. Some fail and recover through the retry tiers; some cannot succeed
and are filed as dead letters. One worker is killed with SIGKILL and replaced. Then a release with a fix is rolled
out and the letters are redriven.

At the end a checker that shares no code with the engine holds what the handlers saw (each worker's ledger) against
what stands in the topics, and prints what became of every record. The exit status is 1 unless everything is
accounted for exactly once. --sabotage plants a fault behind the engine's back, to show that the checker would tell:
with "drop" somebody commits past a job that nobody has read, with "double" a handler is called twice.

With --brokers (or --config) the same story runs on your cluster, on topics and a group with a random suffix, which
are deleted at the end unless --keep is given.`,
		Example: `  waybill demo
  waybill demo --sabotage drop
  waybill demo --json | jq -c 'select(.event == "worker_ended")'
  waybill demo --brokers localhost:9092`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Sabotage = demo.Sabotage(sabotage)
			return a.demo(c, o)
		},
	}
	f := c.Flags()
	f.StringVar(&sabotage, "sabotage", "", "plant a fault: drop or double")
	f.BoolVar(&o.Keep, "keep", false, "leave the topics on a cluster given by --brokers")
	f.StringVar(&o.Dir, "dir", "", "keep ledgers and worker logs in this folder")
	f.IntVar(&o.Jobs, "jobs", 1200, "how many jobs are enqueued")
	f.DurationVar(&o.Over, "over", 30*time.Second, "how long enqueueing them takes")
	return c
}

func (a *app) demo(c *cobra.Command, o demo.Options) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the workers are this program started again, and its path is not known: %w", err)
	}
	o.Worker = []string{program, workerVerb}
	if len(a.brokers) > 0 || a.file != "" { // a cluster must be asked for: the environment alone says only how to reach it
		cfg, err := a.config()
		if err != nil {
			return err
		}
		o.Connection = settings(cfg)
	}
	var broken error
	if a.json {
		o.Observe = func(e demo.Event) { broken = errors.Join(broken, a.printJSON(e)) }
	} else {
		o.Observe = newDemoView(a.out).observe
	}
	_, err = demo.Run(c.Context(), o)
	if errors.Is(err, demo.ErrUnbalanced) {
		a.say("waybill: %v", err)
		return exitStatus(1)
	}
	return errors.Join(err, broken)
}

func demoWorkerCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: workerVerb, Hidden: true, Args: cobra.NoArgs,
		Short: "A worker of the demo; it is told on standard input what to do",
		RunE:  func(c *cobra.Command, _ []string) error { return demo.Work(c.Context(), a.in, a.out) },
	}
}
