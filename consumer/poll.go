package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/job"
)

// poller takes fetches and hands each partition's batch to the shard of its task. It never waits for work, and it never
// blocks a rebalance: the client's BlockRebalanceOnPoll would also block polling while a callback drains, which would stop
// the tasks that do not move. Instead a callback that gives partitions up calls barrier, after which no batch fetched
// before it can still be on its way to a shard.
type poller struct {
	c *Consumer

	mu        sync.Mutex
	interrupt context.CancelFunc // of the poll in progress
	wanted    bool               // a barrier waits
	turned    chan struct{}      // closed at the end of each turn
	stopped   bool
}

func newPoller(c *Consumer) *poller {
	c.ease.eased = make(chan struct{}, 1)
	return &poller{c: c, turned: make(chan struct{})}
}

// run polls until ctx ends.
func (p *poller) run(ctx context.Context) {
	defer p.finish()
	backoff := time.NewTimer(0)
	defer backoff.Stop()
	fit := newFetchFit(p.c.group)
	for ctx.Err() == nil {
		turn := p.begin(ctx)
		p.c.ease.wait(turn)
		fetches := p.c.group.PollFetches(turn)
		got := p.dispatch(fetches, p.c.inflater.polled())
		if part, changed := fit.follow(p.c.inflater.times(), p.c.taskBytes.Load()); changed {
			p.c.group.UpdateFetchMaxBytes(fit.all, part)
		}
		p.turn()
		if errs := p.errors(fetches); errs && !got { // a fatal partition error comes back at once, each time
			backoff.Reset(100 * time.Millisecond)
			select {
			case <-backoff.C:
			case <-p.c.inflater.room:
			case <-ctx.Done():
			}
		}
	}
}

func (p *poller) begin(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interrupt != nil {
		p.interrupt()
	}
	p.interrupt = cancel
	if p.wanted {
		cancel()
	}
	return ctx
}

func (p *poller) turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = false
	close(p.turned)
	p.turned = make(chan struct{})
}

func (p *poller) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.interrupt != nil {
		p.interrupt()
	}
	close(p.turned)
}

// barrier returns when everything polled before the call has reached its shard's inbox.
func (p *poller) barrier() {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	p.wanted = true
	if p.interrupt != nil {
		p.interrupt()
	}
	turned := p.turned
	p.mu.Unlock()
	<-turned
}

// dispatch hands what was fetched to the tasks, and calls done when they have all of it and the client knows of the pauses
// that follow.
func (p *poller) dispatch(fetches kgo.Fetches, done func()) (got bool) {
	seen := time.Now()
	var left atomic.Int32
	arrive := func() {
		if left.Add(-1) == 0 {
			p.c.fetch.after(done)
		}
	}
	left.Store(1)
	defer arrive()
	p.cuts(fetches)
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		got = true
		h := p.c.handleOf(f.Topic, f.Partition)
		if h == nil {
			return
		}
		p.c.metrics.fetched(&f)
		if last := f.Records[len(f.Records)-1]; f.Topic != h.key.topic && last.Attrs.TimestampType() == 1 {
			p.c.clock.sample(last.Timestamp, seen)
		}
		topic, records := f.Topic, f.Records
		if topic == h.key.topic {
			p.c.ease.fed(h, len(records))
		}
		left.Add(1)
		h.shard.post(h, func(m *task.Machine, now int64) {
			h.shard.admit(m, topic, records, now)
			if topic == h.key.topic {
				h.load.admitted(len(records))
			}
			h.shard.post(nil, func(*task.Machine, int64) { arrive() }) // once the effects are carried out
		})
	})
	return got
}

// cuts tells the tasks which logs lost their end, before anything is admitted of what stands there now: the client goes on by
// itself where the log was cut.
func (p *poller) cuts(fetches kgo.Fetches) {
	fetches.EachError(func(topic string, partition int32, err error) {
		if cut, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
			if h := p.c.handleOf(topic, partition); h != nil {
				h.shard.post(h, func(m *task.Machine, now int64) { m.Diverged(topic, cut.ResetTo, now) })
			}
		}
	})
}

// Headers of the client and of jobs have one layout; this conversion would not compile if they had not.
var _ = job.Header(kgo.RecordHeader{})

func jobHeaders(h []kgo.RecordHeader) []job.Header { return *(*[]job.Header)(unsafe.Pointer(&h)) }
func recordHeaders(h []job.Header) []kgo.RecordHeader {
	return *(*[]kgo.RecordHeader)(unsafe.Pointer(&h))
}

// native lets a handler reach the record behind its job.
type native kgo.Record

func (n *native) As(target any) bool {
	if r, ok := target.(**kgo.Record); ok {
		*r = (*kgo.Record)(n)
		return true
	}
	return false
}

// admitted is how many records a machine is given at once: few enough that they are still at hand when it reads them.
const admitted = 512

// admit gives a fetched batch to a machine.
func (s *shard) admit(m *task.Machine, topic string, in []*kgo.Record, now int64) {
	for some := range slices.Chunk(in, admitted) {
		s.take(some)
		m.Records(topic, s.records, now)
		s.took()
	}
}

// take lays out records for a machine; took forgets them.
func (s *shard) take(in []*kgo.Record) {
	for _, r := range in {
		s.records = append(s.records, laidOut(detached(r)))
	}
}

func laidOut(r *kgo.Record) task.Record {
	return task.Record{Offset: r.Offset, Time: r.Timestamp, Key: r.Key, Value: r.Value, Headers: jobHeaders(r.Headers), Native: (*native)(r), LeaderEpoch: r.LeaderEpoch}
}

func (s *shard) took() {
	clear(s.records)
	s.records = s.records[:0]
}

// errors looks at what the poll complained of and reports whether the next would at once complain again.
func (p *poller) errors(fetches kgo.Fetches) bool {
	again := 0
	fetches.EachError(func(topic string, partition int32, err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		again++
		if errors.Is(err, errOpened) {
			return
		}
		if _, cut := errors.AsType[*kgo.ErrDataLoss](err); cut { // said once; see cuts
			again--
		}
		if large, ok := errors.AsType[*kgo.ErrDecompressTooLarge](err); ok {
			if h := p.c.handleOf(topic, partition); h != nil {
				limit := p.c.cfg.MaxBatch
				h.shard.post(h, func(m *task.Machine, now int64) { m.Unreadable(topic, large.Offset, large.NextOffset, limit, now) })
			}
			return
		}
		if errors.Is(err, kerr.OffsetOutOfRange) {
			if h := p.c.handleOf(topic, partition); h != nil {
				h.shard.post(h, func(m *task.Machine, now int64) { m.OutOfRange(topic, now) })
			}
		}
		p.c.watch.suspect(err)
		if topic == "" {
			p.c.complain(groupTrouble, "", err)
			return
		}
		if p.c.refusals.refused(commit.Partition{Topic: topic, Partition: partition}, err) {
			again-- // it is paused: nothing to wait for
		}
		p.c.complain(fetchTrouble, topic, err, zap.Int32("partition", partition))
	})
	return again > 0
}
