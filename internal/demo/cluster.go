package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/google/uuid"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/embedded"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/retrytopics"
)

const partitions = 6

// window is how long receipts are remembered: at least twice the kinds' MaxAge. It must be what the workers use.
const window = 72 * time.Hour

// stage is the cluster, the topics and the group the story plays on.
type stage struct {
	connection connect.Settings
	opts       []kgo.Opt
	broker     *embedded.Broker // nil on somebody else's cluster
	client     *kgo.Client
	admin      *kadm.Client
	topic      string
	group      string
}

// openStage embeds a broker where no cluster is named. On somebody else's cluster the names carry a random suffix, so that
// nothing of theirs is met.
func openStage(c connect.Settings) (*stage, error) {
	s := &stage{connection: c, topic: "shop", group: "demo"}
	if len(c.Brokers) == 0 {
		b, err := embedded.Start(embedded.Options{})
		if err != nil {
			return nil, err
		}
		s.broker = b
		s.connection = connect.Settings{Brokers: b.Addrs()}
	} else {
		suffix := "-" + uuid.NewString()[:8]
		s.topic, s.group = s.topic+suffix, s.group+suffix
	}
	var err error
	if s.opts, err = s.connection.Opts(); err == nil {
		s.opts = append(s.opts, kgo.MetadataMinAge(100*time.Millisecond)) // else new topics are not seen for 5 s
		s.client, err = kgo.NewClient(s.opts...)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.admin = kadm.NewClient(s.client)
	return s, nil
}

func (s *stage) close() {
	if s.client != nil {
		s.client.Close()
	}
	if s.broker != nil {
		s.broker.Close()
	}
}

// create makes the topics as `waybill setup apply` would.
func (s *stage) create(ctx context.Context) error {
	report, err := setup.Plan(ctx, s.admin, s.opts, setup.Want{Group: s.group, Tiers: tiers, Window: window,
		Topics: []setup.TopicWant{{Name: s.topic, Partitions: partitions}}})
	if err != nil {
		return err
	}
	return setup.Apply(ctx, s.admin, s.opts, report)
}

// remove deletes group and topics.
func (s *stage) remove(ctx context.Context) error {
	err := s.removeGroup(ctx)
	names := append(s.job().names(), retrytopics.ControlTopic(s.group), retrytopics.StatusTopic(s.group), retrytopics.AuditTopic(s.group))
	responses, derr := s.admin.DeleteTopics(ctx, names...)
	for _, r := range responses {
		if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			derr = errors.Join(derr, fmt.Errorf("delete topic %s: %w", r.Topic, r.Err))
		}
	}
	return errors.Join(err, derr)
}

// removeGroup waits for members that were killed: the group has them until their sessions end.
func (s *stage) removeGroup(ctx context.Context) error {
	every := time.NewTicker(500 * time.Millisecond)
	defer every.Stop()
	for {
		_, err := s.admin.DeleteGroup(ctx, s.group)
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			return nil
		}
		if !errors.Is(err, kerr.NonEmptyGroup) {
			return fmt.Errorf("delete group %s: %w", s.group, err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return fmt.Errorf("delete group %s: %w", s.group, err)
		}
	}
}

// roles is the topics in the roles the checker knows.
type roles checker.JobTopic

func (s *stage) job() roles {
	r := roles{Topic: s.topic, DeadLetters: retrytopics.DeadLetterTopic(s.topic, s.group), Receipts: retrytopics.ReceiptTopic(s.topic, s.group)}
	for _, d := range tiers {
		r.Tiers = append(r.Tiers, checker.Tier{Topic: retrytopics.TierTopic(s.topic, s.group, d), Delay: d})
	}
	return r
}

// names are the topics that are read at the end.
func (r roles) names() []string {
	names := []string{r.Topic, r.DeadLetters, r.Receipts}
	for _, t := range r.Tiers {
		names = append(names, t.Topic)
	}
	return names
}

// skip commits, as an operator with any Kafka tool could, past the first record of one partition. The group must have no
// members.
func (s *stage) skip(ctx context.Context, partition int32) error {
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: s.topic, Partition: partition, At: 1, LeaderEpoch: -1})
	resp, err := s.admin.CommitOffsets(ctx, s.group, o)
	return errors.Join(err, resp.Error())
}
