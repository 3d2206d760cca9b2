package consumer

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waybill-dev/waybill/consumer/internal/pool"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/telemetry"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// collected are the families made anew for each scrape.
var collected = []*telemetry.Family{
	telemetry.RecordsRead, telemetry.Settled, telemetry.Released, telemetry.Lost, telemetry.Misrouted, telemetry.Held, telemetry.HeldBytes, telemetry.Budget,
	telemetry.Attempts, telemetry.Took, telemetry.QueueDelay, telemetry.Letters, telemetry.Hops,
	telemetry.Lag, telemetry.Paused, telemetry.Tasks, telemetry.Restore, telemetry.Receipt,
	telemetry.SlotsBusy, telemetry.Slots, telemetry.Queued, telemetry.Skew, telemetry.Ready,
}

var sourceText = [2]string{"topic", "tier"}

// unknownKind is what jobs of kinds that are not registered are counted under.
const unknownKind = "unknown"

// name gives indexes their names.
func (m *metrics) name() {
	for _, k := range m.c.kinds {
		for len(m.kinds) <= k.Index {
			m.kinds = append(m.kinds, "")
		}
		m.kinds[k.Index] = k.Name
	}
	unknown := unknownKind
	for slices.Contains(m.kinds, unknown) {
		unknown += "_"
	}
	m.kinds = append(m.kinds, unknown)
	for _, d := range m.c.plan.Tiers() {
		m.tiers = append(m.tiers, retrytopics.FormatTier(d))
	}
}

// shardView is what a shard knows at one moment, between two inputs.
type shardView struct {
	tally *task.Tally
	loads []task.Load
}

// view is asked in the shard's goroutine, or when it has ended.
func (s *shard) view(e *ends) *shardView {
	v := &shardView{tally: s.tally.Clone()}
	for h := range s.handles {
		if !h.m.Gone() {
			v.loads = append(v.loads, h.m.Load(func(topic string) int64 { return e.of(topic, h.key.partition) }))
		}
	}
	return v
}

// patience is how long a scrape waits for a shard before it shows what the shard said last.
const patience = 2 * time.Second

// views asks every shard. The caller holds m.mu.
func (m *metrics) views(shards []*shard) (out []*shardView) {
	late := time.NewTimer(patience)
	defer late.Stop()
	answers := make([]chan *shardView, len(shards))
	for i, s := range shards {
		got := make(chan *shardView, 1)
		answers[i] = got
		s.post(nil, func(*task.Machine, int64) { got <- s.view(&m.ends) })
	}
	gaveUp := false
	for i, s := range shards {
		if !gaveUp {
			select {
			case m.last[s] = <-answers[i]:
			case <-s.end:
				m.last[s] = s.view(&m.ends)
			case <-late.C:
				gaveUp = true
			}
		}
		if v := m.last[s]; v != nil {
			out = append(out, v)
		}
	}
	return out
}

// Describe is half of prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	m.descs.Describe(ch)
	for _, v := range m.vectors {
		v.Describe(ch)
	}
}

// Collect is the other half. It takes as long as the busiest shard needs for one round, at most patience.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.c
	c.mu.Lock()
	shards, pools := slices.Clone(c.shards), slices.Clone(c.pools)
	c.mu.Unlock()
	s := sample{descs: m.descs, ch: ch, m: m}
	if views := m.views(shards); len(views) == len(shards) && len(views) > 0 { // else counters would seem to go back
		s.tallies(views)
		s.loads(views)
	}
	s.pools(pools)
	s.number(telemetry.Budget, float64(c.cfg.Memory))
	skew, _ := c.clock.skew()
	s.number(telemetry.Skew, skew.Seconds())
	ready := 0
	if c.Ready() == nil {
		ready = 1
	}
	s.number(telemetry.Ready, float64(ready))
	for _, v := range m.vectors {
		v.Collect(ch)
	}
}

// sample is one scrape.
type sample struct {
	descs telemetry.Descs
	ch    chan<- prometheus.Metric
	m     *metrics
}

func (s *sample) number(f *telemetry.Family, v float64, labels ...string) {
	s.descs.Number(s.ch, f, v, labels...)
}

// tallies adds up what the shards counted.
func (s *sample) tallies(views []*shardView) {
	sum := views[0].tally.Clone()
	for _, v := range views[1:] {
		sum.Add(v.tally)
	}
	for i, n := range sum.Read {
		s.number(telemetry.RecordsRead, float64(n), sourceText[i])
	}
	s.number(telemetry.Released, float64(sum.Released))
	s.number(telemetry.Lost, float64(sum.Lost))
	s.number(telemetry.Misrouted, float64(sum.Misrouted))
	for i, tier := range s.m.tiers {
		for end, n := range sum.Hops[i] {
			if task.End(end).Hop() {
				s.number(telemetry.Hops, float64(n), tier, task.End(end).String())
			}
		}
	}
	for i := range sum.Kinds {
		s.kind(s.m.kinds[i], &sum.Kinds[i], i == len(sum.Kinds)-1)
	}
}

// kind shows one kind. Counters that may rise are there from the start, so that a rate sees their first step; pairs of
// outcome and code that do not usually occur, and histograms of outcomes, appear with their first attempt.
func (s *sample) kind(name string, k *task.KindTally, unknown bool) {
	for end, n := range k.Ends {
		s.number(telemetry.Settled, float64(n), name, task.End(end).String())
	}
	for _, d := range dlq.Dispositions() {
		s.number(telemetry.Letters, float64(k.Letters[d]), name, d.String())
	}
	if unknown { // has no handler
		return
	}
	for v := range k.Attempts {
		verdict := job.Verdict(v)
		for c, n := range k.Attempts[v] {
			if code := job.Code(c); n > 0 || usual[verdict] == code || verdict == job.VerdictRetry && (code == job.CodePanic || code == job.CodeDeadline) {
				s.number(telemetry.Attempts, float64(n), name, verdict.String(), code.String())
			}
		}
		if h := &k.Took[v]; h.Any() || verdict == job.VerdictDone {
			s.descs.Durations(s.ch, telemetry.Took, task.TookBounds.LE(), h.Counts[:], h.Sum, name, verdict.String())
		}
	}
	for i := range k.Delay {
		h := &k.Delay[i]
		s.descs.Durations(s.ch, telemetry.QueueDelay, task.DelayBounds.LE(), h.Counts[:], h.Sum, name, sourceText[i])
	}
}

// usual is the code that goes with a verdict.
var usual = map[job.Verdict]job.Code{job.VerdictDone: job.CodeNone, job.VerdictRetry: job.CodeHandlerError, job.VerdictSnooze: job.CodeSnoozed,
	job.VerdictDead: job.CodeDead, job.VerdictDiscard: job.CodeDiscarded, job.VerdictCancelled: job.CodeCancelled}

// byTopic is what the tasks of one job topic come to.
type byTopic struct {
	held, bytes, receipts, restore int64
	phases                         map[string]int
}

func (s *sample) loads(views []*shardView) {
	topics, paused := map[string]*byTopic{}, map[string]map[task.Reason]int{}
	for _, t := range s.m.c.topics {
		topics[t.name] = &byTopic{phases: map[string]int{}}
		for _, name := range t.all() {
			paused[name] = map[task.Reason]int{}
		}
	}
	for _, v := range views {
		for i := range v.loads {
			l := &v.loads[i]
			t := topics[l.Topic]
			t.held += l.Held
			t.bytes += l.HeldBytes
			t.receipts += int64(l.Receipts)
			t.restore += l.Restore
			t.phases[l.Phase]++
			for _, p := range l.Paused {
				for _, r := range p.Reasons {
					paused[p.Topic][r]++
				}
			}
			partition := strconv.Itoa(int(l.Partition))
			s.number(telemetry.Lag, float64(l.Ready), l.Topic, partition, "ready")
			s.number(telemetry.Lag, float64(l.Waiting), l.Topic, partition, "waiting")
			s.number(telemetry.Lag, float64(l.Blocked), l.Topic, partition, "held")
		}
	}
	for name, t := range topics {
		s.number(telemetry.Held, float64(t.held), name)
		s.number(telemetry.HeldBytes, float64(t.bytes), name)
		s.number(telemetry.Receipt, float64(t.receipts), name)
		s.number(telemetry.Restore, float64(t.restore), name)
		for _, phase := range task.Phases() {
			s.number(telemetry.Tasks, float64(t.phases[phase]), name, phase)
		}
	}
	for name, reasons := range paused {
		for _, r := range task.Reasons() {
			s.number(telemetry.Paused, float64(reasons[r]), name, r.String())
		}
	}
}

func (s *sample) pools(pools []*pool.Pool) {
	for class, i := range s.m.c.classes {
		s.number(telemetry.Slots, float64(s.m.c.workers[i]), class)
		if i < len(pools) {
			busy := pools[i].Busy()
			running, waiting := pools[i].Load()
			s.number(telemetry.SlotsBusy, float64(busy), class)
			s.number(telemetry.Queued, float64(max(0, running+waiting-busy)), class)
		}
	}
}
