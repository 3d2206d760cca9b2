package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// patience bounds every wait for a single step of a story.
const patience = time.Minute

// worker is a worker process as its parent sees it. Its owner goroutine starts, reads and reaps it; done is closed then.
type worker struct {
	name   string
	log    string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	errors bytes.Buffer // standard error; to be read after done
	last   atomic.Pointer[status]
	done   chan struct{}
}

// hire starts a worker process, which is this program once more.
func (s *story) hire() *worker {
	s.t.Helper()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.hireAs("worker", self)
}

// hireAs starts a worker process, named after its title; it is killed at the end of the test if it still lives. The program
// is one whose TestMain knows workerEnv.
func (s *story) hireAs(title, program string) *worker {
	s.t.Helper()
	s.hired++
	w := &worker{name: fmt.Sprintf("%s-%d", title, s.hired), done: make(chan struct{})}
	w.log = filepath.Join(s.dir, w.name+".log")
	w.last.Store(&status{})
	first, err := json.Marshal(assignment{Name: w.name, Brokers: s.at.brokers, Topic: s.topic, Group: s.group, Ledger: s.book(w.name), Log: w.log})
	if err != nil {
		s.t.Fatal(err)
	}
	w.cmd = exec.Command(program)
	w.cmd.Env = append(os.Environ(), workerEnv+"=1")
	w.cmd.SysProcAttr = childAttr()
	w.cmd.Stderr = &w.errors
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	started := make(chan error, 1)
	go w.own(stdout, started)
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it fails for a process that is gone
		<-w.done
	})
	if _, err := w.stdin.Write(append(first, '\n')); err != nil {
		s.t.Fatal(err)
	}
	s.staff = append(s.staff, w)
	return w
}

// own keeps its thread until the worker is reaped: the parent-death signal is tied to the thread that forks.
func (w *worker) own(stdout io.Reader, started chan<- error) {
	defer close(w.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := w.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		var st status
		if json.Unmarshal(lines.Bytes(), &st) == nil {
			w.last.Store(&st)
		}
	}
	_ = w.cmd.Wait() // how it ended stands in ProcessState
}

func (w *worker) gone() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// settled waits until exactly these workers have all tasks among them, each at least one.
func (s *story) settled(ws ...*worker) {
	s.t.Helper()
	until(s.t, patience, func() string {
		sum, said := 0, ""
		for _, w := range ws {
			if w.gone() {
				s.t.Fatalf("%s ended by itself: %v %s", w.name, w.cmd.ProcessState, w.errors.String())
			}
			st := w.last.Load()
			sum += st.Tasks
			said += fmt.Sprintf("%s has %d tasks; ", w.name, st.Tasks)
			if !st.Ready || st.Tasks == 0 {
				sum = -partitions
			}
		}
		if sum == partitions {
			return ""
		}
		return said
	})
}

// kill ends a worker without warning, and notes it once it is gone.
func (s *story) kill(w *worker) {
	s.t.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.gone(w)
	s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Kill, Target: w.name})
}

// dismiss has a worker drain, and sees that it exits with status 0.
func (s *story) dismiss(w *worker) {
	s.t.Helper()
	s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Stop, Target: w.name})
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	s.gone(w)
	s.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Exit, Target: w.name})
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("%s ended with %v after SIGTERM: %s", w.name, w.cmd.ProcessState, w.errors.String())
	}
}

func (s *story) gone(w *worker) {
	s.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-w.done:
	case <-limit.C:
		s.t.Fatalf("%s lives a minute after it was told to end", w.name)
	}
}

// tails puts the end of each worker's log into the test's.
func (s *story) tails() {
	for _, w := range s.staff {
		text, err := os.ReadFile(w.log)
		if err == nil {
			s.t.Logf("%s (%s), the end of its log:\n%s", w.name, w.cmd.ProcessState, text[max(0, len(text)-4000):])
		}
	}
}
