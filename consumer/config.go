package consumer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/dedupe/disk"
	"github.com/waybill-dev/waybill/internal/telemetry"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/retrytopics"
)

// SetupMode says what Run does about topics that are missing or differ from the design.
type SetupMode uint8

// The modes.
const (
	Verify SetupMode = iota // refuse to start, naming each difference and what mends it
	Create                  // create what is missing; what exists and differs is still refused
)

// StartAt says where a group begins in a partition nobody ever committed.
type StartAt uint8

// The starts. There is no automatic reset for a group that has a place.
const (
	Earliest StartAt = iota
	Latest
)

// UnmarshalText reads "verify" or "create", for settings from file and environment.
func (m *SetupMode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "verify":
		*m = Verify
	case "create":
		*m = Create
	default:
		return fmt.Errorf("%q is neither verify nor create", text)
	}
	return nil
}

// UnmarshalText reads "earliest" or "latest", for settings from file and environment.
func (s *StartAt) UnmarshalText(text []byte) error {
	switch string(text) {
	case "earliest":
		*s = Earliest
	case "latest":
		*s = Latest
	default:
		return fmt.Errorf("%q is neither earliest nor latest", text)
	}
	return nil
}

// Topic is a job topic with more to say than its name.
type Topic struct {
	Name string
	// DefaultKind is the kind of records without Waybill or CloudEvents headers. Defaults to the topic's name.
	DefaultKind string
}

// Config is how an instance works. Brokers, Group, Mux and one topic are required; every other zero value is its default.
type Config struct {
	Brokers []string
	Group   string
	// Topics are the job topics served.
	Topics []string
	// Foreign are job topics with a default kind.
	Foreign []Topic
	// Mux holds the handlers.
	Mux *processor.Mux `koanf:"-"`

	// Routes names the topic of emitted jobs (job.Message.Emit) by kind. Those of a kind without one go to the job topic of
	// the job that emits them.
	Routes map[string]string

	// Tiers are the delays of the retry topics. Defaults to retrytopics.DefaultTiers. Tiers that the group ever had are
	// read until they are drained, whatever stands here.
	Tiers []time.Duration
	// Workers is how many attempts of class "default" run at once. Defaults to 100.
	Workers int
	// Classes is the same for other classes. A class that a kind names and that is missing here gets Workers of its own.
	Classes map[string]int
	// Setup defaults to Verify. With Create, Partitions (default 12) and Replication (default the broker's) are used for
	// topics that do not exist.
	Setup       SetupMode
	Partitions  int
	Replication int
	// Start defaults to Earliest.
	Start StartAt
	// Window is how long a receipt is remembered, at least twice the largest MaxAge of a kind, and no less than the window of
	// any (job.Policy.Window). Defaults to 72 h.
	Window time.Duration
	// Dir is a directory on a local disk where the instance keeps its receipts: some 55 bytes a job of the window on disk and 3 in
	// memory, and a restart or a task that comes back reads only what its log got since (docs/store.md). Each instance needs one of
	// its own, and the same after a restart; deleting it loses nothing but time. Defaults to none: receipts are in memory alone,
	// about 85 bytes a job of the window, and each start reads the logs of a whole window.
	Dir string
	// KeepUnknown is how long a job of an unknown kind or version waits for an instance that knows it. Defaults to 24 h.
	KeepUnknown time.Duration
	// Memory is the budget of unfinished jobs, in bytes of the whole instance. What lives of a payload counts twice, since
	// Go's collector lets as much garbage gather beside it (GOGC=100). A process takes at most 256 MiB more, beside what the
	// handlers take. Defaults to 256 MiB.
	Memory int
	// MaxBatch is how large one compressed batch of a producer may become in memory, in bytes, its records included. A larger
	// one is not opened but filed as one dead letter. Defaults to a quarter of Memory, at least 8 MiB.
	MaxBatch int
	// Tick is how often receipts and offsets are flushed. Defaults to 100 ms.
	Tick time.Duration

	// Instance names this instance in ownership records, letters and status. Defaults to host name and process id.
	Instance string
	// StaticID makes the member static (group.instance.id): a restart within SessionTimeout moves nothing. Defaults to none.
	StaticID string
	// MigrateFrom names the balancers of an application that had this group before and still runs members of it:
	// "cooperative-sticky", "range", "roundrobin" or "sticky". The group goes on with those until the last such member is
	// gone, and then goes over to Waybill's own. Set it for that one roll only (docs/migrate.md). Defaults to none: a group
	// whose members know none of the balancers cannot be joined.
	MigrateFrom []string
	// SessionTimeout defaults to 45 s, RebalanceTimeout to 60 s, Heartbeat to 3 s.
	SessionTimeout, RebalanceTimeout, Heartbeat time.Duration
	// DrainTimeout is how long running attempts may take to end when tasks are revoked, before their contexts are
	// cancelled. At most RebalanceTimeout - 5 s. Defaults to 20 s.
	DrainTimeout time.Duration
	// FetchWait is how long a fetch waits for data; also how far ahead of its due time a paused tier is resumed.
	// Defaults to 250 ms.
	FetchWait time.Duration

	ClientID string
	TLS      connect.TLS
	SASL     connect.SASL
	// Opts are passed to every Kafka client after Waybill's own. Options that Waybill owns are refused, each by its name.
	Opts []kgo.Opt `koanf:"-"`
	// Metrics is where the instance registers what docs/metrics.md lists, while Run works. If it is a Gatherer too, as a
	// *prometheus.Registry is, Handler serves it under /metrics. Defaults to none: there is no global registry.
	Metrics prometheus.Registerer `koanf:"-"`
	// Logger defaults to none.
	Logger *zap.Logger `koanf:"-"`

	disk func(*disk.Config) // for tests; nil: none
}

// Load returns a Config with what a file (YAML, may be "") and the environment (WAYBILL_*) say under "consumer" and about
// the connection. Mux is left to the caller.
func Load(path string) (Config, error) {
	var c Config
	err := connect.Load(path, "consumer", &c)
	return c, err
}

// WithDefaults returns c with every zero field at its default.
func (c Config) WithDefaults() Config {
	def(&c.Tiers, slices.Clone(retrytopics.DefaultTiers), len(c.Tiers) == 0)
	orDefault(&c.Workers, 100)
	orDefault(&c.Partitions, 12)
	orDefault(&c.Window, 72*time.Hour)
	orDefault(&c.KeepUnknown, 24*time.Hour)
	orDefault(&c.Memory, 256<<20)
	orDefault(&c.MaxBatch, max(8<<20, c.Memory/4))
	orDefault(&c.Tick, 100*time.Millisecond)
	orDefault(&c.SessionTimeout, 45*time.Second)
	orDefault(&c.RebalanceTimeout, 60*time.Second)
	orDefault(&c.Heartbeat, 3*time.Second)
	orDefault(&c.DrainTimeout, min(20*time.Second, max(time.Second, c.RebalanceTimeout-6*time.Second)))
	orDefault(&c.FetchWait, 250*time.Millisecond)
	orDefault(&c.ClientID, "waybill")
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.Instance == "" {
		host, _ := os.Hostname()
		c.Instance = host + "-" + strconv.Itoa(os.Getpid())
	}
	return c
}

func orDefault[T comparable](p *T, v T) {
	var zero T
	def(p, v, *p == zero)
}

func def[T any](p *T, v T, unset bool) {
	if unset {
		*p = v
	}
}

// Validate returns every fault of c, joined, each naming its field. It expects c after WithDefaults.
func (c Config) Validate() error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	add(c.Group == "", "Group: is empty; name the consumer group")
	add(len(c.topics()) == 0, "Topics: is empty; name at least one job topic")
	add(c.Mux == nil, "Mux: is nil; register handlers on a processor.NewMux()")
	add(c.Workers < 0, "Workers: %d is negative", c.Workers)
	add(c.Partitions < 0, "Partitions: %d is negative", c.Partitions)
	add(c.Replication < 0, "Replication: %d is negative; 0 is the brokers' default", c.Replication)
	add(c.Setup > Create, "Setup: %d is no mode; use Verify or Create", c.Setup)
	add(c.Start > Latest, "Start: %d is no start; use Earliest or Latest", c.Start)
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"KeepUnknown", c.KeepUnknown}, {"SessionTimeout", c.SessionTimeout}, {"RebalanceTimeout", c.RebalanceTimeout},
		{"Heartbeat", c.Heartbeat}, {"DrainTimeout", c.DrainTimeout}, {"FetchWait", c.FetchWait}} {
		add(d.v < 0, "%s: %v is negative", d.name, d.v)
	}
	for _, class := range slices.Sorted(maps.Keys(c.Classes)) {
		add(class == "", "Classes: a class has no name; kinds that name none are of class %q", job.DefaultClass)
		add(c.Classes[class] <= 0, "Classes[%q]: %d workers; give it at least one", class, c.Classes[class])
	}
	add(c.DrainTimeout > c.RebalanceTimeout-5*time.Second, "DrainTimeout: %v is more than RebalanceTimeout (%v) - 5 s", c.DrainTimeout, c.RebalanceTimeout)
	add(c.Heartbeat*3 > c.SessionTimeout, "Heartbeat: %v is more than a third of SessionTimeout (%v)", c.Heartbeat, c.SessionTimeout)
	add(c.Memory < 1<<20, "Memory: %d bytes is less than 1 MiB", c.Memory)
	add(c.MaxBatch < 1<<20, "MaxBatch: %d bytes is less than 1 MiB", c.MaxBatch)
	add(c.Tick < time.Millisecond, "Tick: %v is below 1 ms", c.Tick)
	add(c.Window < time.Minute, "Window: %v is below a minute", c.Window)
	errs = append(errs, c.checkTopics(), checkMigration(c.MigrateFrom))
	_, err := retrytopics.NewPlan(c.Tiers)
	errs = append(errs, err, c.settings().Validate(), telemetry.CheckRegisterer(c.Metrics))
	return errors.Join(errs...)
}

// checkTopics returns the faults of whatever names a topic or stands for one.
func (c Config) checkTopics() error {
	var errs []error
	if c.Group != "" && len(c.topics()) > 0 {
		errs = append(errs, retrytopics.CheckNames(c.Group, c.names(), c.Tiers))
	}
	for i, t := range c.Foreign {
		if t.Name == "" {
			errs = append(errs, fmt.Errorf("Foreign[%d].Name: is empty; name the topic", i))
		}
		if t.DefaultKind != "" {
			if err := job.ValidateKind(t.DefaultKind); err != nil {
				errs = append(errs, fmt.Errorf("Foreign[%d].DefaultKind: %w", i, err))
			}
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(c.Routes)) {
		for _, err := range []error{job.ValidateKind(kind), retrytopics.CheckTopic(c.Routes[kind])} {
			if err != nil {
				errs = append(errs, fmt.Errorf("Routes[%q]: %w", kind, err))
			}
		}
	}
	return errors.Join(errs...)
}

func (c Config) settings() connect.Settings {
	return connect.Settings{Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, SASL: c.SASL}
}

func (c Config) topics() []Topic {
	out := make([]Topic, 0, len(c.Topics)+len(c.Foreign))
	for _, t := range c.Topics {
		out = append(out, Topic{Name: t})
	}
	return append(out, c.Foreign...)
}

func (c Config) names() (out []string) {
	for _, t := range c.topics() {
		out = append(out, t.Name)
	}
	return out
}

func shardCount() int { return min(4, max(1, runtime.GOMAXPROCS(0))) }
