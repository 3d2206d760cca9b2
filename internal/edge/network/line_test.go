package network_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// condition is what a line is like.
type condition int

const (
	fine    condition = iota
	slow              // each read takes a fifth of a second longer
	silent            // connections stand, nothing comes back
	gone              // connections end, nobody answers a dial
	garbage           // what comes back is nonsense
)

var errGone = errors.New("connection refused")

// line is the network between one instance and its brokers.
type line struct {
	mu    sync.Mutex
	is    condition
	conns map[*conn]struct{}
}

// become changes the line. Connections end with each change but to slow and silent, as those of a broker do that hung or
// talked nonsense for a while.
func (l *line) become(is condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.is
	l.is = is
	if is == slow || is == silent || was == slow {
		return
	}
	for c := range l.conns {
		_ = c.Conn.Close()
	}
	clear(l.conns)
}

func (l *line) now() condition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is
}

func (l *line) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if l.now() == gone {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errGone}
	}
	inner, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{inner, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.is == gone {
		_ = inner.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: errGone}
	}
	if l.conns == nil {
		l.conns = map[*conn]struct{}{}
	}
	l.conns[c] = struct{}{}
	return c, nil
}

type conn struct {
	net.Conn
	line *line
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil {
			return n, err
		}
		switch c.line.now() {
		case silent: // lost; the deadline of the reader ends this
			continue
		case slow:
			time.Sleep(200 * time.Millisecond) // what the line takes, not to wait for something
		case garbage:
			for i := range n {
				p[i] = byte(0xA5 ^ i)
			}
		}
		return n, nil
	}
}

func (c *conn) Close() error {
	c.line.mu.Lock()
	delete(c.line.conns, c)
	c.line.mu.Unlock()
	return c.Conn.Close()
}
