package realkafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// certificateLife is far beyond any test run, and short enough that a forgotten
// directory is worth nothing.
const certificateLife = 30 * 24 * time.Hour

// Authority signs certificates for 127.0.0.1 and localhost. It lives in memory alone and
// is thrown away with its process. Safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// NewAuthority makes an authority of its own.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "waybill realkafka test authority"},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.Add(certificateLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	return &Authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// PEM returns the authority's certificate: what those must trust who are to trust it.
func (a *Authority) PEM() []byte { return a.pem }

// Issue returns a certificate and its key as PEM, for a broker or a client, valid for
// life from now on; a negative life makes one that ended so long ago.
func (a *Authority) Issue(life time.Duration) (cert, key []byte, err error) {
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		return nil, nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	leaf := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    a.cert.NotBefore,
		NotAfter:     time.Now().Add(life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, leafKey.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// tlsFiles are the keys of one cluster: what the brokers read, and what clients trust.
type tlsFiles struct {
	authority *Authority
	keystore  string // PEM: broker key, then its certificate
	ca        string // PEM: the authority's certificate
	config    *tls.Config
}

// generateTLS makes an authority and one certificate that all brokers share, and writes
// both under dir. The authority's key is never written. The clients of the launcher have
// a certificate too, for brokers that ask for one.
func generateTLS(dir string) (tlsFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	a, err := NewAuthority()
	if err != nil {
		return tlsFiles{}, err
	}
	cert, key, err := a.Issue(certificateLife)
	if err != nil {
		return tlsFiles{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	f := tlsFiles{
		authority: a,
		keystore:  filepath.Join(dir, "broker.pem"),
		ca:        filepath.Join(dir, "ca.pem"),
		config:    &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}},
	}
	if err := os.WriteFile(f.ca, a.pem, 0o644); err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	_, err = f.issue(certificateLife)
	return f, err
}

// issue writes a key store anew, in the order Kafka wants: key, then certificate. It
// returns the certificate.
func (f *tlsFiles) issue(life time.Duration) ([]byte, error) {
	cert, key, err := f.authority.Issue(life)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(f.keystore, append(key, cert...), 0o600); err != nil {
		return nil, fmt.Errorf("realkafka: TLS: %w", err)
	}
	return cert, nil
}

// Authority returns who signed the brokers' certificate, nil without TLS.
func (c *Cluster) Authority() *Authority { return c.access.tls.authority }

// IssueCertificate gives all brokers another certificate, valid for life from now on, a
// negative one long ended. Brokers that run load it, as an operator has them do it, and
// show it when this returns; connections that stand keep what they shook hands with. The launcher's own clients
// (WaitReady, AddUser) get in again only once the certificate is valid.
func (c *Cluster) IssueCertificate(ctx context.Context, life time.Duration) error {
	if !c.opts.TLS {
		return errors.New("realkafka: IssueCertificate needs Options.TLS")
	}
	cert, err := c.access.tls.issue(life)
	if err != nil {
		return err
	}
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	for _, n := range c.nodes {
		if !n.state().serving {
			continue
		}
		if err := n.reload(ctx, c.access.tls.keystore); err != nil {
			return n.errorf(fmt.Errorf("load the certificate: %w", err))
		}
		if err := poll(ctx, n, func(ctx context.Context) error { return n.shows(ctx, cert) }); err != nil {
			return err
		}
	}
	return nil
}

// shows asks whether the broker shows that certificate to whoever connects: it loads one
// in its own time.
func (n *node) shows(ctx context.Context, cert []byte) error {
	var shown []byte
	d := tls.Dialer{Config: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // it is looked at, and nothing is said to it
		VerifyConnection: func(s tls.ConnectionState) error {
			shown = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.PeerCertificates[0].Raw})
			return nil
		},
	}}
	conn, err := d.DialContext(ctx, "tcp", n.addr())
	if err == nil {
		_ = conn.Close() // only looked at
	}
	if shown == nil {
		return err
	}
	if !bytes.Equal(shown, cert) {
		return errors.New("it shows another certificate still")
	}
	return nil
}

// reload has the broker read its key store again. It is asked by the brokers' own
// listener, which has no TLS.
func (n *node) reload(ctx context.Context, keystore string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:" + strconv.Itoa(n.plan.internalPort)))
	if err != nil {
		return err
	}
	defer cl.Close()
	name := clientPrefix + "ssl.keystore.location"
	answers, err := kadm.NewClient(cl).AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &keystore}}, int32(n.plan.id))
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			return fmt.Errorf("%w: %s", a.Err, a.ErrMessage)
		}
	}
	return nil
}
