package producer

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/job"
)

func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"the zero value":      {func(c *Config) { *c = Config{} }, []string{"Brokers"}},
		"a topic's name":      {func(c *Config) { c.Topic = "a b" }, []string{"Topic:"}},
		"a route's topic":     {func(c *Config) { c.Routes = map[string]string{"k": "", "l": "."} }, []string{`Routes["k"]`, `Routes["l"]`}},
		"a route's kind":      {func(c *Config) { c.Routes = map[string]string{"a b": "t"} }, []string{`Routes["a b"]`}},
		"a nil codec":         {func(c *Config) { c.Codecs = map[string]job.Codec{"k": nil} }, []string{`Codecs["k"]`}},
		"a codec's kind":      {func(c *Config) { c.Codecs = map[string]job.Codec{"a b": job.JSON} }, []string{`Codecs["a b"]`}},
		"bounds":              {func(c *Config) { c.MaxBuffered, c.MaxBufferedBytes = -1, -1 }, []string{"MaxBuffered:", "MaxBufferedBytes:"}},
		"TLS":                 {func(c *Config) { c.TLS.CAFile = "x" }, []string{"TLS.Enabled"}},
		"a file that is away": {func(c *Config) { c.TLS = connect.TLS{Enabled: true, CAFile: "absent.pem"} }, []string{"TLS.CAFile"}},
		"SASL":                {func(c *Config) { c.SASL.Username = "x" }, []string{"SASL.Mechanism"}},
		"a nil option":        {opts(nil), []string{"Opts[0]: nil"}},
		"consumer's options":  {opts(kgo.ConsumeTopics("x"), kgo.ConsumerGroup("g")), []string{"Opts[0]", "Opts[1]"}},
		"acks":                {opts(kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()), []string{"kgo.RequiredAcks", "kgo.DisableIdempotentWrite"}},
		"acks alone":          {opts(kgo.RequiredAcks(kgo.LeaderAck())), []string{"Opts:"}},
		"cancellation":        {opts(kgo.AllowIdempotentProduceCancellation()), []string{"kgo.AllowIdempotentProduceCancellation"}},
		"the partitioner":     {opts(kgo.RecordPartitioner(kgo.RoundRobinPartitioner())), []string{"kgo.RecordPartitioner"}},
		"another murmur2":     {opts(kgo.RecordPartitioner(kgo.StickyKeyPartitioner(kgo.SaramaHasher(func([]byte) uint32 { return 0 })))), []string{"kgo.RecordPartitioner"}},
		"a default topic":     {opts(kgo.DefaultProduceTopic("x")), []string{"kgo.DefaultProduceTopic "}},
		"one topic always":    {opts(kgo.DefaultProduceTopic("x"), kgo.DefaultProduceTopicAlways()), []string{"kgo.DefaultProduceTopicAlways"}},
		"transactions":        {opts(kgo.TransactionalID("x")), []string{"kgo.TransactionalID"}},
		"other brokers":       {opts(kgo.SeedBrokers("x:1")), []string{"kgo.SeedBrokers", "set Brokers"}},
		"client bounds":       {opts(kgo.MaxBufferedRecords(1), kgo.MaxBufferedBytes(1)), []string{"kgo.MaxBufferedRecords", "kgo.MaxBufferedBytes"}},
		"manual flushing":     {opts(kgo.ManualFlushing()), []string{"kgo.ManualFlushing"}},
		"several at once":     {func(c *Config) { *c = Config{Topic: "a b", MaxBuffered: -1} }, []string{"Brokers", "Topic:", "MaxBuffered:"}},
		"an invalid value":    {opts(kgo.ProducerBatchMaxBytes(1)), []string{"Opts:"}},
		"an unreadable secret": {func(c *Config) {
			c.SASL = connect.SASL{Mechanism: connect.Plain, Username: "u", PasswordFile: "absent"}
		}, []string{"SASL.PasswordFile"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := Config{Brokers: []string{"localhost:1"}, Topic: "t"}
			c.change(&config)
			p, err := New(config)
			if err == nil {
				_ = p.Close(t.Context())
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
}

func opts(o ...kgo.Opt) func(*Config) { return func(c *Config) { c.Opts = o } }

func TestNewPassesOptionsThrough(t *testing.T) {
	p := offline(t, func(c *Config) {
		c.ClientID = "mailer"
		c.Opts = []kgo.Opt{kgo.ProducerLinger(time.Second), kgo.UnknownTopicRetries(1), kgo.RequiredAcks(kgo.AllISRAcks())}
	})
	if p.cl.OptValue(kgo.ProducerLinger) != time.Second || p.cl.OptValue(kgo.ClientID) != "mailer" {
		t.Error("an option got lost")
	}
	if got := p.cl.OptValue(kgo.RequiredAcks); got != kgo.AllISRAcks() {
		t.Errorf("acks %v", got)
	}
}

func TestDefaults(t *testing.T) {
	c := Config{}.WithDefaults()
	if c.Codec != job.JSON || c.MaxBuffered != 10_000 || c.MaxBufferedBytes != 64<<20 || c.ClientID != connect.DefaultClientID || c.Logger == nil {
		t.Errorf("defaults %+v", c)
	}
	mine := Config{Codec: job.Bytes, MaxBuffered: 1, MaxBufferedBytes: 2, ClientID: "x", Logger: zap.NewExample()}
	got := mine.WithDefaults()
	if got.Codec != job.Bytes || got.MaxBuffered != 1 || got.MaxBufferedBytes != 2 || got.ClientID != "x" || got.Logger != mine.Logger {
		t.Errorf("given fields changed: %+v", got)
	}
}

func TestConfigIsLoadable(t *testing.T) {
	t.Setenv("WAYBILL_BROKERS", "a:1,b:2")
	t.Setenv("WAYBILL_PRODUCER_TOPIC", "emails")
	t.Setenv("WAYBILL_PRODUCER_ROUTES", "email.bye=byes")
	t.Setenv("WAYBILL_PRODUCER_MAX_BUFFERED", "5")
	t.Setenv("WAYBILL_SASL_MECHANISM", connect.Plain)
	var c Config
	if err := connect.Load("", "producer", &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Brokers) != 2 || c.Topic != "emails" || c.Routes["email.bye"] != "byes" || c.MaxBuffered != 5 || c.SASL.Mechanism != connect.Plain {
		t.Errorf("loaded %+v", c)
	}
}

func TestLoggerHearsTheClient(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	p := offline(t, func(c *Config) { c.Logger = zap.New(core) })
	_ = p.cl.Flush(t.Context()) // the client notes each flush
	if logs.Len() == 0 {
		t.Error("nothing was logged")
	}
}
