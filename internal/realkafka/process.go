package realkafka

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// process is a child owned by one goroutine, which starts it, reaps it and then ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the child is reaped
	err  error         // what Wait returned; read only after done
}

// startProcess starts cmd and returns once it runs or could not be started. onExit runs
// after the child is reaped and its output is complete, or when it never started.
//
// The kernel ties the parent-death signal to the thread that forked, not to the process:
// a thread the Go scheduler retires would take the child with it. The owning goroutine
// therefore keeps its thread from before the fork until after the reaping.
func startProcess(cmd *exec.Cmd, onExit func()) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = childAttr()
	// A grandchild that kept the output pipe must not hold up the reaping.
	cmd.WaitDelay = 5 * time.Second
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		defer onExit()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, err
	}
	return p, nil
}

// running reports whether the child has not been reaped yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends s; a child that is already gone is not an error.
func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && p.running() {
		return err
	}
	return nil
}

// kill ends the child at once and joins it.
func (p *process) kill() {
	// The error can only say that the child is gone, which is what is wanted.
	_ = p.cmd.Process.Kill()
	<-p.done
}

// wait joins the child; when ctx ends first, the child is killed, joined, and ctx's
// cause returned.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.kill()
		return context.Cause(ctx)
	}
}

// runTool runs a short-lived command to its end and returns what it printed on both
// streams. Its error holds that output.
func runTool(ctx context.Context, dir, path string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := startProcess(cmd, func() {})
	if err != nil {
		return "", fmt.Errorf("start %s: %w", path, err)
	}
	if err := p.wait(ctx); err != nil {
		return out.String(), fmt.Errorf("%s: %w; it printed:\n%s", path, err, lastLines(out.Bytes(), 20))
	}
	return out.String(), nil
}

// lastLines returns at most n lines from the end of b.
func lastLines(b []byte, n int) string {
	lines := bytes.Split(bytes.TrimRight(b, "\n"), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
