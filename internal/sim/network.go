package sim

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// host is one process's view of the network: every connection it makes goes through a relay that can be cut for good, as
// a kill does, or frozen, as a long pause of the process or a full buffer does. What was written before or during a
// freeze lands when it thaws, even if the process has given the connection up: produces and commits of a zombie.
type host struct {
	net *kfake.VirtualNetwork

	mu    sync.Mutex
	dead  bool
	thaw  chan struct{} // nil while the network flows
	fuse  int           // messages until burnt is called; 0: no fuse
	burnt func()
	pairs map[*pair]struct{}
	wg    sync.WaitGroup
}

func newHost(n *kfake.VirtualNetwork) *host { return &host{net: n, pairs: map[*pair]struct{}{}} }

var errDead = errors.New("sim: the process is dead")

// dial is for kgo.Dialer.
func (h *host) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := h.flowing(ctx); err != nil {
		return nil, err
	}
	far, err := h.net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	near, mine := net.Pipe()
	p := &pair{mine: mine, far: far, more: make(chan struct{}, 1)}
	h.mu.Lock()
	if h.dead {
		h.mu.Unlock()
		_ = far.Close()
		return nil, errDead
	}
	h.pairs[p] = struct{}{}
	h.wg.Add(3)
	h.mu.Unlock()
	go h.collect(p)
	go h.send(p)
	go h.receive(p)
	return near, nil
}

// flowing waits while the network is frozen.
func (h *host) flowing(ctx context.Context) error {
	for {
		h.mu.Lock()
		thaw, dead := h.thaw, h.dead
		h.mu.Unlock()
		if dead {
			return errDead
		}
		if thaw == nil {
			return nil
		}
		select {
		case <-thaw:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// arm has f called instead of sending the n-th message from now on: a kill at that very effect.
func (h *host) arm(n int, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fuse, h.burnt = n, f
}

// burn counts a message down and reports whether it must not be sent any more.
func (h *host) burn() bool {
	h.mu.Lock()
	if h.fuse == 0 {
		dead := h.dead
		h.mu.Unlock()
		return dead
	}
	h.fuse--
	fire := h.fuse == 0
	h.mu.Unlock()
	if fire {
		h.burnt()
	}
	return fire
}

func (h *host) freeze() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.thaw == nil {
		h.thaw = make(chan struct{})
	}
}

func (h *host) heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.thaw != nil {
		close(h.thaw)
		h.thaw = nil
	}
}

// cut ends every connection for good; what had not reached a broker never does.
func (h *host) cut() {
	h.mu.Lock()
	h.dead = true
	if h.thaw != nil {
		close(h.thaw)
		h.thaw = nil
	}
	for p := range h.pairs {
		p.close()
	}
	h.mu.Unlock()
}

// pair is one connection: mine faces the process, far the broker.
type pair struct {
	mine, far net.Conn

	mu    sync.Mutex
	queue [][]byte
	ended bool // the process closed its side
	more  chan struct{}
}

func (p *pair) close() {
	_ = p.mine.Close()
	_ = p.far.Close()
}

func (p *pair) push(b []byte, ended bool) {
	p.mu.Lock()
	if b != nil {
		p.queue = append(p.queue, b)
	}
	p.ended = p.ended || ended
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
}

func (p *pair) pop() (b []byte, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 0 {
		b, p.queue = p.queue[0], p.queue[1:]
		return b, false
	}
	return nil, p.ended
}

// collect takes what the process writes, without ever making it wait.
func (h *host) collect(p *pair) {
	defer h.wg.Done()
	buf := make([]byte, 8<<10)
	for {
		n, err := p.mine.Read(buf)
		if n > 0 {
			p.push(append([]byte(nil), buf[:n]...), false)
		}
		if err != nil {
			p.push(nil, true)
			return
		}
	}
}

// send carries it on to the broker while the network flows.
func (h *host) send(p *pair) {
	defer h.wg.Done()
	defer func() {
		p.close()
		h.mu.Lock()
		delete(h.pairs, p)
		h.mu.Unlock()
	}()
	for {
		if h.flowing(context.Background()) != nil {
			return
		}
		b, ended := p.pop()
		if ended {
			return
		}
		if b == nil {
			<-p.more
			continue
		}
		if h.burn() {
			return
		}
		if _, err := p.far.Write(b); err != nil {
			return
		}
	}
}

// receive carries answers back; those to a connection that was given up are lost.
func (h *host) receive(p *pair) {
	defer h.wg.Done()
	buf := make([]byte, 8<<10)
	for {
		n, err := p.far.Read(buf)
		if err != nil {
			_ = p.mine.Close()
			return
		}
		if h.flowing(context.Background()) != nil {
			return
		}
		if _, err := p.mine.Write(buf[:n]); err != nil {
			continue // the broker's answers are read to the end, or it would stop reading ours
		}
	}
}
