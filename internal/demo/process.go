package demo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// process is a worker as its parent sees it. Two goroutines belong to it, one that starts and reaps it and one that reads
// what it says; done is closed when both have ended.
type process struct {
	name    string
	release int
	seat    int
	log     string
	pid     int

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	errors bytes.Buffer // what it wrote to standard error; to be read after done
	ready  chan struct{}
	told   chan struct{} // it has reported
	done   chan struct{}
	last   atomic.Pointer[status]

	mu    sync.Mutex
	asked string // the signal sent last
	wait  *os.ProcessState
}

// spawn starts a worker with its assignment.
//
// The parent-death signal is tied to the thread that forks, so the owning goroutine keeps its thread until the worker is
// reaped.
func spawn(command []string, a assignment) (*process, error) {
	first, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	p := &process{name: a.Name, release: a.Release, log: a.Log, ready: make(chan struct{}), told: make(chan struct{}), done: make(chan struct{})}
	p.last.Store(&status{})
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.SysProcAttr = childAttr()
	p.cmd.Stderr = &p.errors
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	started := make(chan error, 1)
	go p.own(stdout, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", a.Name, err)
	}
	if _, err := p.stdin.Write(append(first, '\n')); err != nil {
		p.kill()
		<-p.done
		return nil, fmt.Errorf("start %s: %w", a.Name, err)
	}
	return p, nil
}

func (p *process) own(stdout io.Reader, started chan<- error) {
	defer close(p.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	if err == nil {
		p.pid = p.cmd.Process.Pid
	}
	started <- err
	if err != nil {
		return
	}
	var reading sync.WaitGroup
	reading.Add(1)
	go func() { defer reading.Done(); p.read(stdout) }()
	reading.Wait() // the pipe ends with the process; Wait must not close it before
	_ = p.cmd.Wait()
	p.mu.Lock()
	p.wait = p.cmd.ProcessState
	p.mu.Unlock()
}

func (p *process) read(stdout io.Reader) {
	ready, told := false, false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var s status
		if json.Unmarshal(lines.Bytes(), &s) != nil {
			continue
		}
		p.last.Store(&s)
		if s.Ready && !ready {
			ready = true
			close(p.ready)
		}
		if s.Reported && !told {
			told = true
			close(p.told)
		}
	}
}

// report has the worker write to its log what it does. told is closed when it has.
func (p *process) report() {
	_, _ = io.WriteString(p.stdin, reportLine+"\n") // it can only fail for a process that is gone
}

// kill ends the worker without warning.
func (p *process) kill() {
	p.sent("SIGKILL")
	_ = p.cmd.Process.Kill() // it can only fail for a process that is gone
}

// stop tells the worker to drain and exit.
func (p *process) stop() {
	p.sent("SIGTERM")
	if p.cmd.Process.Signal(syscall.SIGTERM) != nil { // a system without signals, or the process is gone
		_, _ = io.WriteString(p.stdin, stopLine+"\n")
	}
}

func (p *process) sent(signal string) {
	p.mu.Lock()
	p.asked = signal
	p.mu.Unlock()
}

// gone reports whether the worker has ended.
func (p *process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// expected reports whether the worker was told to end.
func (p *process) expected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked != ""
}

// died is the error of a worker that is gone and should not be.
func (p *process) died() error {
	signal, exit := p.end()
	said := strings.TrimSpace(p.errors.String())
	if said == "" {
		said = "it said nothing; run again with a folder to keep its log in"
	}
	return fmt.Errorf("%s (pid %d) ended by itself (exit status %d %s): %s", p.name, p.pid, exit, signal, said)
}

// end is the signal that ended a worker that is gone, empty when none did, and its exit status, -1 when it never came to
// exit. SIGTERM is what ended a worker that drained and exited after it.
func (p *process) end() (signal string, exit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wait == nil {
		return "", -1
	}
	if ws, ok := p.wait.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return signalName(ws.Signal()), -1
	}
	return p.asked, p.wait.ExitCode()
}

func signalName(s syscall.Signal) string {
	switch s {
	case syscall.SIGKILL:
		return "SIGKILL"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGINT:
		return "SIGINT"
	case syscall.SIGSEGV:
		return "SIGSEGV"
	}
	return fmt.Sprintf("signal %d", int(s))
}

// state is the worker in one word.
func (p *process) state() string {
	p.mu.Lock()
	asked := p.asked
	p.mu.Unlock()
	switch {
	case p.gone() && asked == "SIGKILL":
		return "killed"
	case p.gone():
		return "exited"
	case asked != "":
		return "draining"
	case p.last.Load().Ready:
		return "working"
	}
	return "joining"
}
