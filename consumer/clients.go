package consumer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kzap"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/internal/alone"
)

// lives are the contexts of the clients. A client gives a request back when that one's context ends, but not one that waits
// behind a dial which does not return: such a dial ends with the client alone, and so by these.
type lives struct {
	all, group    context.Context
	end, endGroup context.CancelFunc
}

func newLives() (l lives) {
	l.all, l.end = context.WithCancel(context.Background())
	l.group, l.endGroup = context.WithCancel(l.all)
	return l
}

// connect opens the writing client, looks at the topics and makes the rooms that need them.
func (c *Consumer) connect(ctx context.Context) error {
	base, err := c.cfg.settings().Opts()
	if err != nil {
		return err
	}
	base = append(slices.Clip(base), kgo.WithLogger(kzap.New(c.log.Named("kafka").WithOptions(zap.IncreaseLevel(zapcore.WarnLevel)))))
	c.life = newLives()
	base = slices.Clip(append(base, kgo.WithContext(c.life.all)))
	writing := append(append(base, c.writerOpts()...), c.cfg.Opts...)
	if c.writer, err = kgo.NewClient(writing...); err != nil {
		c.life.end()
		return err
	}
	c.alone = alone.New(writing)
	c.adm = kadm.NewClient(c.writer)
	c.reader = dedupe.NewLogReader(append(append([]kgo.Opt{}, base...), c.cfg.Opts...))
	c.reader.Turn = c.turns
	c.base = base
	hasty := context.AfterFunc(ctx, c.life.end) // an answer that never comes is not waited for
	if err = c.prepare(ctx); !hasty() {
		err = ctx.Err()
	}
	if err != nil {
		c.life.end()
		c.writer.Close()
		return err
	}
	c.poller, c.fetch = newPoller(c), newFetchControl(c)
	c.refusals = refusals{c: c, at: map[commit.Partition]*refusal{}}
	c.prover = newProver(c)
	c.trimmer = newTrimmer(c)
	return nil
}

// enter makes the group's client, which begins to join at once: the rooms its callbacks use must be there already.
func (c *Consumer) enter() (err error) {
	defer close(c.wired)
	c.taskBytes.Store(int64(c.cfg.Memory))
	if c.inflater, err = newInflater(c.cfg.MaxBatch, c.cfg.Memory/2); err != nil {
		return err
	}
	opts := append(append(c.base, c.groupOpts()...), c.cfg.Opts...)
	if c.group, err = kgo.NewClient(append(opts, kgo.WithContext(c.life.group), kgo.WithDecompressor(c.inflater))...); err != nil {
		return err
	}
	c.commits = commit.New(commit.Config{Client: c.group, Group: c.cfg.Group, Committed: c.trimmer.committed,
		TopicID: c.topicID,
		Failed: func(topic string, err error) {
			c.metrics.commitFailed()
			c.watch.suspect(err)
			if errors.Is(err, kerr.UnknownMemberID) { // as a member now, or as one before: the prover asks
				c.lease.doubt()
			}
			c.complain(commitTrouble, topic, err)
		}})
	return nil
}

// writerOpts: every record names its partition; nothing waits for others to fill a batch; a record that cannot be acked
// comes back after a while, so that the pause it causes can be seen, and is sent again.
func (c *Consumer) writerOpts() []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.RecordDeliveryTimeout(10 * time.Second),
		kgo.MaxBufferedRecords(1 << 20),
		kgo.ProducerBatchMaxBytes(100 << 20),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if n, ok := c.maxBytes[topic]; ok {
				return n
			}
			return 1 << 20
		}),
		kgo.UnknownTopicRetries(2),
		kgo.MetadataMaxAge(30 * time.Second),
		kgo.MetadataMinAge(250 * time.Millisecond), // else a look at topics just made is answered from the cache for 5 s
	}
}

func (c *Consumer) groupOpts() []kgo.Opt {
	var topics []string
	for _, t := range c.topics {
		topics = append(topics, t.all()...)
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.cfg.Group),
		kgo.ConsumeTopics(topics...),
		kgo.Balancers(c.balancers()...),
		kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(c.cfg.FetchWait),
		kgo.KeepRetryableFetchErrors(),
		kgo.SessionTimeout(c.cfg.SessionTimeout),
		kgo.RebalanceTimeout(c.cfg.RebalanceTimeout),
		kgo.HeartbeatInterval(c.cfg.Heartbeat),
		// A heartbeat that hangs longer than this could outlive the session without the client noticing.
		kgo.RequestTimeoutOverhead(max(time.Second, c.cfg.SessionTimeout-2*c.cfg.Heartbeat-time.Second)),
		kgo.MetadataMaxAge(30 * time.Second),
		kgo.MetadataMinAge(250 * time.Millisecond),
		kgo.OnPartitionsAssigned(c.onAssigned),
		kgo.OnPartitionsRevoked(c.onRevoked),
		kgo.OnPartitionsLost(c.onLost),
		kgo.AdjustFetchOffsetsFn(c.place),
		kgo.WithHooks(c.lease),
	}
	if c.cfg.StaticID != "" {
		opts = append(opts, kgo.InstanceID(c.cfg.StaticID))
	}
	return append(opts, c.metrics.hooks()...)
}

// place gives each assigned partition a harmless place: it is paused, and its machine says where it starts. Offset 0 and
// no other, because a machine ignores what lies below its place, while a gap above it would be lost.
func (c *Consumer) place(_ context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for _, ps := range at {
		for p := range ps {
			ps[p] = kgo.NewOffset().At(0)
		}
	}
	return at, nil
}
