package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

const (
	topicName  = "jobs"
	groupName  = "sim"
	partitions = 3
	session    = 10 * time.Second
	heartbeat  = time.Second
	tick       = 100 * time.Millisecond
	drain      = 4 * time.Second
)

var tiers = []time.Duration{2 * time.Second, 10 * time.Second, 40 * time.Second}

// world is one run: a cluster, workers that come and go, and the ledger.
type world struct {
	rand    *rand.Rand
	log     *zap.Logger
	net     *kfake.VirtualNetwork
	cluster *kfake.Cluster
	rec     *ledger.Recorder
	driver  *ledger.Tap
	admin   *kadm.Client
	client  *kgo.Client
	reader  *topics.Reader
	workers []*worker
	born    int
	counts  Counts
	past    []*worker // gone; their goroutines are joined at the end
	errs    []error

	producing sync.WaitGroup
	commits   *commits
}

// Counts says how often each fault and each step happened in a run.
type Counts map[string]int

// worker is one process of the group.
type worker struct {
	name   string
	host   *host
	tap    *ledger.Tap
	c      *consumer.Consumer
	cancel context.CancelFunc
	died   time.Time     // killed then
	ended  chan struct{} // closed when Run has returned err
	err    error
	frozen bool
}

func newWorld(seed uint64, log *zap.Logger) (*world, error) {
	w := &world{rand: rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15)), log: log, net: &kfake.VirtualNetwork{}, rec: ledger.NewRecorder(), counts: Counts{}}
	w.driver = w.rec.For("driver")
	var err error
	w.cluster, err = kfake.NewCluster(kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(w.net.Listen),
		kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(partitions, topicName))
	if err != nil {
		return nil, err
	}
	if w.client, err = kgo.NewClient(append(w.opts(), kgo.RecordPartitioner(producer.Partitioner()))...); err != nil {
		return nil, err
	}
	w.admin = kadm.NewClient(w.client)
	w.commits = watchCommits(w.cluster)
	return w, nil
}

func (w *world) opts() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers("localhost:9092", "localhost:9093"), kgo.Dialer(w.net.DialContext), kgo.MetadataMinAge(100 * time.Millisecond)}
}

// start brings a new worker up.
func (w *world) start() error {
	w.born++
	k := &worker{name: fmt.Sprintf("worker-%d", w.born), host: newHost(w.net), ended: make(chan struct{})}
	k.tap = w.rec.For(k.name)
	c, err := consumer.New(consumer.Config{
		Brokers: []string{"localhost:9092", "localhost:9093"}, Group: groupName, Mux: mux(k.tap),
		Foreign: []consumer.Topic{{Name: topicName, DefaultKind: "sim.unordered"}},
		Tiers:   tiers, Setup: consumer.Create, Workers: 6, Classes: map[string]int{"free": 4}, KeepUnknown: 3 * time.Minute,
		Instance: k.name, ClientID: k.name, SessionTimeout: session, Heartbeat: heartbeat, RebalanceTimeout: 15 * time.Second, DrainTimeout: drain,
		Tick: tick, Logger: w.log.Named(k.name), Opts: []kgo.Opt{kgo.Dialer(k.host.dial), kgo.MetadataMinAge(100 * time.Millisecond)},
	})
	if err != nil {
		return err
	}
	k.c = c
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	go func() {
		defer close(k.ended)
		k.err = c.Run(ctx)
	}()
	w.workers = append(w.workers, k)
	return nil
}

func (w *world) fault(f ledger.Fault, target, text string) {
	w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: f, Target: target, Text: text})
	w.counts[string(f)]++
}

// remove takes a random worker out of the living.
func (w *world) remove() *worker {
	i := w.rand.IntN(len(w.workers))
	k := w.workers[i]
	w.workers = append(w.workers[:i], w.workers[i+1:]...)
	w.past = append(w.past, k)
	return k
}

// kill ends a worker without warning: from here on nothing it does counts or lands.
func (w *world) kill() {
	k := w.remove()
	w.die(k)
	w.counts["kill"]++
	k.cancel()
}

func (w *world) die(k *worker) {
	k.died = time.Now()
	k.tap.Freeze()
	w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Kill, Target: k.name})
	k.host.cut()
}

// killAt ends a worker at one of its next messages, before it leaves: between a produce and its commit, say.
func (w *world) killAt(n int) {
	k := w.workers[w.rand.IntN(len(w.workers))]
	if k.c.Ready() != nil {
		return
	}
	fired := make(chan struct{})
	k.host.arm(n, func() {
		w.die(k)
		close(fired)
	})
	select {
	case <-fired:
		w.counts["kill at an effect"]++
		w.counts["kill"]++
	case <-time.After(20 * time.Second):
		k.host.arm(0, nil)
		return
	}
	w.workers = slices.DeleteFunc(w.workers, func(x *worker) bool { return x == k })
	w.past = append(w.past, k)
	k.cancel()
}

// stop tells a worker to shut down and waits until it has.
func (w *world) stop() {
	k := w.remove()
	w.fault(ledger.Stop, k.name, "")
	k.host.heal()
	k.cancel()
	<-k.ended
	if k.err != nil {
		w.log.Warn("worker stopped", zap.String("worker", k.name), zap.Error(k.err))
	}
	w.fault(ledger.Exit, k.name, "")
}

// zombie freezes a worker's network for longer or shorter than its session lasts; what it sent meanwhile lands late.
func (w *world) zombie(d time.Duration) {
	k := w.workers[w.rand.IntN(len(w.workers))]
	if k.frozen {
		return
	}
	k.frozen = true
	w.fault(ledger.Cut, k.name, d.String())
	if d > session {
		w.counts["zombie"]++
	}
	k.host.freeze()
	time.Sleep(d)
	w.fault(ledger.Heal, k.name, "")
	k.host.heal()
	k.frozen = false
}

// offsets stops everybody and has an operator move the group's offsets back, or lose them.
func (w *world) offsets(lose bool) error {
	for len(w.workers) > 0 {
		w.stop()
	}
	time.Sleep(session + time.Second) // a killed worker is a member until its session ends
	w.expire()
	ctx := context.Background()
	if lose {
		w.fault(ledger.OffsetsLost, "", "")
		if err := w.whenEmpty(func() error {
			_, err := w.admin.DeleteGroup(ctx, groupName)
			return err
		}); err != nil {
			return err
		}
	} else {
		p := int32(w.rand.IntN(partitions))
		committed, err := w.admin.FetchOffsets(ctx, groupName)
		if err != nil {
			return err
		}
		at, ok := committed.Lookup(topicName, p)
		if !ok || at.At <= 0 {
			return w.start()
		}
		to := w.rand.Int64N(at.At)
		w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Rewind, Record: ledger.Pos{Topic: topicName, Partition: p, Offset: to}})
		w.counts["rewind"]++
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: topicName, Partition: p, At: to, LeaderEpoch: -1})
		if err := w.whenEmpty(func() error {
			resp, err := w.admin.CommitOffsets(ctx, groupName, o)
			return errors.Join(err, resp.Error())
		}); err != nil {
			return err
		}
	}
	if err := errors.Join(w.start(), w.start()); err != nil {
		return err
	}
	time.Sleep(10 * time.Second) // until the owners have mirrored the log's frontiers again
	return nil
}

// whenEmpty does what a broker refuses while the group has members: a join that a dying worker had sent can land late.
func (w *world) whenEmpty(do func() error) error {
	for range 10 {
		err := do()
		if !errors.Is(err, kerr.NonEmptyGroup) && !errors.Is(err, kerr.UnknownMemberID) {
			return err
		}
		time.Sleep(session + time.Second)
		w.expire()
	}
	return do()
}

// quiesce waits until everything is consumed: the committed offset of each partition is its end.
func (w *world) quiesce(limit time.Duration) error {
	end := time.Now().Add(limit)
	for {
		w.expire()
		left, err := w.left()
		if err == nil && left == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not idle after %v: %s %w", limit, left, errors.Join(err, w.stuck()))
		}
		time.Sleep(2 * time.Second)
	}
}

// expire ends the membership of workers that were killed a session ago, as a broker does. The embedded broker forgets to for
// a member that dies between joining and its first heartbeat, and then waits for it for ever.
func (w *world) expire() {
	ctx := context.Background()
	groups, err := w.admin.DescribeGroups(ctx, groupName)
	if err != nil {
		return
	}
	for _, m := range groups[groupName].Members {
		for _, k := range w.past {
			if k.name == m.ClientID && !k.died.IsZero() && time.Since(k.died) > session {
				req := kmsg.NewPtrLeaveGroupRequest()
				gone := kmsg.NewLeaveGroupRequestMember()
				gone.MemberID = m.MemberID
				req.Group, req.Members = groupName, append(req.Members, gone)
				_, _ = req.RequestWith(ctx, w.client)
			}
		}
	}
}

// stuck describes what the workers do, for a run that does not come to rest.
func (w *world) stuck() error {
	var errs []error
	for _, k := range w.workers {
		for _, t := range k.c.Status().Tasks {
			errs = append(errs, fmt.Errorf("%s: %+v", k.name, t))
		}
	}
	return errors.Join(errs...)
}

func (w *world) left() (string, error) {
	ctx := context.Background()
	names := []string{topicName}
	for _, d := range tiers {
		names = append(names, retrytopics.TierTopic(topicName, groupName, d))
	}
	// The ends last: a record that comes between the two looks unfinished, never finished.
	committed, err := w.admin.FetchOffsets(ctx, groupName)
	if err != nil {
		return "", err
	}
	ends, err := w.admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return "", err
	}
	left := ""
	ends.Each(func(o kadm.ListedOffset) {
		if c, _ := committed.Lookup(o.Topic, o.Partition); o.Offset > 0 && c.At < o.Offset {
			left += fmt.Sprintf("%s/%d at %d of %d; ", o.Topic, o.Partition, c.At, o.Offset)
		}
	})
	return left, nil
}

// judge reads the topics and asks the checker.
func (w *world) judge(quiesced bool) (*checker.Result, error) {
	jt := checker.JobTopic{Topic: topicName, DeadLetters: retrytopics.DeadLetterTopic(topicName, groupName), Receipts: retrytopics.ReceiptTopic(topicName, groupName)}
	for _, d := range tiers {
		jt.Tiers = append(jt.Tiers, checker.Tier{Topic: retrytopics.TierTopic(topicName, groupName, d), Delay: d})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// In this order: what is committed rests on what the ledger says by then, and that on what the topics hold by then.
	committed, err := w.reader.Committed(ctx, groupName)
	if err != nil {
		return nil, err
	}
	seen := w.commits.seen()
	events := w.rec.Events()
	if err := w.reader.Read(ctx); err != nil {
		return nil, err
	}
	in := checker.Input{Ledger: events, Committed: committed, Jobs: []checker.JobTopic{jt}, Quiesced: quiesced,
		Kinds: map[string]checker.Kind{}, Timing: checker.Timing{RerunWindow: 3 * time.Second, Lease: session + 90*time.Second, Drain: drain, Session: session}}
	for _, k := range []job.Args{keyed{}, parted{}, unordered{}, batched{}, again{}, once{}} {
		in.Kinds[k.Kind()] = checker.Kind{MaxAttempts: maxAttempts, Guarantee: guarantees[k.Kind()]}
	}
	w.reader.Fill(&in)
	in.Commits = map[string][]checker.Commit{jt.Receipts: seen}
	return checker.Check(in), nil
}

// close ends everything and joins it.
func (w *world) close() {
	w.producing.Wait()
	for len(w.workers) > 0 {
		w.stop()
	}
	for _, k := range w.past {
		<-k.ended
		k.host.cut()
		k.host.wg.Wait()
	}
	if w.reader != nil {
		w.reader.Close()
	}
	w.client.Close()
	w.commits.close()
	w.cluster.Close()
}

// produce enqueues the workload over a while, and notes what was acked.
func (w *world) produce(jobs []enqueue, over time.Duration) error {
	p, err := producer.New(producer.Config{Brokers: []string{"localhost:9092", "localhost:9093"}, Topic: topicName, Opts: []kgo.Opt{kgo.Dialer(w.net.DialContext)}})
	if err != nil {
		return err
	}
	gap := over / time.Duration(len(jobs)+1)
	w.producing.Add(1)
	go func() {
		defer w.producing.Done()
		for _, e := range jobs {
			time.Sleep(gap)
			w.produceOne(p, e)
		}
		_ = p.Close(context.Background())
	}()
	return nil
}

func (w *world) produceOne(p *producer.Producer, e enqueue) {
	r := &kgo.Record{Topic: topicName}
	if e.raw != nil {
		r.Key, r.Value = e.raw.key, e.raw.value
		for _, h := range e.raw.headers {
			r.Headers = append(r.Headers, kgo.RecordHeader(h))
		}
	} else {
		if e.life > 0 {
			e.opts.Expires = time.Now().Add(e.life)
		}
		var err error
		if r, _, err = p.Encode(e.args, &e.opts); err != nil {
			w.errs = append(w.errs, err)
			return
		}
	}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		return // not acked: may or may not be there
	}
	ev := ledger.Event{Type: ledger.Produced, Record: ledger.Pos{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, Kind: "sim.unordered", Key: string(r.Key),
		Digest: ledger.DigestOf(r.Value), Intent: e.intent, At: e.opts.At}
	for _, h := range r.Headers {
		switch h.Key {
		case job.HeaderKind:
			ev.Kind = string(h.Value)
		case job.HeaderID:
			ev.ID = string(h.Value)
		}
	}
	w.rec.For("producer").Record(ev)
}
