package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
)

// sink is a subscriber to try the relay with: it prints what it receives, and shows what a subscriber has to do.
func (a app) sink(ctx context.Context, flags *flag.FlagSet, args []string) error {
	listen := flags.String("listen", ":9000", "`address` to listen on")
	fail := flags.Float64("fail", 0, "`share` of requests to answer with 503, from 0 to 1")
	if err := parse(flags, args, 0); err != nil {
		return err
	}
	secret := os.Getenv(secretVar)
	if secret == "" {
		return errors.New("no secret to check signatures with; set " + secretVar)
	}
	return a.answering(ctx, *listen, &sink{out: a.out, secret: []byte(secret), fail: *fail, applied: map[string]bool{}})
}

type sink struct {
	out    io.Writer
	secret []byte
	fail   float64

	mu      sync.Mutex
	applied map[string]bool // idempotency keys; a real subscriber keeps them with what it changes, in one transaction
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 32<<20))
	if err != nil {
		http.Error(w, "the body did not arrive", http.StatusRequestTimeout)
		return
	}
	if err := hook.Verify(s.secret, r.Header, body); err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if rand.Float64() < s.fail {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, note := r.Header.Get(hook.HeaderKey), ""
	if s.applied[key] {
		note = " (had it already)"
	}
	s.applied[key] = true
	fmt.Fprintf(s.out, "%s %s, %d bytes, attempt %s%s\n", r.Header.Get(hook.HeaderEvent), r.Header.Get(hook.HeaderDelivery), len(body),
		r.Header.Get(hook.HeaderAttempt), note)
	w.WriteHeader(http.StatusNoContent)
}
