package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// passParams say what a side works through, again and again.
type passParams struct {
	Topic   string     `json:"topic"`
	Jobs    int        `json:"jobs"` // in the topic
	Group   string     `json:"group"`
	Seconds float64    `json:"seconds"`
	JSON    bool       `json:"json"`
	Policy  job.Policy `json:"policy"` // of the kind; Waybill's side only
	// Metrics lets the instance count into a registry that is scraped; Waybill's side only.
	Metrics bool `json:"metrics"`
	// Dir is where the instances keep their receipts, each in a folder of its own (dirOf); Waybill's side only. Empty: in memory.
	Dir string `json:"dir"`
	// Run is how many jobs are run, where others are known to be done; 0: all.
	Run int `json:"run"`
	// Steady leaves out what it costs to begin: clock, processor time and jobs count from the moment when every partition
	// that has records has delivered one.
	Steady bool `json:"steady"`
}

// onePass is passParams.Seconds for a side that makes one pass.
const onePass = 1e-9

// dirOf is the folder of one group's instance.
func dirOf(dir, group string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, group)
}

// toRun is how many jobs are run in a pass.
func (p passParams) toRun() int64 {
	if p.Run > 0 {
		return int64(p.Run)
	}
	return int64(p.Jobs)
}

// sample is what one side measured.
type sample struct {
	Jobs    int     `json:"jobs"` // of all passes
	Passes  int     `json:"passes"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu"` // seconds
}

func (s sample) rate() float64   { return float64(s.Jobs) / s.Seconds }
func (s sample) micros() float64 { return s.CPU * 1e6 / float64(s.Jobs) }

// pass is one way through a topic in a new group.
type pass struct {
	s     *side
	p     passParams
	group string
	first atomic.Int64 // nanoseconds of the clock when the first record was in hand; 0: not yet
	n     atomic.Int64 // jobs handled
	full  chan struct{}

	seen   []atomic.Bool // partitions that have delivered; only for a steady pass
	unseen atomic.Int64

	// The state of things when the clock began.
	before time.Duration // processor time
	skip   int64         // jobs handled
}

// newPass begins a pass. Clients fetch ahead of the first record in hand, so processor time counts from here.
func newPass(ctx context.Context, s *side, p passParams, group string) (*pass, error) {
	out := &pass{s: s, p: p, group: group, full: make(chan struct{}), before: processorTime()}
	if !p.Steady {
		return out, nil
	}
	admin, err := kadm.NewOptClient(s.opts...)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	ends, err := admin.ListEndOffsets(ctx, p.Topic)
	if err != nil {
		return nil, err
	}
	out.seen = make([]atomic.Bool, len(ends[p.Topic]))
	for _, end := range ends[p.Topic] {
		if end.Offset > 0 {
			out.unseen.Add(1)
		}
	}
	return out, nil
}

// began is called with the partition of each record before it is handled, from any goroutine.
func (p *pass) began(partition int32) {
	switch {
	case p.seen == nil:
		if p.first.Load() == 0 {
			p.first.CompareAndSwap(0, time.Now().UnixNano())
		}
	case p.seen[partition].Load():
	case !p.seen[partition].Swap(true) && p.unseen.Add(-1) == 0:
		p.before, p.skip = processorTime(), p.n.Load()
		p.first.Store(time.Now().UnixNano())
	}
}

// passes makes passes until they have lasted the seconds asked for. one works until the pass is full and committed, or ctx
// ends, and calls its argument when that is so, before it tidies up.
func passes(ctx context.Context, s *side, one func(ctx context.Context, p *pass, done func()) error) (any, error) {
	var params passParams
	if err := s.read(&params); err != nil {
		return nil, err
	}
	var total sample
	for total.Seconds < params.Seconds {
		p, err := newPass(ctx, s, params, numbered(params.Group, total.Passes))
		if err != nil {
			return nil, err
		}
		finished := false
		err = one(ctx, p, func() {
			finished = true
			total.CPU += (processorTime() - p.before).Seconds()
			total.Seconds += time.Since(time.Unix(0, p.first.Load())).Seconds()
			total.Jobs += params.Jobs - int(p.skip)
		})
		if err != nil || !finished {
			return nil, errors.Join(fmt.Errorf("pass %d ended after %d of %d jobs", total.Passes+1, p.n.Load(), params.Jobs), err, ctx.Err())
		}
		total.Passes++
		if err := s.tell(fmt.Sprintf("%d jobs in %.1f s", total.Jobs, total.Seconds)); err != nil {
			return nil, err
		}
	}
	return total, nil
}

// numbered names the group of a pass.
func numbered(group string, pass int) string { return group + "-" + strconv.Itoa(pass) }

// commitEvery is how often the raw side commits: Waybill's tick.
const commitEvery = 100 * time.Millisecond

// rawPasses is the role of the other side: a group loop as franz-go's documentation has it.
func rawPasses(ctx context.Context, s *side) (any, error) {
	return passes(ctx, s, func(ctx context.Context, p *pass, done func()) error {
		cl, err := kgo.NewClient(append(s.opts[:len(s.opts):len(s.opts)], kgo.ConsumerGroup(p.group), kgo.ConsumeTopics(p.p.Topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
		if err != nil {
			return err
		}
		defer cl.Close()
		handle := func(*kgo.Record) error { return nil }
		if p.p.JSON {
			handle = func(r *kgo.Record) error { var t text; return json.Unmarshal(r.Value, &t) }
		}
		last := time.Now()
		for n := 0; n < p.p.Jobs; {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return err
			}
			var failed error
			fetches.EachPartition(func(f kgo.FetchTopicPartition) {
				if len(f.Records) > 0 {
					p.began(f.Partition)
				}
				for _, r := range f.Records {
					if err := handle(r); err != nil {
						failed = err
					}
				}
				n += len(f.Records)
				p.n.Store(int64(n))
			})
			if failed != nil {
				return failed
			}
			if now := time.Now(); now.Sub(last) >= commitEvery || n >= p.p.Jobs {
				last = now
				if err := cl.CommitUncommittedOffsets(ctx); err != nil {
					return err
				}
			}
		}
		done()
		return nil
	})
}

// waybillPasses is the role of Waybill's side: one instance with the defaults, whose handler counts.
func waybillPasses(ctx context.Context, s *side) (any, error) {
	watch, err := kgo.NewClient(s.opts...)
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	return passes(ctx, s, func(ctx context.Context, p *pass, done func()) error {
		mux := processor.NewMux()
		count := func(m *job.Message) error {
			p.began(m.Partition)
			if p.n.Add(1) == p.p.toRun() {
				close(p.full)
			}
			return nil
		}
		processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Policy: p.p.Policy,
			Handle: func(_ context.Context, j *job.Job[blob]) error { return count(j.Message) }})
		processor.Register(mux, processor.Kind[text]{Policy: p.p.Policy,
			Handle: func(_ context.Context, j *job.Job[text]) error { return count(j.Message) }})
		cfg := consumer.Config{Group: p.group, Topics: []string{p.p.Topic}, Mux: mux, Dir: dirOf(p.p.Dir, p.group)}
		if p.p.Metrics {
			reg, stop := scraped(ctx)
			defer stop()
			cfg.Metrics = reg
		}
		return s.instance(ctx, cfg, func(ctx context.Context) error {
			select {
			case <-p.full:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := committed(ctx, kadm.NewClient(watch), p.group, p.p.Topic, int64(p.p.Jobs)); err != nil {
				return err
			}
			done()
			return nil
		})
	})
}

// instance runs an instance of Waybill while work does, and returns when both have ended. The context given to work ends
// when the instance does.
func (s *side) instance(ctx context.Context, c consumer.Config, work func(ctx context.Context) error) error {
	c = s.configured(c)
	return alive(ctx, func(ctx context.Context) error { return consumer.Run(ctx, c) }, work)
}

// configured is c for the side's cluster.
func (s *side) configured(c consumer.Config) consumer.Config {
	c.Brokers, c.ClientID, c.TLS, c.SASL = s.connection.Brokers, s.connection.ClientID, s.connection.TLS, s.connection.SASL
	c.Setup = consumer.Create
	return c
}

// alive runs an instance while work does, as instance says.
func alive(ctx context.Context, run, work func(ctx context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- run(ctx)
	}()
	err := work(ctx)
	stop()
	return errors.Join(err, <-ended)
}

// committed waits until the group has committed so many offsets of the topic, all partitions together.
func committed(ctx context.Context, admin *kadm.Client, group, topic string, want int64) error {
	for {
		offsets, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return fmt.Errorf("offsets of group %s: %w", group, err)
		}
		var sum int64
		for _, o := range offsets[topic] {
			sum += max(0, o.At)
		}
		if sum >= want {
			return nil
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return fmt.Errorf("group %s has committed %d of %d offsets: %w", group, sum, want, ctx.Err())
		}
	}
}
