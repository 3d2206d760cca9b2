package access_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

// encrypted is a cluster with TLS that wants a certificate of its clients too.
type encrypted struct {
	*edge.Cluster
	authority *realkafka.Authority
	issue     func(t *testing.T, life time.Duration) // another certificate for the brokers
	sasl      connect.SASL
}

// Certificates that expire under a worker that runs keep it out once its connections end: it says which of the two sides has to renew, and
// goes on by itself when that is done, without a restart of anything.
func TestCertificates(t *testing.T) {
	t.Run("kfake", func(t *testing.T) { certificates(t, encryptedFake(t)) })
	t.Run("kafka", func(t *testing.T) {
		c := encryptedReal(t)
		certificates(t, c)
		t.Run("wrong PLAIN password", func(t *testing.T) { // it is here because a cluster takes seconds to start
			at := edge.Real(c.Kafka)
			at.At = c.At
			wrong := c.sasl
			wrong.Password = "wrong"
			refuses(t, edge.New(t, at), wrong, refused)
		})
	})
}

func encryptedReal(t *testing.T) *encrypted {
	t.Helper()
	k := realkafka.ForTest(t, realkafka.Options{TLS: true, ClientCertificates: true, SASL: realkafka.SASLPlain, Users: map[string]string{"worker": "worker"}})
	c := &encrypted{Cluster: edge.Real(k), authority: k.Authority(), sasl: connect.SASL{Mechanism: connect.Plain, Username: "worker", Password: "worker"}}
	c.issue = func(t *testing.T, life time.Duration) {
		t.Helper()
		if err := k.IssueCertificate(t.Context(), life); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func encryptedFake(t *testing.T) *encrypted {
	t.Helper()
	a, err := realkafka.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.PEM())
	var now atomic.Pointer[tls.Config]
	issue := func(t *testing.T, life time.Duration) {
		t.Helper()
		cert, key, err := a.Issue(life)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		now.Store(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12})
	}
	issue(t, time.Hour)
	c := edge.Fake(t, kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return now.Load(), nil }}))
	cert, key, err := a.Issue(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	c.Opts = append(c.Opts, kgo.DialTLSConfig(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}))
	return &encrypted{Cluster: c, authority: a, issue: issue}
}

func certificates(t *testing.T, c *encrypted) {
	dir := t.TempDir()
	c.At.TLS = connect.TLS{Enabled: true, CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	c.At.SASL = c.sasl
	write := func(path string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	present := func(life time.Duration) {
		t.Helper()
		cert, key, err := c.authority.Issue(life)
		if err != nil {
			t.Fatal(err)
		}
		write(c.At.TLS.CertFile, cert)
		write(c.At.TLS.KeyFile, key)
	}
	write(c.At.TLS.CAFile, c.authority.PEM())
	present(time.Hour)
	r := edge.New(t, c.Cluster)
	var conns edge.Conns
	i := r.Start("w", conns.Hooked)
	r.Good(3)
	r.Finished()
	for _, x := range []struct {
		name       string
		spoil, fix func()
		want       string
	}{
		{"the broker's", func() { c.issue(t, -time.Minute) }, func() { c.issue(t, time.Hour) }, "the broker's certificate is not valid at this time: renew it there"},
		{"ours", func() { present(-time.Minute) }, func() { present(time.Hour) }, "the brokers refuse this client's certificate: renew the files of TLS.CertFile and TLS.KeyFile"},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.spoil()
			conns.Cut()
			r.Until(func() string { return says(i, x.want) })
			x.fix()
			r.Good(3)
			r.Finished()
			r.Until(func() string { return ready(i) })
		})
	}
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}
