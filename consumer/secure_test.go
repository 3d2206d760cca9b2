package consumer_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// The credentials reach every client: the group's, the writer's, those that read the layout and the receipt log.
func TestSASL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t}
		var err error
		r.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(r.net.Listen), kfake.SeedTopics(2, topicName),
			kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "svc", "right"))
		if err != nil {
			t.Fatal(err)
		}
		defer r.cluster.Close()
		sasl := connect.SASL{Mechanism: "SCRAM-SHA-256", Username: "svc", Password: "right"}
		for range 2 { // the second finds a log to read
			a := r.start("a", func(c *consumer.Config) { c.SASL = sasl })
			if err := a.Ready(); err != nil || len(a.epochs()) != 2 {
				t.Errorf("not ready: %v; tasks %v", err, a.epochs())
			}
			a.clean()
		}
		sasl.Password = "wrong"
		b := r.launch("b", func(c *consumer.Config) { c.SASL = sasl })
		time.Sleep(5 * time.Minute)
		if len(b.done) == 0 {
			t.Error("Run goes on with a wrong password")
		}
		if err := b.stop(); err == nil {
			t.Error("a wrong password was let in")
		}
	})
}

// certificate makes a self-signed one for this machine's loopback.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// The same with TLS, over real sockets of the loopback.
func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topicName), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}})) //nolint:gosec // the client bounds the versions
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	trust := connect.TLS{Enabled: true, Config: &tls.Config{RootCAs: pool}} //nolint:gosec // default versions
	ran := make(chan string, 1)
	mux := processor.NewMux()
	processor.Handle(mux, func(_ context.Context, j *job.Job[note]) error { ran <- j.Args.Text; return nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- consumer.Run(ctx, consumer.Config{Brokers: c.ListenAddrs(), Group: groupName, Topics: []string{topicName}, Mux: mux, Setup: consumer.Create, TLS: trust})
	}()
	opts, err := connect.Settings{Brokers: c.ListenAddrs(), TLS: trust}.Opts()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topicName, Value: []byte(`{"text":"x"}`),
		Headers: []kgo.RecordHeader{{Key: job.HeaderKind, Value: []byte("note")}, {Key: job.HeaderID, Value: []byte("1")}}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-ran:
		if text != "x" {
			t.Errorf("ran %q", text)
		}
	case err := <-ended:
		t.Fatalf("Run: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
