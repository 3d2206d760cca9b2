package edge

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Condition is what a line is like.
type Condition int

// What a line may be like; the zero value is Fine.
const (
	Fine    Condition = iota
	Slow              // each read takes a fifth of a second longer
	Silent            // connections stand, nothing comes back
	Gone              // connections end, nobody answers a dial
	Garbage           // what comes back is nonsense
)

var errGone = errors.New("connection refused")

// Line is the network between one instance and its brokers. The zero value is fine; give it to kgo.Dialer. Safe for
// concurrent use.
type Line struct {
	mu    sync.Mutex
	is    Condition
	conns map[*conn]struct{}
}

// Become changes the line. Connections end with each change but to Slow and Silent, as those of a broker do that hung or
// talked nonsense for a while.
func (l *Line) Become(is Condition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.is
	l.is = is
	if is == Slow || is == Silent || was == Slow {
		return
	}
	for c := range l.conns {
		_ = c.Conn.Close()
	}
	clear(l.conns)
}

func (l *Line) now() Condition {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is
}

// Dial connects as long as the line lets it.
func (l *Line) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if l.now() == Gone {
		return nil, &net.OpError{Op: "dial", Net: network, Err: errGone}
	}
	inner, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{inner, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.is == Gone {
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
	line *Line
}

func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil {
			return n, err
		}
		switch c.line.now() {
		case Silent: // lost; the deadline of the reader ends this
			continue
		case Slow:
			time.Sleep(200 * time.Millisecond) // what the line takes, not to wait for something
		case Garbage:
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
