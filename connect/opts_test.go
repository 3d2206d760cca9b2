package connect

import (
	"context"
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
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// client opens a client by s; what goes wrong is the test's failure.
func client(t *testing.T, s Settings, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts, err := s.Opts()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// ping asks any broker for metadata, within a bound.
func ping(cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return cl.Ping(ctx)
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{Plain, ScramSHA256, ScramSHA512} {
		t.Run(mechanism, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network kfake.VirtualNetwork
				c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen),
					kfake.EnableSASL(), kfake.Superuser(mechanism, "svc", "right"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(c.Close)
				s := Settings{Brokers: []string{"localhost:9092"}, SASL: SASL{Mechanism: mechanism, Username: "svc", Password: "right"}}
				if err := ping(client(t, s, kgo.Dialer(network.DialContext))); err != nil {
					t.Errorf("the right password: %v", err)
				}
				s.SASL.Password = "wrong"
				if err := ping(client(t, s, kgo.Dialer(network.DialContext))); err == nil { // kfake hangs up without a code
					t.Error("a wrong password was let in")
				}
			})
		})
	}
}

func TestPasswordFileIsReadAtEachAuthentication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen),
			kfake.EnableSASL(), kfake.Superuser(ScramSHA256, "svc", "right"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte("wrong\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cl := client(t, Settings{
			Brokers: []string{"localhost:9092"},
			SASL:    SASL{Mechanism: ScramSHA256, Username: "svc", PasswordFile: path},
		}, kgo.Dialer(network.DialContext))
		if err := ping(cl); err == nil {
			t.Fatal("a wrong password was let in")
		}
		if err := os.WriteFile(path, []byte("right\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ping(cl); err != nil {
			t.Errorf("after the rotation, the same client: %v", err)
		}
	})
}

// certificate makes a self-signed one for localhost and writes it and its key as PEM files.
func certificate(t *testing.T) (cert tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err = tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return cert, certFile, keyFile
}

func TestTLS(t *testing.T) {
	cert, certFile, keyFile := certificate(t)
	pool := x509.NewCertPool()
	if pem, err := os.ReadFile(certFile); err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{ //nolint:gosec // the versions are the client's to bound
		Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for name, test := range map[string]struct {
		tls TLS
		ok  bool
	}{
		"mutual":                  {TLS{CAFile: certFile, CertFile: certFile, KeyFile: keyFile}, true},
		"no check of the broker":  {TLS{InsecureSkipVerify: true, CertFile: certFile, KeyFile: keyFile}, true},
		"own configuration":       {TLS{Config: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{cert}}}, true}, //nolint:gosec // default versions
		"an unknown authority":    {TLS{CertFile: certFile, KeyFile: keyFile}, false},
		"no client certificate":   {TLS{CAFile: certFile}, false},
		"another server's name":   {TLS{CAFile: certFile, CertFile: certFile, KeyFile: keyFile, ServerName: "elsewhere"}, false},
		"the name on certificate": {TLS{CAFile: certFile, CertFile: certFile, KeyFile: keyFile, ServerName: "localhost"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			test.tls.Enabled = true
			err := ping(client(t, Settings{Brokers: c.ListenAddrs(), TLS: test.tls}, kgo.RequestRetries(0)))
			if (err == nil) != test.ok {
				t.Errorf("ping: %v, want it to work: %v", err, test.ok)
			}
		})
	}
}

func TestOptsReportsFiles(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Settings){
		"Brokers":          func(s *Settings) { s.Brokers = nil },
		"TLS.CAFile: open": func(s *Settings) { s.TLS = TLS{Enabled: true, CAFile: filepath.Join(dir, "absent")} },
		"no PEM":           func(s *Settings) { s.TLS = TLS{Enabled: true, CAFile: empty} },
		"TLS.CertFile":     func(s *Settings) { s.TLS = TLS{Enabled: true, CertFile: empty, KeyFile: empty} },
		"SASL.PasswordFile": func(s *Settings) {
			s.SASL = SASL{Mechanism: Plain, Username: "u", PasswordFile: filepath.Join(dir, "absent")}
		},
		"is empty": func(s *Settings) { s.SASL = SASL{Mechanism: Plain, Username: "u", PasswordFile: empty} },
	} {
		s := valid()
		change(&s)
		if _, err := s.Opts(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func TestOptsSayTheSame(t *testing.T) {
	cl := client(t, Settings{Brokers: []string{"a:1", "b:2"}})
	if got := cl.OptValues(kgo.ClientID); got[0] != DefaultClientID {
		t.Errorf("client id %v", got)
	}
	if got := cl.OptValue(kgo.SeedBrokers).([]string); len(got) != 2 || got[1] != "b:2" {
		t.Errorf("seeds %v", got)
	}
}

func TestCheckOwned(t *testing.T) {
	owned := []Owned{
		{"RequiredAcks", kgo.RequiredAcks, []any{kgo.AllISRAcks()}, "jobs need all acks"},
		{"TransactionalID", kgo.TransactionalID, []any{"", false}, "use another client"},
		{"MaxBufferedRecords", kgo.MaxBufferedRecords, []any{int64(7)}, "set MaxBuffered"},
	}
	ours := []kgo.Opt{kgo.MaxBufferedRecords(7)}
	for name, c := range map[string]struct {
		users []kgo.Opt
		want  []string
	}{
		"none":                {nil, nil},
		"harmless":            {[]kgo.Opt{kgo.ProducerLinger(time.Second)}, nil},
		"the very same value": {[]kgo.Opt{kgo.MaxBufferedRecords(7), kgo.RequiredAcks(kgo.AllISRAcks())}, nil},
		"two": {[]kgo.Opt{kgo.MaxBufferedRecords(8), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()},
			[]string{"kgo.RequiredAcks belongs to Waybill; jobs need all acks", "kgo.MaxBufferedRecords belongs to Waybill; set MaxBuffered"}},
		"set at all": {[]kgo.Opt{kgo.TransactionalID("x")}, []string{"kgo.TransactionalID"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckOwned(client(t, valid(), append(ours, c.users...)...), owned)
			if (err == nil) != (c.want == nil) {
				t.Fatalf("error %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

// Nobody is in clear text by oversight: with TLS on, options that dial otherwise are refused.
func TestCheckDialing(t *testing.T) {
	plain := kgo.Dialer((&net.Dialer{}).DialContext)
	on := TLS{Enabled: true}
	for name, c := range map[string]struct {
		tls  TLS
		opts []kgo.Opt
		ok   bool
	}{
		"none":              {on, nil, true},
		"nothing to do":     {on, []kgo.Opt{kgo.ProducerLinger(0), nil, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t")}, true},
		"a dialer":          {on, []kgo.Opt{plain}, false},
		"TLS of its own":    {on, []kgo.Opt{kgo.DialTLS()}, false},
		"both":              {on, []kgo.Opt{kgo.DialTLS(), plain}, true}, // refused by the client
		"without TLS":       {TLS{}, []kgo.Opt{plain}, true},
		"TLS by the option": {TLS{}, []kgo.Opt{kgo.DialTLS()}, true},
	} {
		s := valid()
		s.TLS = c.tls
		if err := s.CheckDialing(c.opts); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
