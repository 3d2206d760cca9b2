package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Type is what a metric is to Prometheus.
type Type string

// The types.
const (
	Counter   Type = "counter"
	Gauge     Type = "gauge"
	Histogram Type = "histogram"
)

// Family is one metric: a name with its labels. Values of labels come from closed sets, from the configuration or from the
// kinds of the mux; none comes from a record.
type Family struct {
	Name   string
	Type   Type
	Labels []string // beside the constant ones of whoever collects it
	Help   string
}

// desc describes the family with constant labels.
func (f *Family) desc(labels prometheus.Labels) *prometheus.Desc {
	return prometheus.NewDesc(f.Name, f.Help, f.Labels, labels)
}

// The metrics of a consumer. Each has the constant label group.
var (
	RecordsRead = family("waybill_records_read_total", Counter, "Records read, copies in tiers included.", "source")
	Settled     = family("waybill_records_settled_total", Counter, "Records settled, by what became of them.", "kind", "end")
	Released    = family("waybill_records_released_total", Counter, "Records let go unsettled with their task; its next owner reads them again.")
	Lost        = family("waybill_records_lost_total", Counter, "Records that retention removed before they were read.")
	Misrouted   = family("waybill_records_misrouted_total", Counter, "Records of job topics whose key belongs in another partition.")
	Held        = family("waybill_records_held", Gauge, "Records read and not settled.", "topic")
	HeldBytes   = family("waybill_held_bytes", Gauge, "Memory that held records take.", "topic")
	Budget      = family("waybill_held_limit_bytes", Gauge, "Memory that held records may take (Config.Memory).")

	Attempts   = family("waybill_attempts_total", Counter, "Attempts that have ended, by their outcome and its code.", "kind", "outcome", "code")
	Took       = family("waybill_attempt_duration_seconds", Histogram, "How long attempts took.", "kind", "outcome")
	QueueDelay = family("waybill_queue_delay_seconds", Histogram, "From append, or from the due time, to the start of the handler.", "kind", "source")
	Letters    = family("waybill_letters_total", Counter, "Dead letters filed.", "kind", "disposition")
	Hops       = family("waybill_hops_total", Counter, "Copies written to retry tiers.", "tier", "reason")

	Lag     = family("waybill_lag_records", Gauge, "Records of a task, tiers included, that are not settled.", "topic", "partition", "state")
	Paused  = family("waybill_paused_partitions", Gauge, "Partitions paused for a reason; one may have several.", "topic", "reason")
	Tasks   = family("waybill_tasks", Gauge, "Tasks of this instance by phase.", "topic", "phase")
	Restore = family("waybill_restore_remaining_records", Gauge, "Records of receipt logs still to be read before tasks can run.", "topic")
	Receipt = family("waybill_receipts", Gauge, "Receipts in memory.", "topic")

	SlotsBusy = family("waybill_slots_busy", Gauge, "Workers of a class that run an attempt.", "class")
	Slots     = family("waybill_slots", Gauge, "Workers of a class.", "class")
	Queued    = family("waybill_attempts_queued", Gauge, "Jobs handed to a class that have not ended, less its busy slots.", "class")

	Tick          = family("waybill_tick_duration_seconds", Histogram, "From when a tick was due until a shard has carried it out.")
	Write         = family("waybill_write_duration_seconds", Histogram, "From produce to ack of an engine record.", "destination")
	WriteFailed   = family("waybill_write_failures_total", Counter, "Produces of engine records that failed; each is tried again.", "destination")
	Commit        = family("waybill_commit_duration_seconds", Histogram, "How long the group's coordinator took to answer a commit.")
	CommitsFailed = family("waybill_commit_failures_total", Counter, "Commits that failed, by request or partition; each is tried again.")

	Skew  = family("waybill_clock_skew_seconds", Gauge, "What the local clock is corrected by to match the brokers'.")
	Ready = family("waybill_ready", Gauge, "1 while the instance is a member of its group and not draining.")
)

var families []*Family

func family(name string, t Type, help string, labels ...string) *Family {
	f := &Family{Name: name, Type: t, Labels: labels, Help: help}
	families = append(families, f)
	return f
}

// Families lists every metric.
func Families() []*Family { return families }
