package realkafka

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

func testPlans(n int) []nodePlan {
	plans := make([]nodePlan, n)
	for i := range plans {
		id := i + 1
		plans[i] = nodePlan{
			id: id, clientPort: 20000 + id, internalPort: 21000 + id, controllerPort: 22000 + id,
			dir: "/data/broker-" + string(rune('0'+id)),
		}
	}
	return plans
}

func TestPropertiesGolden(t *testing.T) {
	cred := credentials{adminPassword: "ADMINSECRET", keystore: "/data/tls/broker.pem"}
	for _, tc := range []struct {
		name string
		o    Options
		node int
	}{
		{"one-plaintext", Options{}, 1},
		{"three-second", Options{Brokers: 3}, 2},
		{"scram-acl", Options{SASL: SASLScramSHA256, ACLs: true, Users: map[string]string{"not": "here"}}, 1},
		{"plain-users", Options{SASL: SASLPlain, Users: map[string]string{"zoe": "z1", "bob": "b1"}}, 1},
		{"tls", Options{TLS: true}, 1},
		{"tls-plain", Options{TLS: true, SASL: SASLPlain}, 1},
		{"overrides", Options{Properties: map[string]string{
			"log.retention.ms": "1000", "num.partitions": "3", "file.delete.delay.ms": "",
		}}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := tc.o.withDefaults()
			if err := o.validate(); err != nil {
				t.Fatal(err)
			}
			plans := testPlans(o.Brokers)
			got := encodeProperties(brokerProperties(o, plans[tc.node-1], plans, cred))
			golden := filepath.Join("testdata", tc.name+".properties")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v; run the test with -update", err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s (run with -update if that is meant):\n%s", golden, got)
			}
		})
	}
}

func TestEncodePropertiesEscapes(t *testing.T) {
	for value, want := range map[string]string{
		`C:\data`:    `C:\\data`,
		"a\nb":       `a\nb`,
		"  two":      `\ \ two`,
		"a b ":       "a b ",
		"größe":      `gr\u00f6\u00dfe`,
		"\U0001F4E6": `\ud83d\udce6`,
		"x=y:z#!":    "x=y:z#!",
		"\x00":       `\u0000`,
	} {
		if got := string(encodeProperties(map[string]string{"k": value})); got != "k="+want+"\n" {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func TestOptionsValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		want string // part of the error; "" for none
	}{
		{"zero", Options{}, ""},
		{"everything", Options{Brokers: 3, SASL: SASLScramSHA256, ACLs: true, TLS: true, HeapMiB: 64, Users: map[string]string{"a.b_c-1": "p"}}, ""},
		{"two brokers", Options{Brokers: 2}, "use 1 or 3"},
		{"unknown mechanism", Options{SASL: "GSSAPI"}, `use "PLAIN", "SCRAM-SHA-256"`},
		{"users without SASL", Options{Users: map[string]string{"a": "b"}}, "needs Options.SASL"},
		{"ACLs without SASL", Options{ACLs: true}, "needs Options.SASL"},
		{"quote in password", Options{SASL: SASLPlain, Users: map[string]string{"a": `b"`}}, "may only hold"},
		{"empty password", Options{SASL: SASLPlain, Users: map[string]string{"a": ""}}, "may only hold"},
		{"second admin", Options{SASL: SASLPlain, Users: map[string]string{"admin": "b"}}, "another name"},
		{"small heap", Options{HeapMiB: 32}, "at least 64"},
		{"comma in path", Options{Dir: "/a,b"}, "comma"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.o.withDefaults().validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("unexpected error: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestOptionsDefaults(t *testing.T) {
	if o := (Options{}).withDefaults(); o.Brokers != 1 || o.HeapMiB != 256 {
		t.Errorf("got %d brokers and %d MiB, want 1 and 256", o.Brokers, o.HeapMiB)
	}
	if o := (Options{Fast: true}).withDefaults(); o.HeapMiB != 1024 {
		t.Errorf("got %d MiB for Fast, want 1024", o.HeapMiB)
	}
}

func TestClusterIDs(t *testing.T) {
	for range 500 {
		if id := randomClusterID(); len(id) != 22 || id[0] == '-' {
			t.Fatalf("cluster id %q: want 22 characters, the first not a dash", id)
		}
	}
}
