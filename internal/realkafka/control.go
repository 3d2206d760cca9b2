package realkafka

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stopTimeout bounds Stop when its context has no deadline. A broker that has lost its
// quorum does not stop by itself.
const stopTimeout = 30 * time.Second

// Stop shuts broker i down in order (SIGTERM) and joins it. When ctx ends first, after
// 30 s without a deadline, the broker is killed and the error says so. Stopping one that
// is down does nothing; a paused one is resumed first.
//
// On a cluster a test attached to, Stop and the methods below skip the test; on a shared
// one they fail it.
func (c *Cluster) Stop(ctx context.Context, i int) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, stopTimeout)
		defer cancel()
	}
	return n.stop(ctx)
}

// Kill ends broker i at once (SIGKILL) and joins it. The others fence it after 4 s, or
// after 7 to 8 when it led the controllers, and its partitions move then.
func (c *Cluster) Kill(i int) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	n.kill()
	return nil
}

// StartBroker starts broker i again on its ports and data, and returns before it serves:
// so that a majority that was down can be started one by one. See WaitReady.
func (c *Cluster) StartBroker(i int) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	return n.start()
}

// Restart stops broker i, starts it again and waits until the cluster is ready.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	if err := c.Stop(ctx, i); err != nil {
		return err
	}
	if err := c.StartBroker(i); err != nil {
		return err
	}
	return c.WaitReady(ctx)
}

// Pause freezes broker i (SIGSTOP): its connections stay open and nothing answers, like
// a machine that hangs. The others fence it as after Kill.
func (c *Cluster) Pause(i int) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	return n.pause(true)
}

// Resume lets a paused broker i go on (SIGCONT).
func (c *Cluster) Resume(i int) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	return n.pause(false)
}

// LimitFiles lets no file of broker i grow beyond so many bytes: a write beyond fails, as
// on a full disk. A broker whose only log folder fails a write ends by itself, which
// WaitReady reports. The limit ends with the process: StartBroker starts it without one,
// like one for which an operator has made room. Linux only.
func (c *Cluster) LimitFiles(i int, bytes uint64) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	pid := n.state().pid
	if pid == 0 {
		return n.errorf(errors.New("not running"))
	}
	if err := limitFiles(pid, bytes); err != nil {
		return n.errorf(err)
	}
	return nil
}

// WaitEnded waits until broker i has ended, by itself or by one of the methods above.
func (c *Cluster) WaitEnded(ctx context.Context, i int) error {
	n, err := c.node(i)
	if err != nil {
		return err
	}
	return n.waitEnded(ctx)
}

// PID returns the process id of broker i, 0 when it is down. For measurements; signals
// go through the methods above.
func (c *Cluster) PID(i int) (int, error) {
	n, err := c.node(i)
	if err != nil {
		return 0, err
	}
	return n.state().pid, nil
}

// LogTail returns the last lines broker i printed.
func (c *Cluster) LogTail(i int) (string, error) {
	n, err := c.node(i)
	if err != nil {
		return "", err
	}
	return n.logTail(), nil
}

// node returns broker i, or ends the test when the cluster is not the caller's.
func (c *Cluster) node(i int) (*node, error) {
	if c.refuse != nil {
		c.tb.Helper()
		c.refuse(c.tb)
	}
	if i < 1 || i > len(c.nodes) {
		return nil, fmt.Errorf("realkafka: there is no broker %d: brokers are 1 to %d", i, len(c.nodes))
	}
	return c.nodes[i-1], nil
}
