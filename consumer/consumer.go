package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/pool"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/alone"
	"github.com/waybill-dev/waybill/internal/inject"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Consumer is one instance of a group. Make it with New, run it once with Run. Ready, Status and Handler may be called
// from any goroutine at any time.
type Consumer struct {
	cfg     Config
	log     *zap.Logger
	plan    retrytopics.Plan
	kinds   task.Catalog
	classes map[string]int
	workers []int
	process string // of this life of the instance

	base     []kgo.Opt
	life     lives
	wired    chan struct{} // closed when group and commits are there
	group    *kgo.Client   // reads, heartbeats, commits
	writer   *kgo.Client   // copies, letters, receipts
	adm      *kadm.Client
	reader   *dedupe.LogReader
	inflater *inflater

	topics   map[string]*topic
	primary  map[string]string // any topic read -> its job topic
	idMu     sync.RWMutex
	cluster  string              // its id, empty when it has none
	ids      map[string][16]byte // of the group's topics, as they were at the start or were taken up since
	maxBytes map[string]int32

	watch     *watcher
	poller    *poller
	ease      easing
	taskBytes atomic.Int64 // one task's share of the memory budget
	fetch     *fetchControl
	refusals  refusals
	suspects  *suspects
	prover    *prover
	alone     *alone.Sender // of what was refused for the size of its batch
	commits   *commit.Manager
	trimmer   *trimmer
	vault     *vault // nil: receipts are in memory alone
	emitter   *emitter
	shards    []*shard
	pools     []*pool.Pool
	clock     clock
	lease     *lease
	releases  atomic.Int64          // on their way to the log with nothing else to say
	refused   atomic.Pointer[error] // of outcomes that were refused while the instance ended, the last
	owners    owners
	restores  chan struct{} // places, see readInTurn
	briefs    chan struct{} // the same, for what is short
	turns     turns         // for what restores and the store do beside the jobs
	rereads   chan struct{} // places for what is read again of job topics
	records   int           // of the job topic that a task may hold

	ran      atomic.Bool
	joined   atomic.Bool
	draining atomic.Bool

	writing context.Context // ends when nothing more is to be written
	bg      background

	mu         sync.Mutex
	stopping   bool
	rebalanced bool // a static member has asked for a plan once
	handles    map[taskKey]*handle
	assigned   map[commit.Partition]string // the member it was assigned to

	complaints complaints
	metrics    *metrics // nil without
}

// Run is New and Consumer.Run in one, for a main function.
func Run(ctx context.Context, cfg Config) error {
	c, err := New(cfg)
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

// New checks the configuration and the mux; every fault is returned at once. It opens no connection.
func New(cfg Config) (*Consumer, error) {
	cfg = cfg.WithDefaults()
	errs := []error{cfg.Validate(), checkOpts(cfg), cfg.settings().CheckDialing(cfg.Opts)}
	var set *processor.Set
	if cfg.Mux != nil {
		var err error
		set, err = cfg.Mux.Compile()
		errs = append(errs, err)
		if set != nil {
			errs = append(errs, checkWindow(cfg, set))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	plan, err := retrytopics.NewPlan(cfg.Tiers)
	if err != nil {
		return nil, fmt.Errorf("consumer: %w", err)
	}
	c := &Consumer{cfg: cfg, log: cfg.Logger, plan: plan, process: uuid.NewString(), classes: map[string]int{}, kinds: task.Catalog{},
		topics: map[string]*topic{}, primary: map[string]string{}, ids: map[string][16]byte{}, maxBytes: map[string]int32{},
		handles: map[taskKey]*handle{}, assigned: map[commit.Partition]string{}, restores: make(chan struct{}, readsAtOnce), briefs: make(chan struct{}, readsAtOnce), turns: newTurns(), rereads: make(chan struct{}, rereadsAtOnce), wired: make(chan struct{})}
	c.watch = newWatcher(c)
	c.suspects = newSuspects(c)
	c.emitter = &emitter{cfg: &c.cfg}
	c.lease = newLease(cfg.SessionTimeout)
	c.catalog(set)
	c.metrics = newMetrics(c)
	return c, nil
}

func checkWindow(cfg Config, set *processor.Set) error {
	var errs []error
	for _, p := range set.Processors() {
		if age := p.Policy().MaxAge; cfg.Window < 2*age {
			errs = append(errs, fmt.Errorf("Window: %v is less than twice the MaxAge of kind %q (%v): a retried job could outlive its receipt", cfg.Window, p.Name(), age))
		}
		if w := p.Policy().Window; w > cfg.Window {
			errs = append(errs, fmt.Errorf("Window: %v is less than the window of kind %q (Policy.Window, %v)", cfg.Window, p.Name(), w))
		}
	}
	return errors.Join(errs...)
}

// catalog numbers the classes and kinds and makes what the machines know of each kind.
func (c *Consumer) catalog(set *processor.Set) {
	kinds := 0
	for name, p := range set.Names() {
		policy := p.Policy()
		class, ok := c.classes[policy.Class]
		if !ok {
			class = len(c.workers)
			c.classes[policy.Class] = class
			n := c.cfg.Classes[policy.Class]
			if n == 0 {
				n = c.cfg.Workers
			}
			c.workers = append(c.workers, n)
		}
		var kind *task.Kind
		for _, k := range c.kinds {
			if k.Processor == p {
				kind = k
			}
		}
		if kind == nil {
			kind = &task.Kind{Name: p.Name(), FirstName: p.FirstName(), Policy: policy, Version: p.Version(), Class: class, Index: kinds, Processor: p}
			kinds++
		}
		c.kinds[name] = kind
	}
}

// Run works until ctx ends, then drains: no new attempts, running ones get DrainTimeout, what is settled becomes durable,
// offsets are committed, the group is left. It returns nil after a clean drain. It may be called once.
//
// A broker that is away keeps it for DrainTimeout and some ten seconds more, a handler that does not return when its context
// is cancelled for as long as it likes: only the tasks do not wait for that one, others own them by then.
func (c *Consumer) Run(ctx context.Context) error {
	if c.ran.Swap(true) {
		return errors.New("consumer: Run was called twice; make a new Consumer")
	}
	c.records = inject.Records(ctx, task.DefaultLimits.Records)
	if err := c.connect(ctx); err != nil {
		return fmt.Errorf("consumer: %w", connect.Explained(err))
	}
	defer c.life.end()
	defer c.writer.Close()
	if c.cfg.Dir != "" {
		c.vault = &vault{c: c, waiting: map[*handle]struct{}{}}
		if err := c.vault.open(ctx); err != nil {
			return fmt.Errorf("consumer: %w", connect.Explained(err))
		}
		defer c.vault.close()
	}
	if err := c.metrics.register(); err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	defer c.metrics.unregister()
	return c.work(ctx)
}

// work starts the goroutines of an instance and joins them in the order in which data flows.
func (c *Consumer) work(ctx context.Context) error {
	writing, stopWriting := context.WithCancel(context.Background())
	bg, stopBackground := context.WithCancel(context.Background())
	defer stopWriting()
	defer stopBackground()
	c.writing, c.bg.ctx = writing, bg
	c.mu.Lock()
	for range shardCount() {
		c.shards = append(c.shards, newShard(c))
	}
	for _, n := range c.workers {
		c.pools = append(c.pools, pool.New(n, c.gate, c.deliver))
	}
	c.mu.Unlock()
	if err := c.enter(); err != nil {
		return errors.Join(fmt.Errorf("consumer: %w", err), c.end(stopWriting, stopBackground))
	}
	for _, f := range []func(context.Context){c.commits.Run, c.fetch.run, c.prover.run, c.trimmer.run, c.watch.run, c.metrics.run, c.news} {
		c.spawn(f)
	}
	if c.vault != nil {
		c.spawn(c.vault.run)
	}
	polling, stopPolling := context.WithCancel(bg)
	var poll sync.WaitGroup
	poll.Go(func() { c.poller.run(polling) })

	<-ctx.Done()
	c.log.Info("draining")
	c.draining.Store(true)
	stopPolling()
	poll.Wait()
	c.stopAll()
	return c.end(stopWriting, stopBackground)
}

// The steps of an end that depend on a broker get that long each.
const (
	flushGrace = 2 * time.Second
	leaveGrace = 5 * time.Second
)

// end closes the rooms in the order in which data flows. The group is left first: what is drained is let go, and must not
// wait for an attempt that does not return.
func (c *Consumer) end(stop ...context.CancelFunc) error {
	if c.group != nil {
		leaving, cancel := context.WithTimeout(context.Background(), leaveGrace)
		if c.group.LeaveGroupContext(leaving) != nil { // a static member stays. Else the broker finds out by the session timeout
			c.life.endGroup()
		}
		cancel()
		c.group.Close()
	}
	for _, p := range c.pools {
		p.Close()
	}
	for _, s := range c.shards {
		s.settle() // late outcomes are on their way to the log
	}
	flush, cancel := context.WithTimeout(context.Background(), flushGrace)
	err := c.writer.Flush(flush)
	owed := c.writer.BufferedProduceRecords() > c.releases.Load()
	cancel()
	for _, f := range stop {
		f()
	}
	silent := time.AfterFunc(leaveGrace, c.life.end) // what was asked of a broker that does not answer
	c.alone.Close()
	c.bg.join()
	silent.Stop()
	c.emitter.close()
	for _, s := range c.shards {
		s.close()
	}
	if err == nil || !owed { // that a task was let go is no loss: the next owner is careful for nothing
		err = c.unsaid()
	}
	if err != nil {
		return fmt.Errorf("consumer: some records were not acked before the end; what they settle is settled again by the next owner: %w", err)
	}
	return nil
}

// stopAll is a revoke of everything. The handles stay known until they are drained, so that a rebalance that comes
// meanwhile waits for them too before it lets the partitions go.
func (c *Consumer) stopAll() {
	c.mu.Lock()
	c.stopping = true
	hs := make([]*handle, 0, len(c.handles))
	for _, h := range c.handles {
		hs = append(hs, h)
	}
	c.mu.Unlock()
	c.drain(hs)
	c.fetch.release(partsOf(hs))
	c.mu.Lock()
	clear(c.handles)
	c.mu.Unlock()
}

// spawn runs f in the background until the instance ends; once it has, f is not run any more.
func (c *Consumer) spawn(f func(context.Context)) { c.bg.run(f) }

// later runs f after d, unless the instance ends before.
func (c *Consumer) later(d time.Duration, f func()) {
	c.spawn(func(ctx context.Context) {
		if sleep(ctx, d) {
			f()
		}
	})
}

// background is the goroutines that end with the instance. Promises of the writing client may ask for one at any time,
// while it is joined and afterwards too.
type background struct {
	ctx context.Context

	mu     sync.Mutex
	joined bool
	wg     sync.WaitGroup
}

func (b *background) run(f func(context.Context)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.joined {
		b.wg.Go(func() { f(b.ctx) })
	}
}

// join waits for all that run; the caller has ended ctx. Nothing is started any more.
func (b *background) join() {
	b.mu.Lock()
	b.joined = true
	b.mu.Unlock()
	b.wg.Wait()
}

// unsaid is why outcomes of the tasks that were let go in the end are not in the log, nil when all are.
func (c *Consumer) unsaid() error {
	if err := c.refused.Load(); err != nil {
		return *err
	}
	return nil
}

// deliver hands outcomes back to the shards that own the entries.
func (c *Consumer) deliver(done []*task.Entry) {
	c.suspects.done(done)
	for i := 0; i < len(done); {
		m := done[i].Machine()
		j := i + 1
		for j < len(done) && done[j].Machine() == m {
			j++
		}
		entries := append([]*task.Entry(nil), done[i:j]...)
		h := m.Ref().(*handle)
		h.shard.post(h, func(m *task.Machine, now int64) { m.Outcomes(entries, now) })
		i = j
	}
}
