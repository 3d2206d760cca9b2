package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/internal/ledger"
)

const secret = "the subscriber's secret"

// subscriber applies each idempotency key once and fails now and then, as its seed says. It must be served over a network.
type subscriber struct {
	seed uint64
	sink ledger.Sink

	mu       sync.Mutex
	requests []request
	tries    map[string]int     // by idempotency key
	applied  map[string]request // by idempotency key
	repeated int                // requests for a key that was applied before
	faults   map[string]int     // what was done to callers
	wrong    []string           // requests that no relay should have sent
	changed  chan struct{}      // closed and replaced when something is applied
}

// request is one as it came in.
type request struct {
	id, event, key string
	attempt        int
	body           string
}

func newSubscriber(seed uint64, sink ledger.Sink) *subscriber {
	return &subscriber{seed: seed, sink: sink, tries: map[string]int{}, applied: map[string]request{}, faults: map[string]int{}, changed: make(chan struct{})}
}

// troubles is what can happen to a request. Those that apply do so before they fail to say so.
var troubles = []struct {
	name  string
	share uint64 // of 100
	apply bool
	does  func(w http.ResponseWriter, r *http.Request)
}{
	{"503", 8, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }},
	{"503 with Retry-After", 4, false, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(http.StatusServiceUnavailable)
	}},
	{"timeout", 3, false, silence},
	{"reset", 5, false, reset},
	{"applied, then 500", 3, true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
	{"applied, then timeout", 3, true, silence},
	{"applied, then reset", 4, true, reset},
}

// silence lasts until the caller has gone.
func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// reset ends the connection with a RST and no answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// patience is how many requests for one key fail at most, fewer than the relay's attempts.
const patience = 4

// draw chooses what happens to the n-th request for a delivery: the index of a trouble, or -1. It depends on the seed and
// the delivery's name alone, and so on nothing that differs between two runs.
func (s *subscriber) draw(id string, n int) int {
	if n > patience {
		return -1
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %s %d", s.seed, id, n)
	roll := h.Sum64() >> 20 % 100 // the low bits of FNV are poor
	for i, t := range troubles {
		if roll < t.share {
			return i
		}
		roll -= t.share
	}
	return -1
}

func (s *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // a caller that has gone
	}
	attempt, err := strconv.Atoi(r.Header.Get(hook.HeaderAttempt))
	q := request{r.Header.Get(hook.HeaderDelivery), r.Header.Get(hook.HeaderEvent), r.Header.Get(hook.HeaderKey), attempt, string(body)}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/hooks" || hook.Verify([]byte(secret), r.Header, body) != nil {
		s.mu.Lock()
		s.wrong = append(s.wrong, fmt.Sprintf("%s %s: %v", r.Method, r.URL.Path, r.Header))
		s.mu.Unlock()
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if does := s.take(q); does != nil {
		does(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// take notes a genuine request, applies it unless its trouble comes first, and returns the trouble.
func (s *subscriber) take(q request) func(http.ResponseWriter, *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, q)
	s.tries[q.key]++
	trouble := s.draw(q.id, s.tries[q.key])
	if trouble < 0 {
		s.apply(q)
		return nil
	}
	t := troubles[trouble]
	s.faults[t.name]++
	if t.apply {
		s.apply(q)
	}
	return t.does
}

func (s *subscriber) apply(q request) {
	if _, again := s.applied[q.key]; again {
		s.repeated++
		return
	}
	s.applied[q.key] = q
	s.sink.Record(ledger.Event{Type: ledger.Effect, Kind: hook.Kind, ID: q.id, Attempt: q.attempt, IdempotencyKey: q.key})
	close(s.changed)
	s.changed = make(chan struct{})
}

// await returns when n deliveries were applied.
func (s *subscriber) await(t *testing.T, n int) {
	t.Helper()
	limit := time.After(3 * time.Minute)
	for {
		s.mu.Lock()
		have, changed := len(s.applied), s.changed
		s.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("only %d of %d deliveries were applied", have, n)
		}
	}
}

// check holds what arrived against what was sent.
func (s *subscriber) check(t *testing.T, all []*sent) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.wrong {
		t.Errorf("a request that no relay should have sent: %s", w)
	}
	for _, trouble := range troubles {
		if s.faults[trouble.name] == 0 {
			t.Errorf("never happened, so nothing is shown about it: %s", trouble.name)
		}
	}
	if s.repeated == 0 {
		t.Error("nothing was sent again after it had been applied, so nothing is shown about idempotency keys")
	}
	byID := map[string][]request{}
	for _, q := range s.applied {
		byID[q.id] = append(byID[q.id], q)
	}
	for _, d := range all {
		switch got := byID[d.id]; {
		case len(got) != 1:
			t.Errorf("delivery %s has %d effects", d.id, len(got))
		case got[0].event != d.event || got[0].body != string(d.body):
			t.Errorf("delivery %s (%s) arrived as %s with another body", d.id, d.event, got[0].event)
		}
	}
	if len(byID) != len(all) {
		t.Errorf("%d deliveries were applied and %d were sent", len(byID), len(all))
	}
	s.checkOrder(t, all)
}

// checkOrder wants the first attempts of each repository in the order of the file.
func (s *subscriber) checkOrder(t *testing.T, all []*sent) {
	t.Helper()
	line, repository, latest := map[string]int{}, map[string]string{}, map[string]int{}
	for i, d := range all {
		line[d.id], repository[d.id] = i, d.repository
	}
	firsts := 0
	for _, q := range s.requests {
		of := repository[q.id]
		if q.attempt > 1 || of == "" {
			continue
		}
		firsts++
		if line[q.id] < latest[of] {
			t.Errorf("%s: delivery %s was first attempted after a later one", of, q.id)
		}
		latest[of] = max(latest[of], line[q.id])
	}
	if firsts == 0 {
		t.Error("no first attempt arrived")
	}
	t.Logf("%d requests, %d for what was applied already, %d first attempts in %d repositories, %s", len(s.requests), s.repeated, firsts, len(latest), s.summary())
}

func (s *subscriber) summary() string {
	var out []string
	for name, n := range s.faults {
		out = append(out, fmt.Sprintf("%d x %s", n, name))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
