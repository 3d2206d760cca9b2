package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/examples/webhooks/intake"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

func delivery(event, body string) *job.Job[hook.Delivery] {
	return &job.Job[hook.Delivery]{Args: hook.Delivery(body), Message: &job.Message{Kind: hook.Kind, ID: "1", Attempt: 1,
		Payload: []byte(body), Headers: []job.Header{{Key: hook.EventHeader, Value: []byte(event)}}}}
}

// received is one request as a subscriber saw it.
type received struct {
	id, event, key, attempt, body string
	at                            time.Duration // since the first
}

// street is every subscriber by host. It answers by the delivery's id, as the script of that host says; without, 204.
type street struct {
	began  time.Time
	script map[string]map[string][]func(w http.ResponseWriter) error // by host and id; the last stays

	mu   sync.Mutex
	seen map[string][]received // by host
	bad  []string              // requests whose signature is wrong
}

func (s *street) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	id, host := r.Header.Get(hook.HeaderDelivery), r.URL.Host
	s.mu.Lock()
	before := 0
	for _, g := range s.seen[host] {
		if g.id == id {
			before++
		}
	}
	s.seen[host] = append(s.seen[host], received{id, r.Header.Get(hook.HeaderEvent), r.Header.Get(hook.HeaderKey),
		r.Header.Get(hook.HeaderAttempt), string(body), time.Since(s.began)})
	if hook.Verify([]byte("secret of "+host), r.Header, body) != nil {
		s.bad = append(s.bad, host+" "+id)
	}
	plan := s.script[host][id]
	s.mu.Unlock()
	w := httptest.NewRecorder()
	if len(plan) == 0 {
		w.WriteHeader(http.StatusNoContent)
	} else if err := plan[min(before, len(plan)-1)](w); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (s *street) of(host, id string) (out []received) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen[host] {
		if r.id == id {
			out = append(out, r)
		}
	}
	return out
}

type answer = func(http.ResponseWriter) error

func status(code int, headers ...string) answer {
	return func(w http.ResponseWriter) error {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		return nil
	}
}

func fails(http.ResponseWriter) error { return errors.New("connection reset") }

// town is a broker, the service and its subscribers, in virtual time.
type town struct {
	t       *testing.T
	addrs   []string
	network kfake.VirtualNetwork
	street  *street
	down    bool // of Kafka, for new connections
}

func inTown(t *testing.T, script map[string]map[string][]answer, test func(*testing.T, *town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := &town{t: t, street: &street{began: time.Now(), script: script, seen: map[string][]received{}}}
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(n.network.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		n.addrs = c.ListenAddrs()
		test(t, n)
	})
}

func (n *town) opts() []kgo.Opt { return []kgo.Opt{kgo.Dialer(n.network.DialContext)} }

// relay runs until the returned func is called.
func (n *town) relay(change func(*Config)) (stop func()) {
	n.t.Helper()
	cfg := Config{
		Consumer:  consumer.Config{Brokers: n.addrs, Group: "hooks", Topics: []string{"webhooks"}, Setup: consumer.Create, Partitions: 3, Opts: n.opts()},
		Timeout:   5 * time.Second,
		Transport: n.street,
	}
	for _, name := range []string{"flaky", "steady"} {
		cfg.Subscribers = append(cfg.Subscribers, Subscriber{Name: name, URL: "http://" + name + "/in", Secret: "secret of " + name})
	}
	change(&cfg)
	r, err := New(cfg)
	if err != nil {
		n.t.Fatal(err)
	}
	if r.Ready() == nil {
		n.t.Error("ready before Run")
	}
	ctx, cancel := context.WithCancel(n.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	for range 60 {
		if time.Sleep(time.Second); r.Ready() == nil {
			break
		}
	}
	n.want(r.Handler(), "/readyz", http.StatusOK)
	n.want(r.Handler(), "/subscribers/flaky/status", http.StatusOK)
	n.want(r.Handler(), "/subscribers/nobody/status", http.StatusNotFound)
	return func() {
		cancel()
		if err := <-done; err != nil {
			n.t.Error(err)
		}
		n.want(r.Handler(), "/readyz", http.StatusServiceUnavailable)
		n.want(r.Handler(), "/healthz", http.StatusOK)
	}
}

func (n *town) want(h http.Handler, path string, status int) {
	n.t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != status {
		n.t.Errorf("%s: status %d, want %d: %s", path, w.Code, status, w.Body)
	}
}

// post sends deliveries through the intake, one after the other, and wants a 202 for each.
func (n *town) post(ids ...string) {
	n.t.Helper()
	p, err := intake.NewProducer(producer.Config{Brokers: n.addrs, Topic: "webhooks", Opts: n.opts()})
	if err != nil {
		n.t.Fatal(err)
	}
	defer p.Close(n.t.Context())
	h := intake.Server{Jobs: p}.Handler()
	for _, id := range ids {
		r := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(body(id)))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-GitHub-Event", "push")
		r.Header.Set("X-GitHub-Delivery", id)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusAccepted {
			n.t.Fatalf("%s: %d %s", id, w.Code, w.Body)
		}
	}
}

func body(id string) string {
	return fmt.Sprintf(`{ "id": %q, "repository": {"full_name": "octo/%c"} }`, id, id[0])
}

func (n *town) letters(group string) (out []string) {
	n.t.Helper()
	c, err := dlq.Open(append(n.opts(), kgo.SeedBrokers(n.addrs...)), "webhooks", group)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	_, err = c.List(n.t.Context(), dlq.Filter{}, func(l *dlq.Letter) error {
		out = append(out, l.ID+" "+l.Code.String())
		return nil
	})
	if err != nil {
		n.t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func (n *town) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if n.down {
		return nil, errors.New("connection refused")
	}
	return n.network.DialContext(ctx, network, address)
}

// checkRequests wants n requests for a delivery, equal but for the attempt.
func (n *town) checkRequests(host, id string, want int) {
	n.t.Helper()
	got := n.street.of(host, id)
	if len(got) != want {
		n.t.Errorf("%s got %s %d times, want %d", host, id, len(got), want)
	}
	for i, r := range got {
		if r.body != body(id) || r.event != "push" || r.key == "" || r.key != got[0].key || r.attempt != fmt.Sprint(i+1) {
			n.t.Errorf("%s: request %d: %+v", host, i, r)
		}
	}
}
