package edge

import (
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

// Cluster is what a case runs on.
type Cluster struct {
	Name  string             // "kfake" or "kafka"
	At    connect.Settings   // how an instance gets in
	Opts  []kgo.Opt          // how an administrator gets in
	Kfake *kfake.Cluster     // nil on Kafka
	Kafka *realkafka.Cluster // nil on kfake
}

// Both runs a case on an in-memory broker of its own and on the real Kafka that the tests of a process share; the second is
// skipped by name where there is none. Package realkafka says what TestMain must do.
func Both(t *testing.T, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) { test(t, Fake(t)) })
	t.Run("kafka", func(t *testing.T) { test(t, Real(realkafka.Shared(t))) })
}

// Fake starts an in-memory broker on the loopback interface; it ends with the test.
func Fake(t *testing.T, opts ...kfake.Opt) *Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.ListenFn(loopback), kfake.GroupMinSessionTimeout(minSession)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &Cluster{Name: "kfake", At: connect.Settings{Brokers: c.ListenAddrs()}, Opts: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, Kfake: c}
}

// Real is a Kafka whose clients need nothing but its address.
func Real(c *realkafka.Cluster) *Cluster {
	return &Cluster{Name: "kafka", At: connect.Settings{Brokers: c.Addrs()}, Opts: c.ClientOpts(), Kafka: c}
}

// loopback listens on 127.0.0.1 whatever host is asked for: kfake trusts everybody who connects.
func loopback(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return net.Listen(network, net.JoinHostPort("127.0.0.1", port))
}
