package connect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Advice says, in a few words, what to do about an error of a connection: of TLS, of SASL, of a broker that talks something
// else. It is empty for errors that it does not know.
func Advice(err error) string {
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		remote  *net.OpError
		record  tls.RecordHeaderError
		early   *kgo.ErrFirstReadEOF
	)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the brokers refuse this user or its password: correct SASL.Username, SASL.Password or the file of SASL.PasswordFile"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the brokers do not offer this mechanism: correct SASL.Mechanism"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the broker's certificate is not valid at this time: renew it there (or set this machine's clock)"
	case errors.As(err, &unknown):
		return "the broker's certificate is signed by an authority that is not trusted here: put that authority into the file of TLS.CAFile, which is read at each handshake"
	case errors.As(err, &name):
		return "the broker's certificate bears another name: correct Brokers or set TLS.ServerName"
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert, which crypto/tls has no exported type for
		return adviceOnAlert(remote.Err.Error())
	case errors.As(err, &record):
		return "the broker does not speak TLS at this port: correct Brokers, or turn TLS.Enabled off"
	case errors.As(err, &early):
		return "the broker closed the connection at once: it may want TLS (TLS.Enabled) or SASL (SASL.Mechanism)"
	}
	return ""
}

// adviceOnAlert is about what a broker said of our side of a handshake.
func adviceOnAlert(text string) string {
	for _, word := range []string{"certificate expired", "expired certificate", "bad certificate", "certificate required", "unknown certificate", "revoked certificate"} {
		if strings.Contains(text, word) {
			return "the brokers refuse this client's certificate: renew the files of TLS.CertFile and TLS.KeyFile, which are read at each handshake"
		}
	}
	return "the brokers refuse the TLS handshake"
}

// Explained is err with what Advice has to say about it.
func Explained(err error) error {
	if advice := Advice(err); advice != "" {
		return &explained{err, advice}
	}
	return err
}

type explained struct {
	err    error
	advice string
}

func (e *explained) Error() string { return e.err.Error() + "; " + e.advice }
func (e *explained) Unwrap() error { return e.err }
