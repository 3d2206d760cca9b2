package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/bench"
	"github.com/waybill-dev/waybill/internal/realkafka"
)

func TestBenchCommandLine(t *testing.T) {
	t.Setenv("WAYBILL_CONFIG", "")
	t.Setenv("WAYBILL_BROKERS", "")
	for _, c := range []struct {
		args string
		code int
		want string // in stderr
	}{
		{"bench", 1, "name a case"},
		{"bench nonsense", 1, `no case "nonsense"`},
		{"bench noop --row nonsense", 1, `no row "nonsense"`},
		{"bench noop", 1, "internal/realkafka/cmd/realkafka"},
		{"bench noop --check --seconds 1 --brokers localhost:9092", 1, "sides of 1 instead of 10 s"},
		{"bench noop --check --jobs 10 --brokers localhost:9092", 1, "topics of 10 jobs"},
		{"bench noop --rounds -1 --brokers localhost:9092", 1, "Rounds"},
		{"bench noop --brokers 127.0.0.1:1", 1, "is 127.0.0.1:1 a broker"},
	} {
		o := waybill(t, "", strings.Fields(c.args)...)
		if o.code != c.code || !strings.Contains(o.stderr, c.want) {
			t.Errorf("waybill %s: %+v", c.args, o)
		}
	}
	o := waybill(t, "", "bench", "--help")
	for _, c := range bench.Cases() {
		if !strings.Contains(o.stdout, c.Measures) {
			t.Errorf("the help says nothing of %s", c.Name)
		}
	}
}

// TestRealBench measures every case in a few seconds on a real Kafka: what is measured means nothing, that it is measured does.
func TestRealBench(t *testing.T) {
	t.Setenv("WAYBILL_CONFIG", "")
	brokers := strings.Join(realkafka.Shared(t).Addrs(), ",")
	for _, c := range bench.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			o := waybill(t, "", "bench", c.Name, "--brokers", brokers, "--rounds", "1", "--seconds", "0.1", "--jobs", "1000", "--json")
			lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
			if o.code != 0 || len(lines) != max(1, len(c.Rows)) {
				t.Fatalf("exit %d, %d rows: %s\n%s", o.code, len(lines), o.stdout, o.stderr)
			}
			for _, l := range lines {
				var row struct {
					Case  string `json:"case"`
					Below string `json:"below_method"`
					OK    *bool  `json:"ok"`
				}
				if err := json.Unmarshal([]byte(l), &row); err != nil || row.Case != c.Name || row.Below == "" || row.OK == nil {
					t.Errorf("%v: %s", err, l)
				}
			}
		})
	}
	t.Run("people", func(t *testing.T) {
		o := waybill(t, "", "bench", "noop", "--row", "json", "--brokers", brokers, "--rounds", "1", "--seconds", "0.1", "--jobs", "1000")
		for _, want := range []string{"noop json\n", "raw_cpu_us_per_job", "below the method"} {
			if o.code != 0 || !strings.Contains(o.stdout, want) {
				t.Errorf("%q is not in %s\n%s", want, o.stdout, o.stderr)
			}
		}
	})
}
