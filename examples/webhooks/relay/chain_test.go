package relay

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/examples/webhooks/intake"
	"github.com/waybill-dev/waybill/producer"
)

func TestAnswersDecide(t *testing.T) {
	flaky := map[string][]answer{
		"b-late": {status(429, "Retry-After", "100"), status(204)},
		"c-gone": {status(410)},
		"d-bad":  {status(400)},
		"e-down": {status(500)},
		"f-net":  {fails, fails, status(200)},
		"g-busy": {status(503), status(200)},
	}
	inTown(t, map[string]map[string][]answer{"flaky": flaky}, func(t *testing.T, n *town) {
		stop := n.relay(func(c *Config) { c.MaxAttempts = 3 })
		ids := []string{"a-ok", "b-late", "c-gone", "d-bad", "e-down", "f-net", "g-busy"}
		n.post(append(ids, ids...)...) // every delivery twice, as senders do
		time.Sleep(10 * time.Minute)
		for id, want := range map[string]int{"a-ok": 1, "b-late": 2, "c-gone": 1, "d-bad": 1, "e-down": 3, "f-net": 3, "g-busy": 2} {
			n.checkRequests("flaky", id, want)
			n.checkRequests("steady", id, 1) // another's trouble is none of its own
		}
		if late := n.street.of("flaky", "b-late"); len(late) == 2 && late[1].at-late[0].at < 100*time.Second {
			t.Errorf("sent again after %v although Retry-After said 100 s", late[1].at-late[0].at)
		}
		if got, want := n.letters("hooks-flaky"), []string{"d-bad dead", "e-down handler_error"}; !slices.Equal(got, want) {
			t.Errorf("letters %v, want %v", got, want)
		}
		if got := n.letters("hooks-steady"); len(got) > 0 {
			t.Errorf("letters of the steady one: %v", got)
		}
		if len(n.street.bad) > 0 {
			t.Errorf("wrong signatures: %v", n.street.bad)
		}
		stop()
	})
}

func TestFirstAttemptsComeInOrderOfTheRepository(t *testing.T) {
	flaky := map[string][]answer{"x1": {status(503), status(204)}, "x3": {fails, status(204)}, "y2": {status(500), status(204)}}
	inTown(t, map[string]map[string][]answer{"flaky": flaky}, func(t *testing.T, n *town) {
		stop := n.relay(func(*Config) {})
		n.post("x1", "y1", "x2", "y2", "x3", "x4", "y3", "x5")
		time.Sleep(10 * time.Minute)
		stop()
		for _, host := range []string{"flaky", "steady"} {
			first := map[byte][]string{}
			for _, r := range n.street.seen[host] {
				if r.attempt == "1" {
					first[r.id[0]] = append(first[r.id[0]], r.id)
				}
			}
			if x, y := strings.Join(first['x'], " "), strings.Join(first['y'], " "); x != "x1 x2 x3 x4 x5" || y != "y1 y2 y3" {
				t.Errorf("%s: first attempts came as %s and %s", host, x, y)
			}
		}
	})
}

func TestASubscriberChoosesEvents(t *testing.T) {
	inTown(t, nil, func(t *testing.T, n *town) {
		stop := n.relay(func(c *Config) {
			c.Subscribers[0].Events = []string{"release", "issues"}
			c.Subscribers[1].Events = []string{"issues", "push"}
		})
		n.post("a", "b")
		time.Sleep(time.Minute)
		stop()
		if f, s := len(n.street.seen["flaky"]), len(n.street.seen["steady"]); f != 0 || s != 2 {
			t.Errorf("%d and %d requests, want 0 and 2", f, s)
		}
	})
}

// A relay that was stopped goes on where it was, and sends nothing twice.
func TestRestart(t *testing.T) {
	inTown(t, nil, func(t *testing.T, n *town) {
		stop := n.relay(func(*Config) {})
		n.post("a1", "a2", "b1")
		time.Sleep(time.Minute)
		stop()
		n.post("a3", "b2", "a1")
		stop = n.relay(func(*Config) {})
		time.Sleep(time.Minute)
		stop()
		for _, id := range []string{"a1", "a2", "a3", "b1", "b2"} {
			n.checkRequests("steady", id, 1)
		}
	})
}

// The intake says 503 while Kafka is away, and the delivery may be sent again under its id.
func TestIntakeWithoutKafka(t *testing.T) {
	inTown(t, nil, func(t *testing.T, n *town) {
		stop := n.relay(func(*Config) {})
		p, err := intake.NewProducer(producer.Config{Brokers: n.addrs, Topic: "webhooks", Opts: []kgo.Opt{kgo.Dialer(n.dial)}})
		if err != nil {
			t.Fatal(err)
		}
		n.down = true
		post := func(want int) {
			t.Helper()
			r := httptest.NewRequest(http.MethodPost, "/hooks/push", strings.NewReader(body("a")))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set(hook.HeaderKey, "a")
			w := httptest.NewRecorder()
			intake.Server{Jobs: p}.Handler().ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
			}
		}
		post(http.StatusServiceUnavailable)
		n.down = false
		post(http.StatusAccepted)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		stop()
		n.checkRequests("steady", "a", 1) // though the first may have been written too
	})
}
