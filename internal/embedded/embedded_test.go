package embedded

import (
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestBrokerListensOnLoopbackOnly(t *testing.T) {
	b, err := Start(Options{Brokers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if len(b.Addrs()) != 2 {
		t.Fatalf("%d addresses, want 2: %v", len(b.Addrs()), b.Addrs())
	}
	for _, a := range b.Addrs() {
		host, _, err := net.SplitHostPort(a)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			t.Errorf("address %q is not on loopback (%v)", a, err)
		}
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 3, -1, nil, "jobs"); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "jobs", Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestLoopbackIgnoresTheHost(t *testing.T) {
	for _, asked := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		l, err := loopback("tcp", asked)
		if err != nil {
			t.Fatal(err)
		}
		if ip := l.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
			t.Errorf("asked for %s, listens on %s", asked, ip)
		}
		l.Close()
	}
	if _, err := loopback("tcp", "nowhere"); err == nil {
		t.Error("an address without a port was taken")
	}
}

func TestNegativeBrokers(t *testing.T) {
	if _, err := Start(Options{Brokers: -1}); err == nil {
		t.Error("accepted")
	}
}
