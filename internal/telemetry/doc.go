// Package telemetry is the catalogue of Waybill's metrics, name by name, and what turns numbers into Prometheus samples.
// docs/metrics.md is its page; a test holds the two together.
//
// Only package consumer may import it. It counts no jobs itself: the engine's goroutines own their counters,
// and a collector asks for them when somebody scrapes, so that a job costs no lookup of a metric by its labels. There is
// no global registry: what is passed in is used, and nothing else.
package telemetry
