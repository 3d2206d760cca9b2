//go:build linux || darwin

package realkafka

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

func TestProcessIsJoined(t *testing.T) {
	var exits atomic.Int32
	p, err := startProcess(exec.Command("sleep", "600"), func() { exits.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	if !p.running() || exits.Load() != 0 {
		t.Fatal("not running right after the start")
	}
	pid := p.cmd.Process.Pid
	p.kill()
	if p.running() || exits.Load() != 1 {
		t.Errorf("kill returned before the child was joined")
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("child %d is still there: %v", pid, err)
	}
	if err := p.signal(signalTerm); err != nil {
		t.Errorf("signalling a dead child: %v", err)
	}
	p.kill()
}

func TestProcessThatCannotStart(t *testing.T) {
	var exits atomic.Int32
	if _, err := startProcess(exec.Command("/no/such/program"), func() { exits.Add(1) }); err == nil || exits.Load() != 1 {
		t.Errorf("got %v and %d exits, want an error and one", err, exits.Load())
	}
}

func TestProcessWaitKillsWhenContextEnds(t *testing.T) {
	p, err := startProcess(exec.Command("sleep", "600"), func() {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.wait(ctx); !errors.Is(err, context.Canceled) || p.running() {
		t.Errorf("got %v, running %v: want the context's error and a dead child", err, p.running())
	}
}

func TestPrefixWriter(t *testing.T) {
	var out strings.Builder
	p := &prefixWriter{w: &out, prefix: "broker 2: "}
	for _, s := range []string{"one\ntw", "o\n", "\nthr", "ee"} {
		if n, err := p.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("Write(%q) = %d, %v", s, n, err)
		}
	}
	p.flush()
	p.flush()
	want := "broker 2: one\nbroker 2: two\nbroker 2: \nbroker 2: three\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestLastLines(t *testing.T) {
	for in, want := range map[string]string{"": "", "a\n": "a", "a\nb\nc\n": "b\nc", "\n\n": ""} {
		if got := lastLines([]byte(in), 2); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
