package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/waybill-dev/waybill/consumer"
)

// Relay sends deliveries to its subscribers. Make it with New, run it once with Run; Ready and Handler may be called from
// any goroutine at any time.
type Relay struct {
	names     []string // of the subscribers, as configured
	consumers map[string]*consumer.Consumer
	transport http.RoundTripper
}

// New checks the configuration; every fault is returned at once. It opens no connection.
func New(c Config) (*Relay, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	r := &Relay{consumers: map[string]*consumer.Consumer{}, transport: c.Transport}
	if r.transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = max(c.Consumer.WithDefaults().Workers, 2) // as many as can call one host at once
		r.transport = t
	}
	client := &http.Client{
		Transport: r.transport,
		// A redirect is not followed: the answer to a POST elsewhere would say nothing about this one.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var errs []error
	for _, s := range c.Subscribers {
		cfg := c.Consumer
		cfg.Group = c.Consumer.Group + "-" + s.Name
		cfg.Mux = c.mux(s, client)
		one, err := consumer.New(cfg)
		if err != nil {
			errs = append(errs, fmt.Errorf("relay: subscriber %s: %w", s.Name, err))
			continue
		}
		r.names, r.consumers[s.Name] = append(r.names, s.Name), one
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

// Run works until ctx ends, then drains: calls that run are given time, what is done is committed, the groups are left.
// When one subscriber's consumer cannot start, the others are drained too. It may be called once.
func (r *Relay) Run(ctx context.Context) error {
	if t, ok := r.transport.(*http.Transport); ok {
		defer t.CloseIdleConnections()
	}
	all, ctx := errgroup.WithContext(ctx)
	for _, name := range r.names {
		all.Go(func() error {
			if err := r.consumers[name].Run(ctx); err != nil {
				return fmt.Errorf("relay: subscriber %s: %w", name, err)
			}
			return nil
		})
	}
	return all.Wait()
}

// Ready is nil while every subscriber's consumer is a member of its group. It says nothing about subscribers: one that is
// down is their affair, and no reason to restart this process.
func (r *Relay) Ready() error {
	var errs []error
	for _, name := range r.names {
		if err := r.consumers[name].Ready(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Handler serves /healthz and /readyz for the whole process, and /subscribers/{name}/ with the consumer's own healthz,
// readyz and status.
func (r *Relay) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := r.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	for name, c := range r.consumers {
		at := "/subscribers/" + name
		mux.Handle(at+"/", http.StripPrefix(at, c.Handler()))
	}
	return mux
}
