package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/dedupe"
)

// app is what all commands share: the streams and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	engine   func() dedupe.Store // the fold that receipt verify is about

	json    bool
	file    string
	brokers []string
	group   string
	topic   string
	tls     connect.TLS
	sasl    connect.SASL
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "waybill",
		Short: "Jobs from Kafka topics: set up, look at and repair groups of workers",
		Long: `Waybill runs jobs that arrive on Kafka topics. This command sets up what a group of workers needs,
shows what its jobs are doing, and puts dead letters back to work.

Where the cluster is comes from --brokers, or from a settings file (--config, or WAYBILL_CONFIG) and the
environment (WAYBILL_BROKERS, WAYBILL_SASL_PASSWORD, WAYBILL_CONSUMER_GROUP, ...), which are the same that
the workers read. A flag wins over the environment, the environment over the file.`,
		Example: `  waybill demo
  waybill setup plan --brokers localhost:9092 --group mailer --topic emails --partitions 12
  waybill group show --config waybill.yaml`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	f := root.PersistentFlags()
	f.SortFlags = false
	f.StringSliceVar(&a.brokers, "brokers", nil, "addresses to begin with, host:port, separated by commas")
	f.StringVar(&a.group, "group", "", "the consumer group")
	f.StringVar(&a.topic, "topic", "", "the job topic")
	f.StringVar(&a.file, "config", "", "settings file (YAML)")
	f.BoolVar(&a.json, "json", false, "print JSON: one value, or a line for each where there can be many")
	f.BoolVar(&a.tls.Enabled, "tls", false, "encrypt connections")
	f.StringVar(&a.tls.CAFile, "tls-ca", "", "PEM file of the authorities that sign the brokers' certificates")
	f.StringVar(&a.tls.CertFile, "tls-cert", "", "PEM file of this client's certificate")
	f.StringVar(&a.tls.KeyFile, "tls-key", "", "PEM file of this client's key")
	f.StringVar(&a.tls.ServerName, "tls-server-name", "", "name the brokers' certificates must bear")
	f.StringVar(&a.sasl.Mechanism, "sasl-mechanism", "", "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	f.StringVar(&a.sasl.Username, "sasl-username", "", "user name")
	f.StringVar(&a.sasl.PasswordFile, "sasl-password-file", "", "file of the password (or set WAYBILL_SASL_PASSWORD)")
	root.AddCommand(demoCommand(a), setupCommand(a), jobCommand(a), groupCommand(a), taskCommand(a), retryCommand(a), dlqCommand(a), receiptCommand(a), benchCommand(a), demoWorkerCommand(a), benchSideCommand(a))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())
	})
	return root
}

// version is the module's, as the Go toolchain recorded it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "development"
	}
	return info.Main.Version
}

// noun groups verbs: alone it prints its help.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(verbs...)
	return c
}

// printJSON prints one value on one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// one asks for exactly one argument, and says what it is.
func one(what, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("give one %s, such as %s; see `%s --help`", what, example, c.CommandPath())
		}
		return nil
	}
}

// show prints a table for people, or v as JSON.
func (a *app) show(v any, people func(*table)) error {
	if a.json {
		return a.printJSON(v)
	}
	t := newTable(a.out)
	people(t)
	return t.flush()
}

// say writes a message for people to standard error.
func (a *app) say(format string, v ...any) { fmt.Fprintf(a.err, format+"\n", v...) }
