package connect

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func valid() Settings { return Settings{Brokers: []string{"kafka-1:9092"}} }

func TestValidateNamesEveryFault(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Settings)
		want   []string // a part of each line; none: valid
	}{
		"plain":       {func(*Settings) {}, nil},
		"several":     {func(s *Settings) { s.Brokers = []string{"a", "b:1", "[::1]:9092", "[::1]", "::1", "10.0.0.1:65535"} }, nil},
		"no brokers":  {func(s *Settings) { s.Brokers = nil }, []string{"Brokers: none given"}},
		"bad brokers": {func(s *Settings) { s.Brokers = []string{"", "kafka://a:1", "a:0", "a:65536", "a:x", ":9092", "a,b"} }, []string{"Brokers[0]", "Brokers[1]", "Brokers[2]", "Brokers[3]", "Brokers[4]", "Brokers[5]", "Brokers[6]"}},
		"tls": {func(s *Settings) {
			s.TLS = TLS{Enabled: true, CAFile: "a", CertFile: "b", KeyFile: "c", ServerName: "d"}
		}, nil},
		"tls off":           {func(s *Settings) { s.TLS.CAFile = "a" }, []string{"TLS.Enabled"}},
		"tls config off":    {func(s *Settings) { s.TLS.Config = &tls.Config{} }, []string{"TLS.Enabled"}},
		"tls half a pair":   {func(s *Settings) { s.TLS = TLS{Enabled: true, KeyFile: "k"} }, []string{"TLS.CertFile and TLS.KeyFile"}},
		"tls config and ca": {func(s *Settings) { s.TLS = TLS{Enabled: true, CAFile: "a", Config: &tls.Config{}} }, []string{"TLS.Config"}},
		"sasl":              {func(s *Settings) { s.SASL = SASL{Mechanism: Plain, Username: "u", Password: "p"} }, nil},
		"sasl file":         {func(s *Settings) { s.SASL = SASL{Mechanism: ScramSHA512, Username: "u", PasswordFile: "f"} }, nil},
		"sasl no mechanism": {func(s *Settings) { s.SASL = SASL{Username: "u"} }, []string{"SASL.Mechanism: empty"}},
		"sasl nothing else": {func(s *Settings) { s.SASL = SASL{Mechanism: "GSSAPI"} }, []string{`SASL.Mechanism: "GSSAPI"`, "SASL.Username", "SASL.Password"}},
		"sasl two secrets":  {func(s *Settings) { s.SASL = SASL{Mechanism: Plain, Username: "u", Password: "p", PasswordFile: "f"} }, []string{"SASL.PasswordFile"}},
		"all at once":       {func(s *Settings) { *s = Settings{TLS: TLS{CAFile: "a"}, SASL: SASL{Username: "u"}} }, []string{"Brokers", "TLS.Enabled", "SASL.Mechanism"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := valid()
			c.change(&s)
			var lines []string
			if err := s.Validate(); err != nil {
				lines = strings.Split(err.Error(), "\n")
			}
			if len(lines) != len(c.want) {
				t.Fatalf("got %d faults %q, want %d", len(lines), lines, len(c.want))
			}
			for i := range lines {
				if !strings.Contains(lines[i], c.want[i]) {
					t.Errorf("fault %q does not say %q", lines[i], c.want[i])
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	if got := (Settings{}).WithDefaults().ClientID; got != DefaultClientID {
		t.Errorf("ClientID = %q", got)
	}
	if got := (Settings{ClientID: "mine"}).WithDefaults().ClientID; got != "mine" {
		t.Errorf("ClientID = %q, a given one must stay", got)
	}
}

func TestPasswordIsNeverPrinted(t *testing.T) {
	s := valid()
	s.SASL = SASL{Mechanism: Plain, Username: "svc", Password: "hunter2"}
	type holder struct{ Conn Settings }
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{s, &s, s.SASL, holder{s}} {
			if text := fmt.Sprintf(format, v); strings.Contains(text, "hunter2") {
				t.Errorf("%s of %T prints the password: %s", format, v, text)
			}
		}
	}
	if got := fmt.Sprint(s.SASL); got != "PLAIN as svc" {
		t.Errorf("printed as %q", got)
	}
	if got := fmt.Sprint(SASL{}); got != "none" {
		t.Errorf("printed as %q", got)
	}
}
