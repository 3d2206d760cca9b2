package consumer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

func done(context.Context, *job.Job[note]) error { return nil }

func oneKind() *processor.Mux {
	mux := processor.NewMux()
	processor.Handle(mux, done)
	return mux
}

func valid() consumer.Config {
	return consumer.Config{Brokers: []string{"localhost:9092"}, Group: groupName, Topics: []string{topicName}, Mux: oneKind()}
}

func TestDefaults(t *testing.T) {
	c := consumer.Config{}.WithDefaults()
	if !reflect.DeepEqual(c.Tiers, []time.Duration{10 * time.Second, 2 * time.Minute, 30 * time.Minute}) || c.Workers != 100 || c.Partitions != 12 ||
		c.Window != 72*time.Hour || c.KeepUnknown != 24*time.Hour || c.Memory != 256<<20 || c.MaxBatch != 64<<20 || c.Tick != 100*time.Millisecond || c.Logger == nil ||
		c.SessionTimeout != 45*time.Second || c.RebalanceTimeout != time.Minute || c.Heartbeat != 3*time.Second || c.DrainTimeout != 20*time.Second ||
		c.FetchWait != 250*time.Millisecond || c.ClientID != "waybill" || c.Instance == "" || c.Setup != consumer.Verify || c.Start != consumer.Earliest {
		t.Errorf("defaults: %+v", c)
	}
	if again := c.WithDefaults(); !reflect.DeepEqual(again, c) {
		t.Errorf("a second time: %+v", again)
	}
	if c := (consumer.Config{RebalanceTimeout: 10 * time.Second}).WithDefaults(); c.DrainTimeout > 5*time.Second {
		t.Errorf("with a short rebalance timeout the default drain timeout %v is refused", c.DrainTimeout)
	}
	set := consumer.Config{Tiers: []time.Duration{time.Second}, Workers: 1, Partitions: 2, Window: time.Hour, KeepUnknown: time.Hour, Memory: 1 << 30, MaxBatch: 1 << 20,
		Tick: time.Second, SessionTimeout: time.Minute, RebalanceTimeout: time.Hour, Heartbeat: time.Second, DrainTimeout: time.Second,
		FetchWait: time.Second, ClientID: "x", Instance: "i", Logger: zap.NewExample()}
	if got := set.WithDefaults(); !reflect.DeepEqual(got, set) {
		t.Errorf("what is set is changed: %+v", got)
	}
}

// Each fault is refused, and says which field is at fault.
func TestNewRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*consumer.Config)
		want   string
	}{
		"no brokers":           {func(c *consumer.Config) { c.Brokers = nil }, "Brokers"},
		"no group":             {func(c *consumer.Config) { c.Group = "" }, "Group: is empty"},
		"no topic":             {func(c *consumer.Config) { c.Topics = nil }, "Topics: is empty"},
		"a topic twice":        {func(c *consumer.Config) { c.Foreign = []consumer.Topic{{Name: topicName}} }, "named twice"},
		"a topic without name": {func(c *consumer.Config) { c.Foreign = []consumer.Topic{{DefaultKind: "x"}} }, "Foreign[0].Name: is empty"},
		"a topic of no kind":   {func(c *consumer.Config) { c.Foreign = []consumer.Topic{{Name: "x", DefaultKind: "a b"}} }, "Foreign[0].DefaultKind: "},
		"a topic of no name":   {func(c *consumer.Config) { c.Topics = []string{"a b"} }, `Topics: "a b"`},
		"a group of no name":   {func(c *consumer.Config) { c.Group = "a b" }, `Group: "a b"`},
		"a route of no kind":   {func(c *consumer.Config) { c.Routes = map[string]string{"a b": "x"} }, `Routes["a b"]: `},
		"a route to nowhere":   {func(c *consumer.Config) { c.Routes = map[string]string{"x": ""} }, `Routes["x"]: the name is empty`},
		"a class of no name":   {func(c *consumer.Config) { c.Classes = map[string]int{"": 3} }, "Classes: a class has no name"},
		"negative sessions":    {func(c *consumer.Config) { c.SessionTimeout = -1 }, "SessionTimeout: -1ns is negative"},
		"negative rebalance":   {func(c *consumer.Config) { c.RebalanceTimeout = -1 }, "RebalanceTimeout: -1ns is negative"},
		"max batch":            {func(c *consumer.Config) { c.MaxBatch = 1000 }, "MaxBatch: 1000 bytes"},
		"an engine's topic":    {func(c *consumer.Config) { c.Topics = []string{"x.mailer.dlq"} }, "named like a topic that Waybill keeps"},
		"no mux":               {func(c *consumer.Config) { c.Mux = nil }, "Mux: is nil"},
		"a bad mux":            {func(c *consumer.Config) { processor.Handle(c.Mux, done) }, "note"},
		"negative workers":     {func(c *consumer.Config) { c.Workers = -1 }, "Workers"},
		"a class of nobody":    {func(c *consumer.Config) { c.Classes = map[string]int{"slow": 0} }, `Classes["slow"]`},
		"a tier of nothing":    {func(c *consumer.Config) { c.Tiers = []time.Duration{time.Second, 0} }, "Tiers: 0s"},
		"partitions":           {func(c *consumer.Config) { c.Partitions = -1 }, "Partitions"},
		"replication":          {func(c *consumer.Config) { c.Replication = -1 }, "Replication"},
		"setup":                {func(c *consumer.Config) { c.Setup = 7 }, "Setup"},
		"start":                {func(c *consumer.Config) { c.Start = 7 }, "Start"},
		"a short window":       {func(c *consumer.Config) { c.Window = time.Second }, "Window"},
		"a window below twice MaxAge": {func(c *consumer.Config) { c.Window = 47 * time.Hour },
			`Window: 47h0m0s is less than twice the MaxAge of kind "note"`},
		"a window above it": {func(c *consumer.Config) {
			processor.Handle(c.Mux, func(context.Context, *job.Job[monthly]) error { return nil }, job.Policy{Window: 720 * time.Hour})
		}, `Window: 72h0m0s is less than the window of kind "monthly" (Policy.Window, 720h0m0s)`},
		"keep unknown":         {func(c *consumer.Config) { c.KeepUnknown = -1 }, "KeepUnknown"},
		"memory":               {func(c *consumer.Config) { c.Memory = 1000 }, "Memory"},
		"tick":                 {func(c *consumer.Config) { c.Tick = 1 }, "Tick"},
		"heartbeat":            {func(c *consumer.Config) { c.Heartbeat = 16 * time.Second }, "Heartbeat: 16s is more than a third"},
		"negative beat":        {func(c *consumer.Config) { c.Heartbeat = -1 }, "Heartbeat"},
		"negative drain":       {func(c *consumer.Config) { c.DrainTimeout = -1 }, "DrainTimeout"},
		"a long drain":         {func(c *consumer.Config) { c.DrainTimeout = 56 * time.Second }, "DrainTimeout: 56s is more than"},
		"short rebalance":      {func(c *consumer.Config) { c.RebalanceTimeout = 5 * time.Second }, "DrainTimeout"},
		"fetch wait":           {func(c *consumer.Config) { c.FetchWait = -1 }, "FetchWait"},
		"sasl":                 {func(c *consumer.Config) { c.SASL = connect.SASL{Mechanism: "GSSAPI"} }, "SASL.Mechanism"},
		"a balancer of nobody": {func(c *consumer.Config) { c.MigrateFrom = []string{"range", "uniform"} }, `MigrateFrom[1]: "uniform" is no stock balancer`},
		"a balancer twice":     {func(c *consumer.Config) { c.MigrateFrom = []string{"sticky", "sticky"} }, `MigrateFrom[1]: "sticky" stands there twice`},
		"tls":                  {func(c *consumer.Config) { c.TLS = connect.TLS{CAFile: "x"} }, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := valid()
			c.change(&cfg)
			if _, err := consumer.New(cfg); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
	if _, err := consumer.New(valid()); err != nil {
		t.Errorf("the valid configuration: %v", err)
	}
}

// Every fault comes at once: of fields, of the mux, of options.
func TestNewReturnsAllErrors(t *testing.T) {
	mux := oneKind()
	processor.Handle(mux, done)
	_, err := consumer.New(consumer.Config{Mux: mux, Workers: -1, Tick: 1, MaxBatch: 1, Routes: map[string]string{"k": "."},
		Foreign: []consumer.Topic{{DefaultKind: "a b"}}, TLS: connect.TLS{CAFile: "x"}, SASL: connect.SASL{Username: "u"}, Opts: []kgo.Opt{kgo.ConsumerGroup("mine"), nil, kgo.WithContext(t.Context())}})
	for _, want := range []string{"Brokers", "Group", "Foreign[0].Name", "Foreign[0].DefaultKind", "Workers", "Tick", "MaxBatch", `Routes["k"]`, "TLS.Enabled",
		"SASL.Mechanism", "note", "Opts[0]", "Opts[1]", "kgo.WithContext"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
	if _, err := consumer.New(consumer.Config{}); err == nil {
		t.Error("an empty configuration works")
	}
	if err := consumer.Run(t.Context(), consumer.Config{}); err == nil {
		t.Error("an empty configuration runs")
	}
}

// Options on which promises rest are refused, whoever would be hurt by them; others pass.
func TestOwnedOptions(t *testing.T) {
	for name, c := range map[string]struct {
		opt  kgo.Opt
		want string // "": allowed
	}{
		"nil":             {nil, "Opts[0]: nil"},
		"group":           {kgo.ConsumerGroup("x"), "groups belong to Waybill"},
		"balancers":       {kgo.Balancers(kgo.RangeBalancer()), "groups belong to Waybill"},
		"autocommit":      {kgo.AutoCommitMarks(), "groups belong to Waybill"},
		"session":         {kgo.SessionTimeout(time.Minute), "groups belong to Waybill"},
		"callbacks":       {kgo.OnPartitionsLost(nil), "groups belong to Waybill"},
		"static":          {kgo.InstanceID("x"), "groups belong to Waybill"},
		"seeds":           {kgo.SeedBrokers("elsewhere:1"), "kgo.SeedBrokers"},
		"topics":          {kgo.ConsumeTopics("x"), "kgo.ConsumeTopics"},
		"regex":           {kgo.ConsumeRegex(), "kgo.ConsumeRegex"},
		"reset":           {kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()), "kgo.ConsumeResetOffset"},
		"isolation":       {kgo.FetchIsolationLevel(kgo.ReadCommitted()), "kgo.FetchIsolationLevel"},
		"control records": {kgo.KeepControlRecords(), "kgo.KeepControlRecords"},
		"fetch wait":      {kgo.FetchMaxWait(time.Second), "set Config.FetchWait"},
		"acks":            {kgo.RequiredAcks(kgo.LeaderAck()), "requires acks=all"},
		"idempotence":     {kgo.DisableIdempotentWrite(), "kgo.DisableIdempotentWrite"},
		"transactions":    {kgo.TransactionalID("x"), "kgo.TransactionalID"},
		"partitioner":     {kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), "kgo.RecordPartitioner"},
		"batch size":      {kgo.ProducerBatchMaxBytes(1000), "kgo.ProducerBatchMaxBytes"},
		"timeouts":        {kgo.RequestTimeoutOverhead(time.Minute), "kgo.RequestTimeoutOverhead"},
		"not an option":   {kgo.MaxBufferedRecords(-1), "Opts"},
		"context":         {kgo.WithContext(t.Context()), "kgo.WithContext belongs to Waybill"},
		"start":           {kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()), "set Config.Start"},
		"checksums":       {kgo.DisableFetchCRCValidation(), "kgo.DisableFetchCRCValidation"},
		"cancellation":    {kgo.AllowIdempotentProduceCancellation(), "kgo.AllowIdempotentProduceCancellation"},
		"data loss":       {kgo.StopProducerOnDataLossDetected(), "kgo.StopProducerOnDataLossDetected"},
		"buffer":          {kgo.MaxBufferedRecords(10), "set Config.Memory"},
		"buffered bytes":  {kgo.MaxBufferedBytes(10), "set Config.Memory"},
		"batch function":  {kgo.ProducerBatchMaxBytesFn(func(string) int32 { return 1000 }), "kgo.ProducerBatchMaxBytes"},
		"decompression":   {kgo.MaxDecompressBatchBytes(1 << 20), "set Config.MaxBatch"},
		"decompressor":    {kgo.WithDecompressor(decompressor{}), "kgo.WithDecompressor"},
		"rack":            {kgo.Rack("a"), ""},
		"compression":     {kgo.ProducerBatchCompression(kgo.NoCompression()), ""},
		"fetch size":      {kgo.FetchMaxBytes(1 << 20), ""},
		"metadata":        {kgo.MetadataMinAge(time.Second), ""},
		"hooks":           {kgo.WithHooks(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := valid()
			cfg.Opts = []kgo.Opt{c.opt}
			_, err := consumer.New(cfg)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// decompressor is somebody else's.
type decompressor struct{}

func (decompressor) Decompress(src []byte, _ kgo.CompressionCodecType) ([]byte, error) {
	return src, nil
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "waybill.yaml")
	err := os.WriteFile(path, []byte(`
brokers: [a:1, b:2]
sasl: {mechanism: SCRAM-SHA-256, username: u}
consumer:
  group: mailer
  topics: [emails]
  foreign: [{name: hooks, default_kind: hook}]
  tiers: [5s, 1m]
  setup: create
  start: latest
  classes: {slow: 3}
  session_timeout: 10s
  static_id: pod-0
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("WAYBILL_SASL_PASSWORD", "secret")
	t.Setenv("WAYBILL_CONSUMER_WORKERS", "7")
	t.Setenv("WAYBILL_CONSUMER_DRAIN_TIMEOUT", "3s")
	c, err := consumer.Load(path)
	want := consumer.Config{Brokers: []string{"a:1", "b:2"}, SASL: connect.SASL{Mechanism: "SCRAM-SHA-256", Username: "u", Password: "secret"},
		Group: "mailer", Topics: []string{"emails"}, Foreign: []consumer.Topic{{Name: "hooks", DefaultKind: "hook"}},
		Tiers: []time.Duration{5 * time.Second, time.Minute}, Setup: consumer.Create, Start: consumer.Latest, Classes: map[string]int{"slow": 3},
		SessionTimeout: 10 * time.Second, StaticID: "pod-0", Workers: 7, DrainTimeout: 3 * time.Second}
	if err != nil || !reflect.DeepEqual(c, want) {
		t.Errorf("%+v, %v\nwant %+v", c, err, want)
	}
	t.Setenv("WAYBILL_CONSUMER_SETUP", "maybe")
	t.Setenv("WAYBILL_CONSUMER_START", "sometime")
	for _, part := range []string{"maybe", "sometime"} {
		if _, err := consumer.Load(path); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not name %q", err, part)
		}
	}
	if _, err := consumer.Load(path + ".absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

type monthly struct{}

func (monthly) Kind() string { return "monthly" }
