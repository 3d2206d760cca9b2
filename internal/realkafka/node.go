package realkafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// tailLines is how much of a broker's log goes into errors.
const tailLines = 40

// node is one broker: its place, and its process while it has one. Safe for concurrent
// use; operations on one node run one after the other.
type node struct {
	plan nodePlan
	jvm  javaRuntime
	opts Options
	log  io.Writer // Options.Log behind the cluster's lock; nil without one

	mu     sync.Mutex
	proc   *process // the latest process; nil before the first start
	wanted bool     // started, and neither stopped nor killed by the caller
	paused bool
	closed bool // no start any more
}

func (n *node) addr() string           { return "127.0.0.1:" + strconv.Itoa(n.plan.clientPort) }
func (n *node) configPath() string     { return filepath.Join(n.plan.dir, "server.properties") }
func (n *node) logPath() string        { return filepath.Join(n.plan.dir, "broker.log") }
func (n *node) tmpDir() string         { return filepath.Join(n.plan.dir, "tmp") }
func (n *node) errorf(err error) error { return fmt.Errorf("realkafka: broker %d: %w", n.plan.id, err) }

// format writes the configuration and prepares the data folder. scram are users to
// create with it, name to password.
func (n *node) format(ctx context.Context, clusterID string, properties map[string]string, scram map[string]string) error {
	if err := os.MkdirAll(n.tmpDir(), 0o755); err != nil {
		return n.errorf(err)
	}
	if err := os.WriteFile(n.configPath(), encodeProperties(properties), 0o600); err != nil {
		return n.errorf(err)
	}
	args := append(n.jvm.args("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
		"kafka.tools.StorageTool", "format", "-t", clusterID, "-c", n.configPath())
	for name, password := range scram {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", SASLScramSHA256, name, password))
	}
	if _, err := runTool(ctx, n.plan.dir, n.jvm.java, args...); err != nil {
		return n.errorf(fmt.Errorf("format storage: %w", err))
	}
	return nil
}

// javaArgs are the arguments of the broker's virtual machine.
func (n *node) javaArgs() []string {
	flags := []string{
		fmt.Sprintf("-Xmx%dm", n.opts.HeapMiB),
		// Hobbled by a full heap, a broker fails in ways that look like ours.
		"-XX:+ExitOnOutOfMemoryError",
		// Native libraries are unpacked there, and killed brokers leave them behind.
		"-Djava.io.tmpdir=" + n.tmpDir(),
		"-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.logFile=System.out",
		// It prints hundreds of settings at each start and drowns what matters.
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
	}
	if !n.opts.Fast {
		flags = append(flags, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
	}
	if n.jvm.training != "" {
		flags = append(flags, "-XX:ArchiveClassesAtExit="+n.jvm.training)
	}
	return append(n.jvm.args(flags...), "kafka.Kafka", n.configPath())
}

// start runs the broker's process and returns before it serves.
func (n *node) start() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return n.errorf(errors.New("the cluster is closed"))
	}
	if n.runningLocked() {
		return n.errorf(errors.New("already running"))
	}
	file, err := os.OpenFile(n.logPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return n.errorf(err)
	}
	cmd := exec.Command(n.jvm.java, n.javaArgs()...)
	cmd.Dir = n.plan.dir
	onExit := func() { file.Close() }
	if n.log == nil {
		cmd.Stdout, cmd.Stderr = file, file
	} else {
		prefixed := &prefixWriter{w: n.log, prefix: fmt.Sprintf("broker %d: ", n.plan.id)}
		both := io.MultiWriter(file, prefixed)
		cmd.Stdout, cmd.Stderr = both, both
		onExit = func() {
			prefixed.flush()
			file.Close()
		}
	}
	p, err := startProcess(cmd, onExit)
	if err != nil {
		return n.errorf(err)
	}
	n.proc, n.wanted, n.paused = p, true, false
	return nil
}

// stop ends the broker the way an operator does, and kills it when ctx ends first.
func (n *node) stop(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = false
	if !n.runningLocked() {
		return nil
	}
	if err := n.proc.signal(signalTerm); err != nil {
		return n.errorf(err)
	}
	if n.paused {
		// A stopped process takes the signal only after it runs again.
		if err := n.proc.signal(signalResume); err != nil {
			return n.errorf(err)
		}
		n.paused = false
	}
	// Java ends with 143 after SIGTERM, so only ctx's own error is one.
	if err := n.proc.wait(ctx); ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return n.errorf(fmt.Errorf("killed, since it had not stopped in time: %w\n%s", context.Cause(ctx), n.logTail()))
	}
	return nil
}

// waitEnded joins the process of the broker and signals it nothing.
func (n *node) waitEnded(ctx context.Context) error {
	n.mu.Lock()
	p := n.proc
	n.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return n.errorf(fmt.Errorf("it has not ended: %w\n%s", context.Cause(ctx), n.logTail()))
	}
}

// kill ends the broker at once. Killing one that is down does nothing.
func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted, n.paused = false, false
	if n.proc != nil {
		n.proc.kill()
	}
}

// close kills the broker for good.
func (n *node) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.kill()
}

// pause freezes the broker or lets it go on.
func (n *node) pause(on bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.runningLocked() {
		return n.errorf(errors.New("not running"))
	}
	s := signalResume
	if on {
		s = signalPause
	}
	if err := n.proc.signal(s); err != nil {
		return n.errorf(err)
	}
	n.paused = on
	return nil
}

func (n *node) runningLocked() bool { return n.proc != nil && n.proc.running() }

// nodeState is what readiness needs to know of a node.
type nodeState struct {
	serving bool  // expected to answer: wanted and not paused
	died    error // ended without being asked to
	pid     int   // 0 when not running
}

func (n *node) state() nodeState {
	n.mu.Lock()
	defer n.mu.Unlock()
	running := n.runningLocked()
	s := nodeState{serving: n.wanted && !n.paused}
	if running {
		s.pid = n.proc.cmd.Process.Pid
	}
	if n.wanted && !running {
		s.died = n.errorf(fmt.Errorf("ended by itself (%v); the end of %s:\n%s", n.proc.cmd.ProcessState, n.logPath(), n.logTail()))
	}
	return s
}

// logTail returns the end of the broker's log, or why it cannot be read.
func (n *node) logTail() string {
	b, err := os.ReadFile(n.logPath())
	if err != nil {
		return err.Error()
	}
	return lastLines(b, tailLines)
}

// lockedWriter lets several brokers write to one Options.Log.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// prefixWriter passes whole lines on, each with a prefix. One goroutine writes. It never
// fails: a full or closed log must not block the broker that fills it.
type prefixWriter struct {
	w       io.Writer
	prefix  string
	pending []byte
}

func (p *prefixWriter) Write(b []byte) (int, error) {
	p.pending = append(p.pending, b...)
	for {
		end := slices.Index(p.pending, '\n')
		if end < 0 {
			return len(b), nil
		}
		p.emit(p.pending[:end+1])
		p.pending = append(p.pending[:0], p.pending[end+1:]...)
	}
}

func (p *prefixWriter) emit(line []byte) {
	// One Write a line keeps lines of several brokers apart.
	_, _ = p.w.Write(append([]byte(p.prefix), line...))
}

// flush passes on a last line without an end.
func (p *prefixWriter) flush() {
	if len(p.pending) > 0 {
		p.emit(append(p.pending, '\n'))
		p.pending = nil
	}
}
