package realkafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is far beyond any test run, and short enough that a forgotten
// directory is worth nothing.
const certificateLife = 30 * 24 * time.Hour

// tlsFiles are the keys of one cluster: what the brokers read, and what clients trust.
type tlsFiles struct {
	keystore string // PEM: broker key, then its certificate
	ca       string // PEM: the authority's certificate
	config   *tls.Config
}

// generateTLS makes an authority and one certificate for 127.0.0.1 and localhost, which
// all brokers share, and writes both under dir. The authority's key is never written.
func generateTLS(dir string) (tlsFiles, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "waybill realkafka test authority"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(certificateLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	broker := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caPEM, keystorePEM, err := signPair(authority, broker)
	if err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	f := tlsFiles{
		keystore: filepath.Join(dir, "broker.pem"),
		ca:       filepath.Join(dir, "ca.pem"),
		config:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
	if err := os.WriteFile(f.ca, caPEM, 0o644); err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	if err := os.WriteFile(f.keystore, keystorePEM, 0o600); err != nil {
		return tlsFiles{}, fmt.Errorf("realkafka: TLS: %w", err)
	}
	return f, nil
}

// signPair returns the authority's certificate, and the leaf's key and certificate in
// the order Kafka's PEM key store wants.
func signPair(authority, leaf *x509.Certificate) (caPEM, keystorePEM []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	caDER, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, authority, leafKey.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return nil, nil, err
	}
	caPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	keystorePEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	keystorePEM = append(keystorePEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leafDER})...)
	return caPEM, keystorePEM, nil
}
