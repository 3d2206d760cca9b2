package pool

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/retrytopics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	single  struct{}
	bundled struct{}
	keyed   struct{}
)

func (single) Kind() string  { return "single" }
func (bundled) Kind() string { return "bundled" }
func (keyed) Kind() string   { return "keyed" }

const batchSize = 8

// rig makes entries as the pool gets them, of a machine that runs, and notes what comes back.
type rig struct {
	t *testing.T

	handle func(ctx context.Context, id string) error
	batch  func(ctx context.Context, ids []string) []error

	machine *task.Machine
	read    [2]int64

	mu   sync.Mutex
	shut map[string]bool
	ctx  map[string]context.Context // under which a job runs; absent: Background
	done map[string]job.Outcome
	came int // outcomes delivered, each counted
}

const mainTopic, tierTopic = "jobs", "jobs.g.retry.10s"

func newRig(t *testing.T) *rig {
	r := &rig{t: t, shut: map[string]bool{}, ctx: map[string]context.Context{}, done: map[string]job.Outcome{}}
	mux := processor.NewMux()
	policy := job.Policy{Order: job.Unordered}
	processor.Handle(mux, func(ctx context.Context, j *job.Job[single]) error {
		if r.handle == nil {
			return nil
		}
		return r.handle(ctx, j.ID)
	}, policy)
	processor.Handle(mux, func(ctx context.Context, j *job.Job[keyed]) error { return r.handle(ctx, j.ID) })
	processor.Register(mux, processor.Kind[bundled]{Policy: policy, BatchSize: batchSize, Batch: func(ctx context.Context, js []*job.Job[bundled]) []error {
		ids := make([]string, len(js))
		for i, j := range js {
			ids[i] = j.ID
		}
		return r.batch(ctx, ids)
	}})
	set, err := mux.Compile()
	if err != nil {
		t.Fatal(err)
	}
	kinds := task.Catalog{}
	for name, p := range set.Names() {
		kinds[name] = &task.Kind{Name: name, FirstName: name, Policy: p.Policy(), Processor: p}
	}
	plan, err := retrytopics.NewPlan([]time.Duration{10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixNano()
	limits := task.Limits{Records: 1 << 20, Bytes: 1 << 30, Tier: 1 << 20, Ahead: 1 << 20}
	m := task.New(task.Config{Topic: mainTopic, TopicID: dedupe.TopicID{1}, Kinds: kinds, Plan: plan, Limits: limits, Chain: 1000,
		Tiers: []task.Tier{{Topic: tierTopic, Delay: 10 * time.Second}}, Store: dedupe.NewMemory(time.Hour)})
	m.AddTier(tierTopic, dedupe.TopicID{2}, 10*time.Second, now)
	m.Assign(now)
	m.Owned(0, now)
	if err := m.Entries([]*dedupe.Entry{{Owner: &dedupe.Owner{}}}); err != nil {
		t.Fatal(err)
	}
	m.ReadDone(now)
	m.Proved(true, []task.Start{{Topic: mainTopic, Committed: -1}, {Topic: tierTopic, Committed: -1}}, now)
	m.Out.Reset()
	r.machine = m
	return r
}

// entries are n new jobs; their ids are prefix and a number from 0 on.
func (r *rig) entries(kind, prefix string, n int, retried bool) []*task.Entry {
	r.t.Helper()
	topic, at := mainTopic, &r.read[0]
	if retried {
		topic, at = tierTopic, &r.read[1]
	}
	var records []task.Record
	for i := range n {
		records = append(records, task.Record{Offset: *at, Time: time.Now().Add(-time.Hour), Value: []byte("{}"), Headers: []job.Header{
			{Key: job.HeaderKind, Value: []byte(kind)}, {Key: job.HeaderID, Value: []byte(prefix + strconv.Itoa(i))},
			{Key: job.HeaderHop, Value: []byte("1")}, {Key: job.HeaderGen, Value: []byte("0")}, {Key: job.HeaderAttempt, Value: []byte("1")},
			{Key: job.HeaderDelay, Value: []byte("1000")}, {Key: job.HeaderOrigin, Value: fmt.Appendf(nil, "%s/0/%d/0", mainTopic, 1_000_000+*at)},
		}})
		*at++
	}
	r.machine.Records(topic, records, time.Now().UnixNano())
	out := slices.Clone(r.machine.Out.Run)
	r.machine.Out.Reset()
	if len(out) != n {
		r.t.Fatalf("%d of %d entries are offered: %+v", len(out), n, r.machine.Status())
	}
	return out
}

// chain is n new jobs of one key, in order; their ids are prefix and a number from 0 on.
func (r *rig) chain(prefix string, n int) *task.Entry {
	r.t.Helper()
	var records []task.Record
	for i := range n {
		records = append(records, task.Record{Offset: r.read[0], Time: time.Now(), Key: []byte(prefix), Value: []byte("{}"), Headers: []job.Header{
			{Key: job.HeaderKind, Value: []byte("keyed")}, {Key: job.HeaderID, Value: []byte(prefix + strconv.Itoa(i))}}})
		r.read[0]++
	}
	r.machine.Records(mainTopic, records, time.Now().UnixNano())
	out := slices.Clone(r.machine.Out.Run)
	r.machine.Out.Reset()
	if len(out) != 1 || out[0].Chain() == 0 {
		r.t.Fatalf("%d entries are offered, the first with %d of %d behind it", len(out), out[0].Chain(), n-1)
	}
	return out[0]
}

func (r *rig) gate(e *task.Entry, _ time.Time) (context.Context, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut[e.Message().ID] {
		return nil, false
	}
	if ctx := r.ctx[e.Message().ID]; ctx != nil {
		return ctx, true
	}
	return context.Background(), true
}

func (r *rig) deliver(done []*task.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range done {
		r.done[e.Message().ID] = e.Outcome
		r.came++
	}
}

// back is how many jobs came back.
func (r *rig) back() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.done)
}

// finished checks, when the pool is closed, that every one of n jobs came back once, as wanted.
func (r *rig) finished(n int, want func(id string) job.Verdict) {
	r.t.Helper()
	if r.came != n || len(r.done) != n {
		r.t.Errorf("%d outcomes of %d jobs came back, want %d", r.came, len(r.done), n)
	}
	for id, o := range r.done {
		if w := want(id); o.Verdict != w {
			r.t.Errorf("job %s: verdict %d (%s), want %d", id, o.Verdict, o.Text, w)
		}
	}
}

func always(v job.Verdict) func(string) job.Verdict { return func(string) job.Verdict { return v } }
