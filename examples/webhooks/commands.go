package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/examples/webhooks/intake"
	"github.com/waybill-dev/waybill/examples/webhooks/relay"
	"github.com/waybill-dev/waybill/producer"
)

// serve takes deliveries over HTTP.
func (a app) serve(ctx context.Context, flags *flag.FlagSet, args []string) error {
	var c common
	c.register(flags)
	listen := flags.String("listen", ":8080", "`address` to listen on")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	s, p, err := a.producer(&c)
	if err != nil {
		return err
	}
	server := intake.Server{Jobs: p, Secret: s.Secret, MaxBody: s.MaxBody, AckTimeout: s.AckTimeout, Logger: a.log}
	err = a.answering(ctx, *listen, server.Handler())
	return errors.Join(err, closeProducer(p)) // after the last answer, so that nobody is told no by mistake
}

// load takes deliveries from a file.
func (a app) load(ctx context.Context, flags *flag.FlagSet, args []string) error {
	var c common
	c.register(flags)
	prefix := flags.String("prefix", "", "`text` before the line number in ids: two files need two")
	if err := parse(flags, args, 1); err != nil {
		return err
	}
	in := io.Reader(os.Stdin)
	if name := flags.Arg(0); name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	s, p, err := a.producer(&c)
	if err != nil {
		return err
	}
	n := 0
	err = intake.Load(ctx, p, in, *prefix, func(int, producer.Enqueued) { n++ })
	fmt.Fprintf(a.out, "%d deliveries are in %s\n", n, s.Topic)
	return errors.Join(err, closeProducer(p))
}

func (a app) producer(c *common) (settings, *producer.Producer, error) {
	s, err := c.settings()
	cfg, err2 := c.producer(s.Topic)
	if err := errors.Join(err, err2); err != nil {
		return s, nil, err
	}
	cfg.Logger = a.log.WithOptions(zap.IncreaseLevel(zap.WarnLevel)) // the client tells a lot
	p, err := intake.NewProducer(cfg)
	return s, p, err
}

// closeProducer gives what is on its way a moment; the error lists what was left.
func closeProducer(p *producer.Producer) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.Close(ctx)
}

// relay sends deliveries to subscribers.
func (a app) relay(ctx context.Context, flags *flag.FlagSet, args []string) error {
	var c common
	var named subscribers
	c.register(flags)
	flags.Var(&named, "subscriber", "`name=url` of a subscriber, in place of the file's; may be given again. "+secretVar+" signs for it")
	listen := flags.String("listen", ":8081", "`address` of /healthz, /readyz and /subscribers/NAME/status")
	create := flags.Bool("create", false, "create the topics that are missing")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	s, err := c.settings()
	cfg, err2 := c.consumer(s.Topic)
	if len(named) > 0 {
		s.Subscribers = named
	}
	all, err3 := signed(s.Subscribers, s.SigningSecret)
	if err := errors.Join(err, err2, err3); err != nil {
		return err
	}
	cfg.Logger = a.log
	if *create {
		cfg.Setup = consumer.Create
	}
	r, err := relay.New(relay.Config{Consumer: cfg, Subscribers: all, Timeout: s.Timeout, MaxAttempts: s.MaxAttempts})
	if err != nil {
		return err
	}
	return a.together(ctx, r, *listen)
}

// together runs the relay and its health server. The server outlives the relay's drain: a load balancer or an orchestrator
// may ask how it goes.
func (a app) together(ctx context.Context, r *relay.Relay, listen string) error {
	over, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	both, over := errgroup.WithContext(over)
	working, stop := context.WithCancel(ctx)
	defer stop()
	both.Go(func() error {
		defer stop() // without its health server the relay stops too
		return a.answering(over, listen, r.Handler())
	})
	both.Go(func() error {
		defer end()
		err := r.Run(working)
		a.log.Info("stopped", zap.Error(err))
		return err
	})
	return both.Wait()
}
