// Command webhooks takes webhook deliveries over HTTP or from a file, keeps each as a job in Kafka, and relays it to
// subscribers' URLs with a signature: an example of a whole service made with Waybill. README.md says how to run it.
//
//	webhooks serve        take deliveries over HTTP
//	webhooks load FILE    take them from an NDJSON file; - is standard input
//	webhooks relay        send them to subscribers
//	webhooks sink         be a subscriber, to try it out
//
// The packages below it are what it is made of: hook (the job and the signature), intake and relay. Here are only the
// settings and the life of a process. SIGTERM ends each command in good order.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

const usage = `usage: webhooks serve|relay|sink [flags]
       webhooks load [flags] FILE
Each command explains its flags with -h.
`

// app is what the commands share.
type app struct {
	out io.Writer
	log *zap.Logger
}

// run is main without the process around it.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	a := app{out: out, log: logger(errs)}
	command := map[string]func(context.Context, *flag.FlagSet, []string) error{
		"serve": a.serve, "load": a.load, "relay": a.relay, "sink": a.sink,
	}
	if len(args) == 0 || command[args[0]] == nil {
		fmt.Fprint(errs, usage)
		return 2
	}
	flags := flag.NewFlagSet("webhooks "+args[0], flag.ContinueOnError)
	flags.SetOutput(errs)
	err := command[args[0]](ctx, flags, args[1:])
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintln(errs, "webhooks:", err)
	return 1
}

// errUsage is the error of a command line that was explained already.
var errUsage = errors.New("usage")

// parse reads the flags and wants n arguments beside them.
func parse(flags *flag.FlagSet, args []string, n int) error {
	if err := flags.Parse(args); err != nil {
		return errors.Join(errUsage, err)
	}
	if flags.NArg() != n {
		fmt.Fprint(flags.Output(), usage)
		return errUsage
	}
	return nil
}

func logger(w io.Writer) *zap.Logger {
	c := zap.NewDevelopmentEncoderConfig()
	c.EncodeLevel = zapcore.LowercaseLevelEncoder
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(c), zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel))
}

// answering serves h at address until ctx ends and what it answers then is answered.
func (a app) answering(ctx context.Context, address string, h http.Handler) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	a.log.Info("listening", zap.Stringer("address", l.Addr()))
	s := http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	err = s.Shutdown(shutdown)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
