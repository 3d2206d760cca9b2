package edge

import (
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
)

// Conns are the connections of one instance; give it to kgo.WithHooks, or to the instance by Hooked. Unlike a Line it does not dial, and so works with TLS.
// Safe for concurrent use.
type Conns struct {
	mu  sync.Mutex
	all map[net.Conn]struct{}
}

var (
	_ kgo.HookBrokerConnect    = (*Conns)(nil)
	_ kgo.HookBrokerDisconnect = (*Conns)(nil)
)

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (c *Conns) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[net.Conn]struct{}{}
	}
	c.all[conn] = struct{}{}
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (c *Conns) OnBrokerDisconnect(_ kgo.BrokerMetadata, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, conn)
}

// Cut ends the connections that stand: what was shaken hands on at their begin is asked again.
func (c *Conns) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.all {
		_ = conn.Close() // one that just ended is what is wanted
	}
	clear(c.all)
}

// Hooked has an instance use them.
func (c *Conns) Hooked(cfg *consumer.Config) {
	cfg.Opts = append(cfg.Opts, kgo.WithHooks(c))
}
