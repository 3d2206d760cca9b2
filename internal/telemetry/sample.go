package telemetry

import (
	"fmt"
	"reflect"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// CheckRegisterer says what is wrong with a registry that was passed in: an interface that holds a nil pointer would panic
// on first use.
func CheckRegisterer(r prometheus.Registerer) error {
	if v := reflect.ValueOf(r); r != nil && v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("Metrics: is a nil %T; leave the field out for no metrics", r)
	}
	return nil
}

// Descs describes families under one set of constant labels.
type Descs map[*Family]*prometheus.Desc

// NewDescs describes fs.
func NewDescs(labels prometheus.Labels, fs ...*Family) Descs {
	d := Descs{}
	for _, f := range fs {
		d[f] = f.desc(labels)
	}
	return d
}

// Describe is half of prometheus.Collector.
func (d Descs) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range d {
		ch <- desc
	}
}

// Number sends a counter or gauge. values are those of the family's labels, in their order.
func (d Descs) Number(ch chan<- prometheus.Metric, f *Family, v float64, values ...string) {
	t := prometheus.GaugeValue
	if f.Type == Counter {
		t = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(d[f], t, v, values...)
	d.send(ch, f, m, err)
}

// Durations sends a histogram: counts by bucket, not cumulative, one more than bounds; sum and bounds in nanoseconds.
func (d Descs) Durations(ch chan<- prometheus.Metric, f *Family, bounds, counts []int64, sum int64, values ...string) {
	buckets, total := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, n := range counts {
		total += uint64(n)
		if i < len(bounds) {
			buckets[seconds(bounds[i])] = total
		}
	}
	m, err := prometheus.NewConstHistogram(d[f], total, seconds(sum), buckets, values...)
	d.send(ch, f, m, err)
}

// send turns a sample that cannot be made, such as one whose label is no UTF-8, into an error of the scrape.
func (d Descs) send(ch chan<- prometheus.Metric, f *Family, m prometheus.Metric, err error) {
	if err != nil {
		m = prometheus.NewInvalidMetric(d[f], err)
	}
	ch <- m
}

func seconds(nanos int64) float64 { return time.Duration(nanos).Seconds() }

// AckBuckets are the bounds, in seconds, for what a broker has to answer.
var AckBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// NewHistograms makes a family for what happens too seldom to be counted by hand. Resolve its children once.
func NewHistograms(f *Family, labels prometheus.Labels, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.Name, Help: f.Help, ConstLabels: labels, Buckets: buckets}, f.Labels)
}

// NewCounters is the same for counters.
func NewCounters(f *Family, labels prometheus.Labels) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.Name, Help: f.Help, ConstLabels: labels}, f.Labels)
}
