package connect

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"
)

type level int

func (l *level) UnmarshalText(b []byte) error { *l = level(len(b)); return nil }

// shape is a section's struct with every sort of field.
type shape struct {
	Settings
	Group     string
	MaxAhead  int
	Share     float64
	Shards    uint16
	Verbose   bool
	Drain     time.Duration
	Tiers     []time.Duration
	Routes    map[string]string
	Level     level
	Topics    []shapeTopic
	Nested    struct{ DeepKey string }
	Renamed   string                `koanf:"other_name"`
	Hidden    string                `koanf:"-"`
	Callback  func()                // no setting can say a function
	Policies  map[string]shapeTopic // by a name with dots
	Recursive *shape
}

type shapeTopic struct{ Name, DefaultKind string }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "waybill.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const full = `
brokers: [a:9092, b:9092]
client_id: file
tls: {enabled: true, server_name: kafka}
sasl: {mechanism: PLAIN, username: u, password: "0123"}
producer: {topic: emails}
app: {anything: [goes]}
consumer:
  group: mailer
  brokers: c:9092,d:9092
  max_ahead: 7
  share: 0.5
  shards: 3
  verbose: true
  drain: 30s
  tiers: [10s, 2m]
  routes: {email.welcome: emails, email.bye: emails}
  level: info
  topics: [{name: T, default_kind: k}]
  nested: {deep_key: x}
  other_name: y
  policies: {email.welcome: {name: n}}
  tls: {ca_file: ca.pem}
`

func TestLoadFile(t *testing.T) {
	var got shape
	got.Hidden = "kept"
	if err := Load(write(t, full), "consumer", &got); err != nil {
		t.Fatal(err)
	}
	want := shape{
		Settings: Settings{
			Brokers: []string{"c:9092", "d:9092"}, ClientID: "file",
			TLS:  TLS{Enabled: true, ServerName: "kafka", CAFile: "ca.pem"},
			SASL: SASL{Mechanism: Plain, Username: "u", Password: "0123"},
		},
		Group: "mailer", MaxAhead: 7, Share: 0.5, Shards: 3, Verbose: true, Drain: 30 * time.Second,
		Tiers:  []time.Duration{10 * time.Second, 2 * time.Minute},
		Routes: map[string]string{"email.welcome": "emails", "email.bye": "emails"},
		Level:  4, Topics: []shapeTopic{{"T", "k"}}, Renamed: "y", Hidden: "kept",
		Policies: map[string]shapeTopic{"email.welcome": {Name: "n"}},
	}
	want.Nested.DeepKey = "x"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}

	var top Settings
	if err := Load(write(t, full), "", &top); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(top.Brokers, []string{"a:9092", "b:9092"}) || top.TLS.CAFile != "" {
		t.Errorf("the top level alone gave %+v", top)
	}

	var other struct{ Topic string } // a section that has no use for the connection
	if err := Load(write(t, full), "producer", &other); err != nil || other.Topic != "emails" {
		t.Errorf("producer: %+v, %v", other, err)
	}

	var app struct{ Listen string }
	if err := Load(write(t, "app: {webhooks: {listen: ':1'}, billing: {x: 1}}"), "app.webhooks", &app); err != nil || app.Listen != ":1" {
		t.Errorf("app.webhooks: %+v, %v", app, err)
	}
}

func TestEnvironmentBeatsFile(t *testing.T) {
	for name, value := range map[string]string{
		"WAYBILL_BROKERS": "e:1, f:2", "WAYBILL_SASL_USERNAME": "env", "WAYBILL_TLS_INSECURE_SKIP_VERIFY": "true",
		"WAYBILL_CONSUMER_GROUP": "other", "WAYBILL_CONSUMER_MAX_AHEAD": "9", "WAYBILL_CONSUMER_DRAIN": "1m",
		"WAYBILL_CONSUMER_TIERS": "1s,2s,3s", "WAYBILL_CONSUMER_ROUTES": "a.b=x,c=y=z", "WAYBILL_CONSUMER_LEVEL": "debug",
		"WAYBILL_CONSUMER_NESTED_DEEP_KEY": "env", "WAYBILL_CONSUMER_SHARDS": "65535", "WAYBILL_CONSUMER_SHARE": "1e-3",
		"WAYBILL_CONSUMER_TLS_CA_FILE": "env.pem", "WAYBILL_CLIENT_ID": "", // empty: unset
		"WAYBILL_KAFKA": "auto", "WAYBILL_KAFKA_BROKERS": "x", "WAYBILL_SERVICE_HOST": "10.0.0.1", "WAYBILL_CONSUMER_PORT": "tcp://x",
	} {
		t.Setenv(name, value)
	}
	t.Setenv(EnvFile, write(t, full))
	got := shape{Tiers: []time.Duration{1, 2, 3, 4, 5}}
	if err := Load("", "consumer", &got); err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	check("Brokers: any variable beats the file's section", got.Brokers, []string{"e:1", "f:2"})
	check("Username", got.SASL.Username, "env")
	check("Password", got.SASL.Password, "0123")
	check("ClientID", got.ClientID, "file")
	check("TLS", got.TLS, TLS{Enabled: true, ServerName: "kafka", InsecureSkipVerify: true, CAFile: "env.pem"})
	check("Group", got.Group, "other")
	check("MaxAhead", got.MaxAhead, 9)
	check("Drain", got.Drain, time.Minute)
	check("Tiers", got.Tiers, []time.Duration{time.Second, 2 * time.Second, 3 * time.Second})
	check("Routes: replaced, not merged", got.Routes, map[string]string{"a.b": "x", "c": "y=z"})
	check("Level", got.Level, level(5))
	check("DeepKey", got.Nested.DeepKey, "env")
	check("Shards", got.Shards, uint16(65535))
	check("Share", got.Share, 0.001)

	t.Setenv("WAYBILL_CONSUMER_BROKERS", "g:3")
	if err := Load("", "consumer", &got); err != nil {
		t.Fatal(err)
	}
	check("Brokers: the section's variable beats the shared one", got.Brokers, []string{"g:3"})
}

func TestDefaultsSurvive(t *testing.T) {
	got := shape{Group: "default", Tiers: []time.Duration{1, 2, 3}, Routes: map[string]string{"k": "v"}, MaxAhead: 5}
	got.TLS.ServerName = "default"
	if err := Load("", "consumer", &got); err != nil || got.Group != "default" || len(got.Tiers) != 3 {
		t.Fatalf("without any source: %+v, %v", got, err)
	}
	if err := Load(write(t, "consumer: {tiers: [5s], routes: {a: b}, tls: {ca_file: x}}"), "consumer", &got); err != nil {
		t.Fatal(err)
	}
	if got.Group != "default" || got.MaxAhead != 5 || got.TLS != (TLS{ServerName: "default", CAFile: "x"}) {
		t.Errorf("unnamed settings changed: %+v", got)
	}
	if !reflect.DeepEqual(got.Tiers, []time.Duration{5 * time.Second}) || !reflect.DeepEqual(got.Routes, map[string]string{"a": "b"}) {
		t.Errorf("lists and maps must be replaced: %v, %v", got.Tiers, got.Routes)
	}
	if err := Load(write(t, ""), "consumer", &got); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	if err := Load(write(t, "consumer:\nproducer:\n"), "consumer", &got); err != nil {
		t.Errorf("empty sections: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text, section string
		want          []string
	}{
		"unknown in the section":    {"consumer: {grup: x}", "consumer", []string{"unknown key consumer.grup", "group"}},
		"unknown, nested":           {"consumer: {nested: {dep: x}}", "consumer", []string{"unknown key consumer.nested.dep"}},
		"unknown in a list":         {"consumer: {topics: [{name: a}, {nam: b}]}", "consumer", []string{"unknown key consumer.topics[1].nam"}},
		"unknown in a map":          {"consumer: {policies: {a.b: {nam: b}}}", "consumer", []string{"unknown key consumer.policies.a.b.nam"}},
		"unknown at the top":        {"tsl: {enabled: true}\nbrokrs: x", "consumer", []string{"unknown key tsl", "unknown key brokrs"}},
		"unknown at the top alone":  {"tsl: {enabled: true}", "", []string{"unknown key tsl"}},
		"unknown in shared keys":    {"sasl: {user: u}", "producer", []string{"unknown key sasl.user", "username"}},
		"a tagged-out field":        {"consumer: {hidden: x}", "consumer", []string{"unknown key consumer.hidden"}},
		"the Go name of a field":    {"consumer: {MaxAhead: 1}", "consumer", []string{"unknown key consumer.MaxAhead"}},
		"all at once":               {"x: 1\nconsumer: {y: 1, z: 2}", "consumer", []string{"unknown key x", "consumer.y", "consumer.z"}},
		"a section that is no map":  {"consumer: 5", "consumer", []string{"consumer must be a map"}},
		"a number for a text":       {"sasl: {password: 991357}", "consumer", []string{"SASL.Password", "string"}},
		"a bare number as duration": {"consumer: {drain: 30}", "consumer", []string{"Drain", "needs its unit"}},
		"text for a number":         {"consumer: {max_ahead: many}", "consumer", []string{"MaxAhead"}},
		"a map for a leaf":          {"consumer: {group: {a: 1}}", "consumer", []string{"Group"}},
		"not YAML":                  {"a: [", "consumer", []string{"yaml"}},
		"a list at the top":         {"- a", "consumer", []string{"yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := Load(write(t, c.text), c.section, &shape{})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "991357") {
				t.Errorf("error %q gives the value away", err)
			}
		})
	}
	var s shape
	for name, into := range map[string]any{"nil": nil, "a value": s, "a nil pointer": (*shape)(nil), "no struct": new(int)} {
		if err := Load("", "consumer", into); err == nil {
			t.Errorf("into %s: accepted", name)
		}
	}
	if err := Load(filepath.Join(t.TempDir(), "absent.yaml"), "consumer", &s); err == nil || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestLoadRefusesVariables(t *testing.T) {
	for name, value := range map[string]string{
		"WAYBILL_CONSUMER_MAX_AHEAD": "secret", "WAYBILL_CONSUMER_DRAIN": "30", "WAYBILL_TLS_ENABLED": "maybe",
		"WAYBILL_CONSUMER_TIERS": "1s,x", "WAYBILL_CONSUMER_ROUTES": "a=b,c", "WAYBILL_CONSUMER_SHARDS": "65536", "WAYBILL_CONSUMER_SHARE": "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			err := Load("", "consumer", &shape{})
			if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v must name %s, and not its value", err, name)
			}
		})
	}
}

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"ClientID": "client_id", "CAFile": "ca_file", "TLS": "tls", "SASL": "sasl", "Group": "group", "MaxInFlight": "max_in_flight",
		"InsecureSkipVerify": "insecure_skip_verify", "already_snake": "already_snake", "A": "a", "": "", "DLQTopic": "dlq_topic",
	} {
		if got := snake(in); got != want {
			t.Errorf("snake(%q) = %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[A-Z][A-Za-z0-9_]{0,20}`).Draw(t, "name")
		once := snake(name)
		if strings.IndexFunc(once, unicode.IsUpper) >= 0 || snake(once) != once {
			t.Fatalf("snake(%q) = %q is not settled", name, once)
		}
	})
}

// FuzzLoad: no file makes Load panic, and what it accepts holds no key it does not know.
func FuzzLoad(f *testing.F) {
	f.Add(full, "consumer")
	f.Add("consumer: {topics: [{name: a}, 5, null]}", "consumer")
	f.Add("? {a: b}\n: c", "")
	f.Add("brokers: {a: b}", "app.x.y")
	f.Add("consumer: {recursive: {group: x}}", "consumer")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, section string) {
		path := filepath.Join(dir, "fuzz.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_ = Load(path, section, &shape{})
	})
}

func FuzzParseText(f *testing.F) {
	f.Add("a=b,c=d")
	f.Add("1s,2s")
	f.Fuzz(func(t *testing.T, text string) {
		for i := range reflect.TypeFor[shape]().NumField() {
			if s := typeSchema(reflect.TypeFor[shape]().Field(i).Type, nil); s != nil && s.typ != nil {
				if _, err := parseText(s.typ, text); err != nil && len(text) > 30 && strings.Contains(err.Error(), text) {
					t.Errorf("error %q gives the value away", err)
				}
			}
		}
	})
}
