package connect

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// DefaultClientID is what brokers see in their logs and quotas when Settings.ClientID is empty.
const DefaultClientID = "waybill"

// Settings is how to reach one cluster. The zero value names no broker and is refused by Validate; with Brokers alone it
// is a plain connection without authentication.
type Settings struct {
	// Brokers are the addresses to begin with, host or host:port (9092 where no port is named). The rest of the cluster is
	// learned from whichever answers first, so two or three are enough. Required.
	Brokers []string
	// ClientID names this program to the brokers. Defaults to DefaultClientID.
	ClientID string
	// TLS encrypts the connections. Off by default.
	TLS TLS
	// SASL authenticates them. Off by default.
	SASL SASL
}

// TLS is how connections are encrypted. The zero value leaves them in clear text.
type TLS struct {
	// Enabled turns TLS on. The other fields are refused while it is off, so that nobody is in clear text by oversight.
	Enabled bool
	// CAFile is a PEM file of the authorities that may have signed the brokers' certificates; it replaces the system's. It
	// is read again at each handshake, so new authorities need no restart. Defaults to the system's authorities.
	CAFile string
	// CertFile and KeyFile are the PEM files of this client's certificate, for brokers that ask for one. They are read
	// again at each handshake, so a renewed certificate needs no restart. Both or neither.
	CertFile, KeyFile string
	// ServerName is the name the brokers' certificates must bear. Defaults to the host that is dialled.
	ServerName string
	// InsecureSkipVerify accepts any certificate: encrypted, but anybody may be at the other end. For tests.
	InsecureSkipVerify bool
	// Config takes the place of all fields above but Enabled, for what they cannot say. It is cloned.
	Config *tls.Config `koanf:"-" json:"-"`
}

// SASL is how this program says who it is. The zero value says nothing. Without TLS, PLAIN sends the password readable.
type SASL struct {
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty turns SASL off. For another mechanism pass the client's
	// own option to the producer or consumer instead.
	Mechanism string
	// Username is required with a mechanism.
	Username string
	// Password is the secret itself. It is left out wherever a SASL is printed.
	Password string `json:"-"`
	// PasswordFile holds the secret in place of Password, one trailing line break cut off. It is read again at each
	// authentication, so a rotated secret needs no restart.
	PasswordFile string
}

// The mechanisms.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// String names mechanism and user, never the password.
func (s SASL) String() string {
	if s.Mechanism == "" {
		return "none"
	}
	return s.Mechanism + " as " + s.Username
}

// GoString is String: %#v must not print the password either.
func (s SASL) GoString() string { return "connect.SASL{" + s.String() + "}" }

// WithDefaults returns s with every empty field at its default.
func (s Settings) WithDefaults() Settings {
	if s.ClientID == "" {
		s.ClientID = DefaultClientID
	}
	return s
}

// Validate returns every fault of s, joined, each naming its field. It looks at no file and no network.
func (s Settings) Validate() error {
	var errs []error
	if len(s.Brokers) == 0 {
		errs = append(errs, errors.New("Brokers: none given; name at least one host:port"))
	}
	for i, b := range s.Brokers {
		if err := checkBroker(b); err != nil {
			errs = append(errs, fmt.Errorf("Brokers[%d]: %w", i, err))
		}
	}
	return errors.Join(append(errs, s.TLS.validate(), s.SASL.validate())...)
}

// checkBroker is stricter than the client, which would take a URL's scheme for a host name and fail at the first dial.
func checkBroker(addr string) error {
	if addr == "" || strings.ContainsAny(addr, " \t\r\n,/") {
		return fmt.Errorf("%q is not host:port; write one address an entry, without scheme or path", addr)
	}
	if strings.Count(addr, ":") != 1 && !strings.HasPrefix(addr, "[") {
		return nil // a host name, or a bare IPv6 address
	}
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 || host == "" {
		return fmt.Errorf("%q is not host:port with a port from 1 to 65535", addr)
	}
	return nil
}

func (t TLS) validate() error {
	var errs []error
	add := func(bad bool, text string) {
		if bad {
			errs = append(errs, errors.New(text))
		}
	}
	files := t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "" || t.InsecureSkipVerify
	add(!t.Enabled && (files || t.Config != nil), "TLS.Enabled: false, but other fields of TLS are set; enable it or clear them")
	add((t.CertFile == "") != (t.KeyFile == ""), "TLS.CertFile and TLS.KeyFile: give both or neither")
	add(t.Config != nil && files, "TLS.Config: replaces the other fields of TLS; set one or the other")
	return errors.Join(errs...)
}

func (s SASL) validate() error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	if s.Mechanism == "" {
		add(s.Username != "" || s.Password != "" || s.PasswordFile != "",
			"SASL.Mechanism: empty, but other fields of SASL are set; use %s, %s or %s", Plain, ScramSHA256, ScramSHA512)
		return errors.Join(errs...)
	}
	add(!slices.Contains([]string{Plain, ScramSHA256, ScramSHA512}, s.Mechanism),
		"SASL.Mechanism: %q is not supported; use %s, %s or %s", s.Mechanism, Plain, ScramSHA256, ScramSHA512)
	add(s.Username == "", "SASL.Username: empty")
	add(s.Password == "" && s.PasswordFile == "", "SASL.Password: empty; set it or PasswordFile")
	add(s.Password != "" && s.PasswordFile != "", "SASL.PasswordFile: Password is set too; set one of them")
	return errors.Join(errs...)
}
