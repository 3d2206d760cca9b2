package telemetry

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// row is a line of the page's tables: name, type, labels, meaning.
var row = regexp.MustCompile("^\\| `(waybill_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*)\\| (.+) \\|$")

// The page and the catalogue name the same metrics with the same types and labels, and queries name none that is not there.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	listed := map[string][]string{}
	for _, line := range strings.Split(page, "\n") {
		m := row.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "| `") {
				t.Errorf("this row has another shape: %s", line)
			}
			continue
		}
		if listed[m[1]] != nil {
			t.Errorf("%s stands twice", m[1])
		}
		listed[m[1]] = []string{m[2], strings.ReplaceAll(strings.ReplaceAll(m[3], "`", ""), " ", "")}
	}
	known := map[string]bool{}
	for _, f := range Families() {
		got, want := listed[f.Name], []string{string(f.Type), strings.Join(f.Labels, ",")}
		if !slices.Equal(got, want) {
			t.Errorf("the page says %q of %s, the catalogue %q", got, f.Name, want)
		}
		if delete(listed, f.Name); known[f.Name] {
			t.Errorf("%s stands twice in the catalogue", f.Name)
		}
		known[f.Name] = true
		if f.Type == Histogram {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[f.Name+part] = true
			}
		}
	}
	for name := range listed {
		t.Errorf("the page lists %s, which does not exist", name)
	}
	for _, name := range regexp.MustCompile(`waybill_[a-z_]+`).FindAllString(page, -1) {
		if !known[name] {
			t.Errorf("the page speaks of %s, which does not exist", name)
		}
	}
}

// Names follow Prometheus' conventions: counters end in _total, durations are seconds, sizes bytes.
func TestNames(t *testing.T) {
	for _, f := range Families() {
		if (f.Type == Counter) != strings.HasSuffix(f.Name, "_total") {
			t.Errorf("%s is a %s", f.Name, f.Type)
		}
		if f.Type == Histogram && !strings.HasSuffix(f.Name, "_seconds") {
			t.Errorf("%s has no unit", f.Name)
		}
		if f.Help == "" || !strings.HasPrefix(f.Name, "waybill_") {
			t.Errorf("%+v", f)
		}
	}
}

func TestCheckRegisterer(t *testing.T) {
	if err := CheckRegisterer(nil); err != nil {
		t.Error(err)
	}
	if err := CheckRegisterer(prometheus.NewRegistry()); err != nil {
		t.Error(err)
	}
	var none *prometheus.Registry
	if err := CheckRegisterer(none); err == nil || !strings.Contains(err.Error(), "Metrics: is a nil *prometheus.Registry") {
		t.Errorf("a nil registry: %v", err)
	}
}

// A sample that cannot be made is an error of the scrape, not a panic.
func TestInvalidSample(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{NewDescs(nil, Held)})
	if _, err := reg.Gather(); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a label that is no text: %v", err)
	}
}

type collector struct{ Descs }

func (c collector) Collect(ch chan<- prometheus.Metric) { c.Number(ch, Held, 1, "\xff") }
