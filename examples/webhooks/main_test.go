package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/examples/webhooks/relay"
	"github.com/waybill-dev/waybill/internal/embedded"
)

// process is a command that runs as it would in a process of its own.
type process struct {
	out, errs lockedBuffer
	stop      context.CancelFunc // SIGTERM
	gone      chan struct{}      // closed when it has ended
	code      int                // then
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{stop: cancel, gone: make(chan struct{})}
	go func() {
		defer close(p.gone)
		p.code = run(ctx, args, &p.out, &p.errs)
	}()
	t.Cleanup(func() { cancel(); <-p.gone })
	return p
}

// ends waits for the exit status.
func (p *process) ends(t *testing.T, want int) {
	t.Helper()
	select {
	case <-p.gone:
		if p.code != want {
			t.Fatalf("exit status %d, want %d: %s", p.code, want, p.errs.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("does not end: %s", p.errs.String())
	}
}

var listening = regexp.MustCompile(`listening.*"address": "([^"]+)"`)

// address waits until the command listens.
func (p *process) address(t *testing.T) string {
	t.Helper()
	var found []string
	eventually(t, time.Minute, "listens", func() bool {
		found = listening.FindStringSubmatch(p.errs.String())
		return found != nil
	}, p.errs.String)
	return "http://" + found[1]
}

func get(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", "posted")
	resp, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// The commands of the README, one after the other, over a broker in this process.
func TestCommands(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	broker, err := embedded.Start(embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	t.Setenv("WAYBILL_BROKERS", strings.Join(broker.Addrs(), ","))
	t.Setenv(secretVar, "shared")

	sink := start(t, "sink", "-listen", "127.0.0.1:0", "-fail", "0")
	relaying := start(t, "relay", "-create", "-listen", "127.0.0.1:0", "-subscriber", "sink="+sink.address(t))
	health := relaying.address(t)
	eventually(t, time.Minute, "the relay is ready", func() bool {
		code, _ := get(t, http.MethodGet, health+"/readyz", "")
		return code == http.StatusOK
	}, relaying.errs.String)

	serving := start(t, "serve", "-listen", "127.0.0.1:0")
	if code, text := get(t, http.MethodPost, serving.address(t)+"/hooks/push", `{"n":1}`); code != http.StatusAccepted || !strings.Contains(text, `"id":"posted"`) {
		t.Fatalf("status %d: %s", code, text)
	}
	file := filepath.Join(t.TempDir(), "hooks.ndjson")
	write(t, file, `{"event":"ping","payload":{}}`+"\n"+`{"event":"star","payload":{"repository":{"full_name":"a/b"}}}`)
	for range 2 { // the second time nothing is new
		loading := start(t, "load", "-prefix", "f", file)
		loading.ends(t, 0)
		if got := loading.out.String(); got != "2 deliveries are in webhooks\n" {
			t.Errorf("load says %q", got)
		}
	}
	for _, want := range []string{"push posted, 7 bytes, attempt 1", "ping f1, 2 bytes, attempt 1", "star f2, 34 bytes, attempt 1"} {
		eventually(t, time.Minute, want, func() bool { return strings.Contains(sink.out.String(), want) }, relaying.errs.String, sink.out.String)
	}
	for _, p := range []*process{serving, relaying, sink} {
		p.stop()
		p.ends(t, 0)
	}
	if got := strings.Count(sink.out.String(), "\n"); got != 3 {
		t.Errorf("the sink received %d deliveries:\n%s", got, sink.out.String())
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWrongCommandLines(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":                     {nil, 2, "usage"},
		"no such command":             {[]string{"sevre"}, 2, "usage"},
		"no such flag":                {[]string{"serve", "-x"}, 2, "-x"},
		"help":                        {[]string{"relay", "-h"}, 0, "-subscriber"},
		"load without a file":         {[]string{"load"}, 2, "usage"},
		"a file that is not there":    {[]string{"load", "/no/such/file"}, 1, "/no/such/file"},
		"no broker":                   {[]string{"serve"}, 1, "Brokers"},
		"a subscriber without secret": {[]string{"relay", "-brokers", "b:9092", "-subscriber", "a=http://a"}, 1, secretVar},
		"a subscriber without URL":    {[]string{"relay", "-brokers", "b:9092", "-subscriber", "a"}, 2, "name=url"},
		"nobody to relay to":          {[]string{"relay", "-brokers", "b:9092"}, 1, "Subscribers"},
		"a sink without secret":       {[]string{"sink"}, 1, secretVar},
		"settings that are not there": {[]string{"serve", "-config", "/no/such/file"}, 1, "/no/such/file"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{secretVar, "WAYBILL_BROKERS", "WAYBILL_CONFIG"} {
				t.Setenv(v, "")
			}
			p := start(t, c.args...)
			p.ends(t, c.code)
			if text := p.errs.String(); !strings.Contains(text, c.want) {
				t.Errorf("says %q, which does not name %q", text, c.want)
			}
		})
	}
}

// The example settings are read, and complete.
func TestExampleSettings(t *testing.T) {
	for _, v := range []string{"WAYBILL_BROKERS", "WAYBILL_CONFIG"} {
		t.Setenv(v, "")
	}
	c := common{file: "webhooks.example.yaml"}
	s, err := c.settings()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := c.consumer(s.Topic)
	if err != nil {
		t.Fatal(err)
	}
	all, err := signed(s.Subscribers, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := relay.New(relay.Config{Consumer: cfg, Subscribers: all, Timeout: s.Timeout, MaxAttempts: s.MaxAttempts}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%v %s %d %v %d %d %v", cfg.Brokers, cfg.Group, cfg.Workers, s.Timeout, s.MaxAttempts, len(all), all[0].Events); got != "[localhost:9092] webhooks 50 10s 10 2 [push release]" {
		t.Error(got)
	}
	p, err := c.producer(s.Topic)
	if err != nil || p.Topic != "webhooks" || len(p.Brokers) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}
