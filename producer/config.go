package producer

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kzap"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/alone"
	"github.com/waybill-dev/waybill/job"
)

// Config is what a producer is made from. Brokers and a route are all it needs.
type Config struct {
	// Brokers are the addresses to begin with. Required.
	Brokers []string
	// ClientID names this program to the brokers. Defaults to connect.DefaultClientID.
	ClientID string
	// TLS and SASL are off by default.
	TLS  connect.TLS
	SASL connect.SASL

	// Topic is where jobs go whose kind has no route. Without it, jobs of kinds without a route are refused.
	Topic string
	// Routes names a topic by kind.
	Routes map[string]string

	// Codec turns arguments into payloads. It must be the codec that the kinds are registered with: a content type is
	// compared, but []byte arguments encoded as JSON are base64 text that decodes into something else. Defaults to job.JSON.
	Codec job.Codec `koanf:"-"`
	// Codecs overrides Codec by kind.
	Codecs map[string]job.Codec `koanf:"-"`

	// MaxBuffered bounds the jobs on their way, written to no broker yet; Enqueue waits for room. Defaults to 10,000.
	MaxBuffered int
	// MaxBufferedBytes bounds their memory likewise (keys, values and headers). Defaults to 64 MiB.
	MaxBufferedBytes int64

	// Opts go to the Kafka client after Waybill's own, for what this struct does not say. Options that Waybill's promises
	// rest on (acks, idempotence, the partitioner, consumer options, ...) are refused by New.
	Opts []kgo.Opt `koanf:"-"`
	// Logger receives what the Kafka client reports. Defaults to none.
	Logger *zap.Logger `koanf:"-"`
}

// Load returns a Config with what a file (YAML, may be "") and the environment (WAYBILL_*) say under "producer" and about
// the connection.
func Load(path string) (Config, error) {
	var c Config
	err := connect.Load(path, "producer", &c)
	return c, err
}

// WithDefaults returns c with every empty field at its default.
func (c Config) WithDefaults() Config {
	if c.ClientID == "" {
		c.ClientID = connect.DefaultClientID
	}
	if c.Codec == nil {
		c.Codec = job.JSON
	}
	if c.MaxBuffered == 0 {
		c.MaxBuffered = 10_000
	}
	if c.MaxBufferedBytes == 0 {
		c.MaxBufferedBytes = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return c
}

func (c Config) settings() connect.Settings {
	return connect.Settings{Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, SASL: c.SASL}
}

// Validate returns every fault of c, joined, each naming its field. Options of the Kafka client that only a client can
// tell are left to New.
func (c Config) Validate() error {
	errs := []error{c.settings().Validate(), c.settings().CheckDialing(c.Opts)}
	add := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if c.Topic != "" && !topicName(c.Topic) {
		add("Topic: %w", badTopic(c.Topic))
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Routes)) {
		if err := job.ValidateKind(kind); err != nil {
			add("Routes[%q]: %w", kind, err)
		}
		if !topicName(c.Routes[kind]) {
			add("Routes[%q]: %w", kind, badTopic(c.Routes[kind]))
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Codecs)) {
		if err := job.ValidateKind(kind); err != nil {
			add("Codecs[%q]: %w", kind, err)
		}
		if c.Codecs[kind] == nil {
			add("Codecs[%q]: nil; remove the entry to use Codec", kind)
		}
	}
	if c.MaxBuffered < 0 {
		add("MaxBuffered: %d is negative", c.MaxBuffered)
	}
	if c.MaxBufferedBytes < 0 {
		add("MaxBufferedBytes: %d is negative", c.MaxBufferedBytes)
	}
	for i, o := range c.Opts {
		switch o.(type) {
		case nil:
			add("Opts[%d]: nil", i)
		case kgo.ConsumerOpt, kgo.GroupOpt:
			add("Opts[%d]: an option for consumers; a producer reads nothing", i)
		}
	}
	return errors.Join(errs...)
}

// topicName matches what Kafka takes as the name of a topic.
var topicChars = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func topicName(s string) bool { return topicChars.MatchString(s) && s != "." && s != ".." }

func badTopic(s string) error {
	return fmt.Errorf("%q is no topic name; use 1 to 249 letters, digits, dots, underscores and hyphens", s[:min(len(s), 64)])
}

// Partitioner is the one by which order and dedupe hold: murmur2 of the key as Kafka's Java client computes it. Use it,
// as kgo.RecordPartitioner, where records made by Encode are produced with another client.
func Partitioner() kgo.Partitioner { return kgo.StickyKeyPartitioner(nil) }

// clientOpts are the options of the Kafka client, the user's aside. limit is asked for the bytes a batch may have.
func (c Config) clientOpts(limit func(topic string) int32, partitioner kgo.Partitioner) ([]kgo.Opt, error) {
	opts, err := c.settings().Opts()
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(partitioner),
		kgo.ProducerBatchMaxBytesFn(limit),
		kgo.MaxBufferedRecords(c.clientRecords()), // never reached: a blocked Produce would not end with the caller's context
		kgo.ProducerLinger(0),                     // callers wait for the ack; batches form while one is on its way
	)
	if c.Logger.Core().Enabled(zap.ErrorLevel) {
		opts = append(opts, kgo.WithLogger(kzap.New(c.Logger)))
	}
	return opts, nil
}

// newClient makes the Kafka client of a valid config with defaults applied, and the sender of what it gives back as too
// large.
func (c Config) newClient(limit func(topic string) int32) (*kgo.Client, *alone.Sender, error) {
	partitioner := Partitioner()
	opts, err := c.clientOpts(limit, partitioner)
	if err != nil {
		return nil, nil, err
	}
	opts = append(opts, c.Opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("Opts: %w", err)
	}
	if err := connect.CheckOwned(cl, c.owned(partitioner)); err != nil {
		cl.Close()
		return nil, nil, err
	}
	return cl, alone.New(opts), nil
}

// clientRecords is more than MaxBuffered, so that our own bound is the one that is felt.
func (c Config) clientRecords() int { return c.MaxBuffered + 1000 }

func (c Config) owned(partitioner kgo.Partitioner) []connect.Owned {
	return []connect.Owned{
		{Name: "SeedBrokers", Option: kgo.SeedBrokers, Want: []any{c.Brokers}, Instead: "set Brokers"},
		{Name: "RequiredAcks", Option: kgo.RequiredAcks, Want: []any{kgo.AllISRAcks()}, Instead: "an acked job must survive its leader"},
		{Name: "DisableIdempotentWrite", Option: kgo.DisableIdempotentWrite, Want: []any{false}, Instead: "without it retries change the order"},
		{Name: "AllowIdempotentProduceCancellation", Option: kgo.AllowIdempotentProduceCancellation, Want: []any{false},
			Instead: "Enqueue already returns when its context ends"},
		{Name: "RecordPartitioner", Option: kgo.RecordPartitioner, Want: []any{partitioner}, Instead: "order and dedupe rest on one partitioner"},
		{Name: "DefaultProduceTopic", Option: kgo.DefaultProduceTopic, Want: []any{""}, Instead: "set Topic or Routes"},
		{Name: "DefaultProduceTopicAlways", Option: kgo.DefaultProduceTopicAlways, Want: []any{false}, Instead: "set Topic or Routes"},
		{Name: "MaxBufferedRecords", Option: kgo.MaxBufferedRecords, Want: []any{int64(c.clientRecords())}, Instead: "set MaxBuffered"},
		{Name: "MaxBufferedBytes", Option: kgo.MaxBufferedBytes, Want: []any{int64(0)}, Instead: "set MaxBufferedBytes"},
		{Name: "ManualFlushing", Option: kgo.ManualFlushing, Want: []any{false}, Instead: "Enqueue waits for its job"},
		{Name: "TransactionalID", Option: kgo.TransactionalID, Want: []any{"", false}, Instead: "a producer's jobs are not transactional"},
	}
}
