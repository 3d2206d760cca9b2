package connect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// authority signs certificates for brokers and clients of one test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	pool *x509.CertPool
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.pem, a.key = a.sign(template, time.Hour)
	block, _ := pem.Decode(a.pem)
	a.cert, _ = x509.ParseCertificate(block.Bytes)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate that is valid for so long from now on (or was, until so long ago); of the authority itself
// while there is none.
func (a *authority) sign(template *x509.Certificate, life time.Duration) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<60))
	template.NotBefore, template.NotAfter = time.Now().Add(-24*time.Hour), time.Now().Add(life)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

// leaf is a certificate for a broker or a client, with its key.
func (a *authority) leaf(life time.Duration) (cert, key []byte) {
	a.t.Helper()
	cert, priv := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, life)
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Certificates that expire are replaced while a client lives: the broker's, its authority, and the client's own. The next
// handshake reads the files again; until then the error says which of them is at fault and what to do.
func TestCertificatesAreRotated(t *testing.T) {
	old, next := newAuthority(t, "old"), newAuthority(t, "next")
	var broker atomic.Pointer[tls.Config]
	serve := func(a *authority, trusts *authority, life time.Duration) {
		pair, err := tls.X509KeyPair(a.leaf(life))
		if err != nil {
			t.Fatal(err)
		}
		broker.Store(&tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusts.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12})
	}
	dir := t.TempDir()
	at := TLS{Enabled: true, CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	write := func(path string, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	present := func(a *authority, life time.Duration) {
		cert, key := a.leaf(life)
		write(at.CertFile, cert)
		write(at.KeyFile, key)
	}
	serve(old, old, time.Hour)
	present(old, time.Hour)
	write(at.CAFile, old.pem)

	doors := &door{}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		doors.Listener = l
		return doors, err
	}), kfake.TLS(&tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return broker.Load(), nil }}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl := client(t, Settings{Brokers: c.ListenAddrs(), TLS: at}, kgo.RequestRetries(0))
	for _, step := range []struct {
		name   string
		change func()
		want   string // part of the advice; empty: it works
	}{
		{"all is well", func() {}, ""},
		{"the broker's certificate expired", func() { serve(old, old, -time.Hour) }, "the broker's certificate is not valid at this time"},
		{"and is renewed", func() { serve(old, old, time.Hour) }, ""},
		{"ours expired", func() { present(old, -time.Hour) }, "renew the files of TLS.CertFile and TLS.KeyFile"},
		{"and is renewed", func() { present(old, time.Hour) }, ""},
		{"the broker has another authority", func() { serve(next, old, time.Hour) }, "put that authority into the file of TLS.CAFile"},
		{"which is added to the file", func() { write(at.CAFile, append(append([]byte{}, old.pem...), next.pem...)) }, ""},
		{"the broker trusts only the new one", func() { serve(next, next, time.Hour) }, "refuse this client's certificate"},
		{"ours is signed by it", func() { present(next, time.Hour) }, ""},
		{"the old one is taken out", func() { write(at.CAFile, next.pem) }, ""},
		{"a file is half written", func() { write(at.CAFile, next.pem[:10]) }, "holds no PEM certificate"},
		{"and then whole", func() { write(at.CAFile, next.pem) }, ""},
	} {
		step.change()
		doors.cut()
		var err error
		for range 20 { // the client may hear late that a connection of before is gone
			if err = ping(cl); says(err, step.want) {
				break
			}
		}
		if !says(err, step.want) {
			t.Errorf("%s: %v, want %q", step.name, Explained(err), step.want)
		}
	}
}

func says(err error, want string) bool {
	return (err == nil) == (want == "") && (err == nil || strings.Contains(Explained(err).Error(), want))
}

// door is a listener that can end the connections it let in.
type door struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (d *door) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns = append(d.conns, c)
	return c, err
}

func (d *door) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	d.conns = nil
}
