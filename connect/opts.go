package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Opts validates s and returns the client options that say the same: seed brokers, client id, TLS, SASL. The files that s
// names are read once here, so that a missing one is an error now and not at the first handshake.
func (s Settings) Opts() ([]kgo.Opt, error) {
	s = s.WithDefaults()
	if err := s.Validate(); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(s.Brokers...), kgo.ClientID(s.ClientID)}
	if s.TLS.Enabled {
		config, err := s.TLS.config()
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(config))
	}
	if s.SASL.Mechanism != "" {
		if _, err := s.SASL.secret(); err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(s.SASL.mechanism()))
	}
	return opts, nil
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
