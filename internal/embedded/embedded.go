package embedded

import (
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options say how the broker is built. The zero value is one broker that takes session timeouts from 1 s.
type Options struct {
	// Brokers is how many listeners pretend to be brokers of one cluster. Defaults to 1.
	Brokers int
	// MinSession is the shortest session timeout a group member may ask for. Defaults to 1 s.
	MinSession time.Duration
}

// Broker is a running cluster. Its methods may be called concurrently.
type Broker struct{ cluster *kfake.Cluster }

// Start listens on free ports of 127.0.0.1 and returns when clients may connect. Close it.
func Start(o Options) (*Broker, error) {
	if o.Brokers < 0 {
		return nil, fmt.Errorf("embedded: Brokers: %d is negative", o.Brokers)
	}
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.MinSession == 0 {
		o.MinSession = time.Second
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(o.Brokers), kfake.ListenFn(loopback), kfake.GroupMinSessionTimeout(o.MinSession))
	if err != nil {
		return nil, fmt.Errorf("embedded: %w", err)
	}
	return &Broker{c}, nil
}

// loopback listens on 127.0.0.1 whatever host is asked for: kfake trusts everybody who connects.
func loopback(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return net.Listen(network, net.JoinHostPort("127.0.0.1", port))
}

// Addrs are the addresses of the brokers, host:port.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Close ends the broker with everything it holds. Clients see their connections end.
func (b *Broker) Close() { b.cluster.Close() }
