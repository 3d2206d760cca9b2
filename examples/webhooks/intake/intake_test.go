package intake

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// queue takes jobs, or fails as it is told.
type queue struct {
	err  error
	hang bool
	got  []producer.Item
}

func (q *queue) Enqueue(ctx context.Context, args job.Args, opts *job.Options) (producer.Enqueued, error) {
	if q.hang {
		<-ctx.Done()
		return producer.Enqueued{ID: opts.ID, Offset: -1}, fmt.Errorf("%w: %w", producer.ErrUnknown, ctx.Err())
	}
	if q.err != nil {
		return producer.Enqueued{ID: opts.ID, Offset: -1}, q.err
	}
	q.got = append(q.got, producer.Item{Args: args, Options: opts})
	return producer.Enqueued{ID: first(opts.ID, "made"), Topic: "webhooks", Offset: int64(len(q.got) - 1)}, nil
}

func (q *queue) EnqueueMany(ctx context.Context, items []producer.Item) ([]producer.Enqueued, error) {
	out := make([]producer.Enqueued, len(items))
	failed := &producer.BatchError{Total: len(items)}
	for i, item := range items {
		var err error
		if out[i], err = q.Enqueue(ctx, item.Args, item.Options); err != nil {
			failed.Failed = append(failed.Failed, producer.Failure{Index: i, Err: err})
		}
	}
	if len(failed.Failed) > 0 {
		return out, failed
	}
	return out, nil
}

func github(body, secret string) map[string]string {
	return map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": "guid-1",
		"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(hook.MAC([]byte(secret), []byte(body)))}
}

const push = `{"repository": {"full_name": "o/r"}}`

func TestServer(t *testing.T) {
	for name, c := range map[string]struct {
		server  Server
		queue   queue
		method  string // POST
		path    string // /hooks/push
		headers map[string]string
		body    string // push
		status  int
		id      string
	}{
		"a delivery":                 {status: 202, id: "made"},
		"with an id":                 {headers: map[string]string{"Idempotency-Key": "k"}, status: 202, id: "k"},
		"GitHub's":                   {path: "/hooks", headers: github(push, "s"), server: Server{Secret: "s"}, status: 202, id: "guid-1"},
		"signed with another secret": {path: "/hooks", headers: github(push, "t"), server: Server{Secret: "s"}, status: 401},
		"signed over another body":   {path: "/hooks", headers: github("{}", "s"), server: Server{Secret: "s"}, status: 401},
		"not signed":                 {server: Server{Secret: "s"}, status: 401},
		"a signature that is no hex": {server: Server{Secret: "s"}, headers: map[string]string{"X-Hub-Signature-256": "sha256=zz"}, status: 401},
		"no event":                   {path: "/hooks", status: 400},
		"no event's name":            {path: "/hooks/a%20b", status: 400},
		"no JSON":                    {body: "{", status: 400},
		"an id of two lines":         {headers: map[string]string{"Idempotency-Key": "a\x7fb"}, status: 400},
		"a form":                     {headers: map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, status: 415},
		"with a charset":             {headers: map[string]string{"Content-Type": "application/json; charset=utf-8"}, status: 202, id: "made"},
		"a body too large":           {server: Server{MaxBody: 10}, status: 413},
		"a body too large for Kafka": {queue: queue{err: producer.ErrTooLarge}, status: 413},
		"Kafka refuses":              {headers: map[string]string{"Idempotency-Key": "k"}, queue: queue{err: errors.New("no topic")}, status: 503, id: "k"},
		"Kafka does not answer":      {headers: map[string]string{"Idempotency-Key": "k"}, queue: queue{hang: true}, server: Server{AckTimeout: time.Millisecond}, status: 503, id: "k"},
		"another method":             {method: "GET", status: 405},
		"health":                     {method: "GET", path: "/healthz", status: 200},
		"another path":               {path: "/", status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			c.server.Jobs = &c.queue
			body := first(c.body, push)
			r := httptest.NewRequest(first(c.method, "POST"), first(c.path, "/hooks/push"), strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			for k, v := range c.headers {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			c.server.Handler().ServeHTTP(w, r)
			if w.Code != c.status {
				t.Fatalf("status %d, want %d: %s", w.Code, c.status, w.Body)
			}
			if (len(c.queue.got) > 0) != (c.status == 202) {
				t.Errorf("%d jobs enqueued", len(c.queue.got))
			}
			if w.Code == 503 && w.Header().Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if c.id == "" {
				return
			}
			var a Accepted
			if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || a.ID != c.id || (a.Error != "") != (c.status == http.StatusServiceUnavailable) {
				t.Errorf("answer %+v, %v; want id %s", a, err, c.id)
			}
			if c.status == 202 {
				checkItem(t, c.queue.got[0], "push", body, "o/r")
			}
		})
	}
}

func checkItem(t *testing.T, item producer.Item, event, body, key string) {
	t.Helper()
	m := job.Message{Headers: item.Options.Headers}
	if got := item.Args.(hook.Delivery); string(got) != body || string(m.Header(hook.EventHeader)) != event || string(item.Options.Key) != key {
		t.Errorf("enqueued %s %s with key %s", m.Header(hook.EventHeader), got, item.Options.Key)
	}
}

func TestLoad(t *testing.T) {
	const file = `{"event": "push", "payload": {"repository": {"full_name": "o/r"}, "n": 1.50}}

{"payload": {"zen": "<é>"}, "event": "ping"}`
	var q queue
	lines := map[int]string{}
	if err := Load(t.Context(), &q, strings.NewReader(file), "f-", func(n int, e producer.Enqueued) { lines[n] = e.ID }); err != nil {
		t.Fatal(err)
	}
	if len(q.got) != 2 || lines[1] != "f-1" || lines[3] != "f-3" {
		t.Fatalf("%d jobs, lines %v", len(q.got), lines)
	}
	checkItem(t, q.got[0], "push", `{"repository": {"full_name": "o/r"}, "n": 1.50}`, "o/r")
	checkItem(t, q.got[1], "ping", `{"zen": "<é>"}`, "")
}

func TestLoadKeepsOrderOverBatches(t *testing.T) {
	var text strings.Builder
	var want, got []string
	for i := range 3*batch + 1 {
		text.WriteString(`{"event":"e","payload":{}}` + "\n")
		want = append(want, fmt.Sprint(i+1))
	}
	var q queue
	if err := Load(t.Context(), &q, strings.NewReader(text.String()), "", nil); err != nil {
		t.Fatal(err)
	}
	for _, item := range q.got {
		got = append(got, item.Options.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("ids %v", got)
	}
}

func TestLoadNamesTheLine(t *testing.T) {
	const good = `{"event":"e","payload":{}}` + "\n"
	for name, c := range map[string]struct {
		text string
		err  error
		want string
		jobs int
	}{
		"no JSON":         {good + "{", nil, "line 2", 1},
		"no event":        {good + good + `{"payload":{}}`, nil, "line 3", 2},
		"no payload":      {`{"event":"e"}`, nil, "line 1", 0},
		"a line too long": {good + strings.Repeat("x", maxLine+1), nil, "line 2", 1},
		"not acked":       {good, producer.ErrUnknown, "line 1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := queue{err: c.err}
			told := 0
			err := Load(t.Context(), &q, strings.NewReader(c.text), "", func(int, producer.Enqueued) { told++ })
			if err == nil || !strings.Contains(err.Error(), c.want) || len(q.got) != c.jobs || told != c.jobs {
				t.Errorf("%d jobs, %d told, err = %v; want %d and %s", len(q.got), told, err, c.jobs, c.want)
			}
			if c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%v hides its cause", err)
			}
		})
	}
}
