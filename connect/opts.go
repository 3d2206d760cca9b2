package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Opts validates s and returns the client options that say the same: seed brokers, client id, TLS, SASL. The files that s
// names are read once here, so that a missing one is an error now and not only at the first handshake, and then again at
// each handshake and authentication.
func (s Settings) Opts() ([]kgo.Opt, error) {
	s = s.WithDefaults()
	if err := s.Validate(); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(s.Brokers...), kgo.ClientID(s.ClientID)}
	if s.TLS.Enabled {
		dial, err := s.TLS.dialing()
		if err != nil {
			return nil, err
		}
		opts = append(opts, dial)
	}
	if s.SASL.Mechanism != "" {
		if _, err := s.SASL.secret(); err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(s.SASL.mechanism()))
	}
	return opts, nil
}

// dialTimeout bounds a dial with its handshake; the client's own default.
const dialTimeout = 10 * time.Second

// dialing is the option by which the client dials with an enabled, valid t. Where the authorities come from a file it is
// read again at each dial, since authorities are rotated too, and a client of a service lives longer than they do.
func (t TLS) dialing() (kgo.Opt, error) {
	config, err := t.config()
	if err != nil {
		return nil, err
	}
	if t.CAFile == "" {
		return kgo.DialTLSConfig(config), nil
	}
	return kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := t.config()
		if err != nil {
			return nil, err
		}
		d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: c} // takes the name to verify from address, where c has none
		return d.DialContext(ctx, network, address)
	}), nil
}

// config builds the TLS configuration of an enabled, valid t.
func (t TLS) config() (*tls.Config, error) {
	if t.Config != nil {
		return t.Config.Clone(), nil
	}
	c := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         t.ServerName,
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec // the user's explicit choice, documented as such
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("TLS.CAFile: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("TLS.CAFile: %s holds no PEM certificate", t.CAFile)
		}
	}
	if t.CertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("TLS.CertFile, TLS.KeyFile: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	return c, nil
}

// secret returns the password, from the file where one is named.
func (s SASL) secret() (string, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("SASL.PasswordFile: %w", err)
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if secret == "" {
		return "", fmt.Errorf("SASL.PasswordFile: %s is empty", s.PasswordFile)
	}
	return secret, nil
}

// mechanism returns the client's mechanism for a valid s; it asks for the secret anew at each authentication.
func (s SASL) mechanism() sasl.Mechanism {
	if s.Mechanism == Plain {
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			secret, err := s.secret()
			return plain.Auth{User: s.Username, Pass: secret}, err
		})
	}
	auth := func(context.Context) (scram.Auth, error) {
		secret, err := s.secret()
		return scram.Auth{User: s.Username, Pass: secret}, err
	}
	if s.Mechanism == ScramSHA512 {
		return scram.Sha512(auth)
	}
	return scram.Sha256(auth)
}
