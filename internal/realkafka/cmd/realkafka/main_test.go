package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/realkafka"
)

// fakeCluster records calls; broker 2 refuses to be killed.
type fakeCluster struct{ calls []string }

func (f *fakeCluster) call(name string, args ...any) error {
	f.calls = append(f.calls, strings.TrimSpace(name+" "+fmt.Sprintln(args...)))
	return nil
}
func (f *fakeCluster) Kill(i int) error {
	_ = f.call("kill", i)
	if i == 2 {
		return errors.New("broker 2 is immortal")
	}
	return nil
}
func (f *fakeCluster) Stop(_ context.Context, i int) error { return f.call("stop", i) }
func (f *fakeCluster) StartBroker(i int) error             { return f.call("start", i) }
func (f *fakeCluster) Pause(i int) error                   { return f.call("pause", i) }
func (f *fakeCluster) Resume(i int) error                  { return f.call("resume", i) }
func (f *fakeCluster) WaitReady(context.Context) error     { return f.call("wait") }
func (f *fakeCluster) AddUser(_ context.Context, u, p string) error {
	return f.call("user", u, p)
}

func TestConsole(t *testing.T) {
	for _, tc := range []struct{ line, calls, says string }{
		{"kill 1", "kill 1", "done: kill 1\n"},
		{"kill", "kill 1,kill 2,kill 3", "broker 2 is immortal\n"},
		{"  stop   3 ", "stop 3", "done: stop 3\n"},
		{"pause", "pause 1,pause 2,pause 3", "done: pause\n"},
		{"resume 2", "resume 2", "done: resume 2\n"},
		{"start 2", "start 2,wait", "done: start 2\n"},
		{"restart 3", "stop 3,start 3,wait", "done: restart 3\n"},
		{"user ann pw", "user ann pw", "done: user ann pw\n"},
		{"user ann", "", "want: user NAME PASSWORD\n"},
		{"kill 4", "", "want the number of one broker, 1 to 3, or nothing for all\n"},
		{"kill x", "", "want the number of one broker, 1 to 3, or nothing for all\n"},
		{"kill 1 2", "", "want the number of one broker, 1 to 3, or nothing for all\n"},
		{"dance", "", "unknown command \"dance\": try help\n"},
		{"help", "", help},
		{"", "", ""},
	} {
		t.Run(tc.line, func(t *testing.T) {
			f, out := &fakeCluster{}, &strings.Builder{}
			console{cluster: f, brokers: 3, out: out}.obey(t.Context(), tc.line)
			if got := strings.Join(f.calls, ","); got != tc.calls {
				t.Errorf("called %q, want %q", got, tc.calls)
			}
			if out.String() != tc.says {
				t.Errorf("said %q, want %q", out.String(), tc.says)
			}
		})
	}
}

func TestParseFlags(t *testing.T) {
	o, err := parseFlags([]string{
		"-brokers", "3", "-sasl", "PLAIN", "-acl", "-tls", "-dir", "d", "-heap", "300",
		"-user", "a:b:c", "-property", "x.y=1=2", "-v",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.Brokers != 3 || o.SASL != "PLAIN" || !o.ACLs || !o.TLS || o.Dir != "d" || o.HeapMiB != 300 ||
		o.Users["a"] != "b:c" || o.Properties["x.y"] != "1=2" || o.Log == nil {
		t.Errorf("got %+v", o)
	}
	for _, args := range [][]string{{"-user", "a"}, {"-property", "x"}, {"extra"}, {"-nope"}, {"-h"}} {
		if _, err := parseFlags(args, io.Discard); !errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want ErrHelp", args, err)
		}
	}
}

// TestRun drives the command the way a script does, against a real broker.
func TestRun(t *testing.T) {
	if os.Getenv("WAYBILL_KAFKA") != "auto" {
		if os.Getenv("WAYBILL_KAFKA_REQUIRED") == "1" {
			t.Fatal("WAYBILL_KAFKA_REQUIRED=1 needs WAYBILL_KAFKA=auto here")
		}
		t.Skip("real-Kafka suite skipped: set WAYBILL_KAFKA=auto")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in, commands := io.Pipe()
	defer commands.Close()
	stdout, stderr := make(lineChan, 1), make(lineChan, 1)
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"-sasl", realkafka.SASLScramSHA256, "-acl", "-tls"}, in, stdout, stderr)
	}()
	select {
	case err := <-done:
		t.Fatal(err)
	case line := <-stdout:
		want := `^brokers=127\.0\.0\.1:\d+ sasl=SCRAM-SHA-256 user=admin password=\w+ ca=\S+ca\.pem dir=\S+\n$`
		if !regexp.MustCompile(want).MatchString(line) {
			t.Errorf("printed %q, want %s", line, want)
		}
	}
	for _, command := range []string{"user ann secret", "kill 1", "start 1", "pause", "resume", "restart"} {
		if _, err := fmt.Fprintln(commands, command); err != nil {
			t.Fatal(err)
		}
		if said := <-stderr; said != "done: "+command+"\n" {
			t.Errorf("%s: said %q", command, said)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// lineChan hands on each write.
type lineChan chan string

func (l lineChan) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
