package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
)

// app is what all commands share: the streams and the global flags.
type app struct {
	in       io.Reader
	out, err io.Writer

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
	root.AddCommand(demoCommand(a), demoWorkerCommand(a))
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

// config is what file, environment and flags say, in rising order of precedence.
func (a *app) config() (consumer.Config, error) {
	c, err := consumer.Load(a.file)
	if err != nil {
		return c, err
	}
	if len(a.brokers) > 0 {
		c.Brokers = a.brokers
	}
	if a.group != "" {
		c.Group = a.group
	}
	if a.topic != "" {
		c.Topics, c.Foreign = []string{a.topic}, nil
	}
	a.secure(&c)
	return c, nil
}

// secure lays the flags about TLS and SASL over c.
func (a *app) secure(c *consumer.Config) {
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	if a.tls != (connect.TLS{}) {
		c.TLS.Enabled = true // naming a certificate asks for it
	}
	set(&c.TLS.CAFile, a.tls.CAFile)
	set(&c.TLS.CertFile, a.tls.CertFile)
	set(&c.TLS.KeyFile, a.tls.KeyFile)
	set(&c.TLS.ServerName, a.tls.ServerName)
	set(&c.SASL.Mechanism, a.sasl.Mechanism)
	set(&c.SASL.Username, a.sasl.Username)
	if a.sasl.PasswordFile != "" {
		c.SASL.Password, c.SASL.PasswordFile = "", a.sasl.PasswordFile
	}
}

func settings(c consumer.Config) connect.Settings {
	return connect.Settings{Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, SASL: c.SASL}
}

// target is one job topic of one group on one cluster: what most commands are about.
type target struct {
	cfg    consumer.Config
	group  string
	topics []string
}

// target requires a cluster and a group; the topics are those of the flag or of the settings.
func (a *app) target(topics bool) (target, error) {
	c, err := a.config()
	if err != nil {
		return target{}, err
	}
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("no broker is named; give --brokers host:port, or set WAYBILL_BROKERS"))
	} else {
		errs = append(errs, settings(c).Validate())
	}
	if c.Group == "" {
		errs = append(errs, errors.New("no group is named; give --group, or set WAYBILL_CONSUMER_GROUP"))
	}
	t := target{cfg: c, group: c.Group, topics: slices.Clone(c.Topics)}
	for _, f := range c.Foreign {
		t.topics = append(t.topics, f.Name)
	}
	if topics && len(t.topics) == 0 {
		errs = append(errs, errors.New("no job topic is named; give --topic, or set WAYBILL_CONSUMER_TOPICS"))
	}
	return t, errors.Join(errs...)
}

// printJSON prints one value on one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say writes a message for people to standard error.
func (a *app) say(format string, v ...any) { fmt.Fprintf(a.err, format+"\n", v...) }
