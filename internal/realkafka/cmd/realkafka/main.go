// Command realkafka runs a throw-away Apache Kafka for people:
//
//	go run ./internal/realkafka/cmd/realkafka -brokers 3 -sasl SCRAM-SHA-256 -acl
//
// It prints one line with the addresses and credentials on standard output, then obeys
// the commands on standard input ("help" lists them) until SIGINT or SIGTERM, when it
// kills the brokers and removes the data unless -dir was given. Under "go run", signals
// go to the command itself, not to the go tool (Ctrl-C reaches both). What it may start, and
// what it never does, is package realkafka's matter. Everything else it has to say goes
// to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/waybill-dev/waybill/internal/realkafka"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2) // the flag package has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run starts the cluster and serves until ctx ends, which is success.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	c, err := realkafka.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if _, err := fmt.Fprintln(stdout, summary(c, o)); err != nil {
		return err
	}
	console{cluster: c, brokers: len(c.Addrs()), out: stderr}.serve(ctx, stdin)
	return nil
}

func parseFlags(args []string, stderr io.Writer) (realkafka.Options, error) {
	var o realkafka.Options
	var verbose bool
	fs := flag.NewFlagSet("realkafka", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.Brokers, "brokers", 1, "number of brokers, 1 or 3")
	fs.StringVar(&o.SASL, "sasl", "", "PLAIN or SCRAM-SHA-256; empty for no authentication")
	fs.BoolVar(&o.ACLs, "acl", false, "everybody but the administrator starts without rights; needs -sasl")
	fs.BoolVar(&o.TLS, "tls", false, "encrypt the client listener")
	fs.StringVar(&o.Dir, "dir", "", "a new folder for data, kept at the end; empty for a temporary one")
	fs.IntVar(&o.HeapMiB, "heap", 0, "Java heap of a broker in MiB; 0 for the default")
	fs.BoolVar(&o.Fast, "fast", false, "settings for benchmarks: 1 GiB of heap, Java's default compiler")
	fs.BoolVar(&verbose, "v", false, "show the brokers' log on standard error")
	fs.Func("user", "name:password of a further user, repeatable; needs -sasl", func(v string) error {
		name, password, ok := strings.Cut(v, ":")
		if !ok {
			return errors.New("want name:password")
		}
		if o.Users == nil {
			o.Users = map[string]string{}
		}
		o.Users[name] = password
		return nil
	})
	fs.Func("property", "key=value for every broker's server.properties, repeatable", func(v string) error {
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			return errors.New("want key=value")
		}
		if o.Properties == nil {
			o.Properties = map[string]string{}
		}
		o.Properties[key] = value
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return o, errors.Join(flag.ErrHelp, err)
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "realkafka: unexpected argument %q: there are only flags\n", fs.Arg(0))
		return o, flag.ErrHelp
	}
	if verbose {
		o.Log = stderr
	}
	return o, nil
}

// summary is the one line scripts read: words of the form key=value.
func summary(c *realkafka.Cluster, o realkafka.Options) string {
	words := []string{"brokers=" + strings.Join(c.Addrs(), ",")}
	if o.SASL != "" {
		words = append(words, "sasl="+o.SASL, "user="+realkafka.AdminUser, "password="+c.AdminPassword())
	}
	if o.TLS {
		words = append(words, "ca="+c.CAFile())
	}
	return strings.Join(append(words, "dir="+c.Dir()), " ")
}
