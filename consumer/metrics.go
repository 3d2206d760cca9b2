package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/internal/telemetry"
)

// metrics is what an instance shows to Prometheus. What happens once a job is counted by the shards and asked for when
// somebody scrapes; what happens once a tick or a write is observed here at once. A nil *metrics observes nothing.
type metrics struct {
	c        *Consumer
	registry prometheus.Registerer
	descs    telemetry.Descs
	kinds    []string // by task.Kind.Index, and last the name of all unknown ones
	tiers    []string

	tick, commit  prometheus.Observer
	writes        [destinations]prometheus.Observer
	failures      [destinations]prometheus.Counter
	commitsFailed prometheus.Counter
	vectors       []prometheus.Collector // of those above

	ends ends

	mu   sync.Mutex            // one scrape at a time
	last map[*shard]*shardView // for a shard that is too busy to answer
}

// What is written, for metrics; the first four are task.Dest.
const (
	receiptsWritten = int(task.ToJobs) + 1
	destinations    = receiptsWritten + 1
)

var destinationText = [destinations]string{task.ToTier: "tier", task.ToDeadLetters: "dead_letters", task.ToAudit: "audit", task.ToJobs: "jobs", receiptsWritten: "receipts"}

var _ prometheus.Collector = (*metrics)(nil)

// newMetrics is nil when the configuration names no registry.
func newMetrics(c *Consumer) *metrics {
	if c.cfg.Metrics == nil {
		return nil
	}
	group := prometheus.Labels{"group": c.cfg.Group}
	m := &metrics{c: c, registry: c.cfg.Metrics, last: map[*shard]*shardView{}, descs: telemetry.NewDescs(group, collected...)}
	histogram := func(f *telemetry.Family) *prometheus.HistogramVec {
		v := telemetry.NewHistograms(f, group, telemetry.AckBuckets)
		m.vectors = append(m.vectors, v)
		return v
	}
	counter := func(f *telemetry.Family) *prometheus.CounterVec {
		v := telemetry.NewCounters(f, group)
		m.vectors = append(m.vectors, v)
		return v
	}
	m.tick, m.commit = histogram(telemetry.Tick).WithLabelValues(), histogram(telemetry.Commit).WithLabelValues()
	m.commitsFailed = counter(telemetry.CommitsFailed).WithLabelValues()
	took, failed := histogram(telemetry.Write), counter(telemetry.WriteFailed)
	for i, text := range destinationText {
		m.writes[i], m.failures[i] = took.WithLabelValues(text), failed.WithLabelValues(text)
	}
	m.name()
	return m
}

// tally counts for one shard; nil without metrics.
func (m *metrics) tally() *task.Tally {
	if m == nil {
		return nil
	}
	return task.NewTally(len(m.kinds)-1, len(m.tiers))
}

// register shows the metrics while the instance works.
func (m *metrics) register() error {
	if m == nil {
		return nil
	}
	err := m.registry.Register(m)
	if _, twice := errors.AsType[prometheus.AlreadyRegisteredError](err); twice {
		return fmt.Errorf("Metrics: the registry has the metrics of an instance of group %q already; give each instance a registry of its own, or all of them one wrapped with a label that tells them apart (prometheus.WrapRegistererWith)", m.c.cfg.Group)
	}
	if err != nil {
		return fmt.Errorf("Metrics: %w", err)
	}
	return nil
}

func (m *metrics) unregister() {
	if m != nil {
		m.registry.Unregister(m)
	}
}

// ticked observes a tick that was due at that time and has been carried out.
func (m *metrics) ticked(due time.Time) {
	if m != nil {
		m.tick.Observe(time.Since(due).Seconds())
	}
}

// wrote observes the answer to a record that was produced at began.
func (m *metrics) wrote(destination int, began time.Time, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.failures[destination].Inc()
	default:
		m.writes[destination].Observe(time.Since(began).Seconds())
	}
}

func (m *metrics) commitFailed() {
	if m != nil {
		m.commitsFailed.Inc()
	}
}

// hooks are for the group's client.
func (m *metrics) hooks() []kgo.Opt {
	if m == nil {
		return nil
	}
	return []kgo.Opt{kgo.WithHooks(m)}
}

var _ kgo.HookBrokerE2E = (*metrics)(nil)

const commitKey = 8 // OffsetCommit

// OnBrokerE2E observes commits, from request to answer.
func (m *metrics) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key == commitKey && e2e.Err() == nil {
		m.commit.Observe(e2e.DurationE2E().Seconds())
	}
}

// ends are the offsets after the last records of the partitions that are read. Fetches tell them while a partition flows; for
// one that is paused, which is when somebody looks at its lag, the cluster is asked now and then. Safe for concurrent use.
type ends struct {
	mu sync.Mutex
	at map[commit.Partition]int64
}

func (e *ends) set(topic string, partition int32, offset int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.at == nil {
		e.at = map[commit.Partition]int64{}
	}
	e.at[commit.Partition{Topic: topic, Partition: partition}] = offset
}

func (e *ends) of(topic string, partition int32) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.at[commit.Partition{Topic: topic, Partition: partition}]
}

// fetched notes the end of a partition as a fetch told it.
func (m *metrics) fetched(f *kgo.FetchTopicPartition) {
	if m != nil {
		m.ends.set(f.Topic, f.Partition, f.HighWatermark)
	}
}

// endsEvery is how often the cluster is asked for the ends of partitions.
const endsEvery = 15 * time.Second

// run keeps the ends up to date until ctx ends.
func (m *metrics) run(ctx context.Context) {
	if m == nil {
		return
	}
	for {
		if err := m.look(ctx); err != nil && ctx.Err() == nil {
			m.c.complain("look up the ends of partitions", "metrics", err)
		}
		if !sleep(ctx, endsEvery) {
			return
		}
	}
}

func (m *metrics) look(ctx context.Context) error {
	var topics []string
	for _, t := range m.c.topics {
		topics = append(topics, t.all()...)
	}
	listed, err := m.c.adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return err
	}
	for topic, partitions := range listed {
		for p, o := range partitions {
			if o.Err == nil && m.c.handleOf(topic, p) != nil {
				m.ends.set(topic, p, o.Offset)
			}
		}
	}
	return nil
}
