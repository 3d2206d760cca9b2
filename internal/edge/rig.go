package edge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Patience is how long the rig waits for something that must come. No case is about how long it takes.
const Patience = 90 * time.Second

const minSession = time.Second

// Rig is a job topic and a group of their own on a cluster, and what the handlers of its instances saw. Its methods are
// for the test's goroutine; handlers call Note from theirs.
type Rig struct {
	*Cluster
	T            *testing.T
	Topic, Group string
	// Partitions (2) and Tiers (300 ms and 1 s) may be changed before Start. So may Kinds, which registers what the case
	// needs beside the good jobs; handlers tell Note what they saw.
	Partitions int32
	Tiers      []time.Duration
	Kinds      func(mux *processor.Mux, who string)

	Client *kgo.Client // an administrator's: records name their partition, and may be as large as a request
	Admin  *kadm.Client

	mu   sync.Mutex
	runs []Run
	good []string // ids of the good jobs written
}

// Run is one call of a handler.
type Run struct {
	Who     string // the instance
	Message *job.Message
}

// Good is the kind of the jobs that must all finish.
type Good struct {
	N int `json:"n"`
}

// Kind implements job.Args.
func (Good) Kind() string { return "good" }

// New makes a rig; topic and group have a name of their own and are made by the first instance.
func New(t *testing.T, c *Cluster) *Rig {
	t.Helper()
	name := fmt.Sprintf("edge-%d", time.Now().UnixNano())
	r := &Rig{Cluster: c, T: t, Topic: name, Group: name + "-group", Partitions: 2, Tiers: []time.Duration{300 * time.Millisecond, time.Second}}
	var err error
	if r.Client, err = kgo.NewClient(append(slices.Clip(c.Opts), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1), kgo.ProducerBatchMaxBytes(90<<20), kgo.MaxBufferedRecords(1<<20))...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Client.Close)
	r.Admin = kadm.NewClient(r.Client)
	return r
}

// Letters, tiers and the rest of the engine's topics, by the names the engine gives them.

// LetterTopic is the topic of the dead letters.
func (r *Rig) LetterTopic() string { return retrytopics.DeadLetterTopic(r.Topic, r.Group) }

// TierTopics are the topics of the tiers, in their order.
func (r *Rig) TierTopics() (out []string) {
	for _, d := range r.Tiers {
		out = append(out, retrytopics.TierTopic(r.Topic, r.Group, d))
	}
	return out
}

// Config is what an instance of the rig runs with.
func (r *Rig) Config(name string, change ...func(*consumer.Config)) consumer.Config {
	mux := processor.NewMux()
	processor.Handle(mux, func(_ context.Context, j *job.Job[Good]) error {
		r.Note(name, j.Message)
		return nil
	}, job.Policy{})
	if r.Kinds != nil {
		r.Kinds(mux, name)
	}
	cfg := consumer.Config{Brokers: r.At.Brokers, TLS: r.At.TLS, SASL: r.At.SASL, Group: r.Group, Topics: []string{r.Topic}, Mux: mux, Instance: name,
		Setup: consumer.Create, Partitions: int(r.Partitions), Tiers: r.Tiers, Workers: 8,
		SessionTimeout: 6 * time.Second, Heartbeat: 500 * time.Millisecond, RebalanceTimeout: 15 * time.Second, DrainTimeout: 5 * time.Second}
	for _, f := range change {
		f(&cfg)
	}
	return cfg
}

// Note is what a handler calls.
func (r *Rig) Note(who string, m *job.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = append(r.runs, Run{who, m})
}

// Runs are the calls noted of jobs whose id has this prefix, in the order they were made.
func (r *Rig) Runs(prefix string) (out []Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.runs {
		if strings.HasPrefix(x.Message.ID, prefix) {
			out = append(out, x)
		}
	}
	return out
}

// Put writes records, one batch each, where they say; the topic defaults to the job topic. It returns the offsets.
func (r *Rig) Put(records ...*kgo.Record) (offsets []int64) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), Patience)
	defer cancel()
	for _, rec := range records {
		if rec.Topic == "" {
			rec.Topic = r.Topic
		}
		if err := r.Client.ProduceSync(ctx, rec).FirstErr(); err != nil {
			r.T.Fatalf("writing to %s/%d: %v", rec.Topic, rec.Partition, err)
		}
		offsets = append(offsets, rec.Offset)
	}
	return offsets
}

// Job is a record of the job topic that holds a job.
func (r *Rig) Job(partition int32, kind, id, payload string, more ...kgo.RecordHeader) *kgo.Record {
	return &kgo.Record{Topic: r.Topic, Partition: partition, Key: []byte(id), Value: []byte(payload),
		Headers: append([]kgo.RecordHeader{Header(job.HeaderKind, kind), Header(job.HeaderID, id)}, more...)}
}

// Header is a record header of text.
func Header(name, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: name, Value: []byte(value)}
}

// Good writes n good jobs to each partition.
func (r *Rig) Good(n int) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(r.T.Context(), Patience)
	defer cancel()
	var records []*kgo.Record
	for range n {
		for p := range r.Partitions {
			id := fmt.Sprintf("good-%d", len(r.good))
			r.good = append(r.good, id)
			records = append(records, r.Job(p, "good", id, `{"n":1}`))
		}
	}
	if err := r.Client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		r.T.Fatalf("writing good jobs to %s: %v", r.Topic, err)
	}
}

// GoodLeft says which good jobs have not run; it is empty when all have.
func (r *Rig) GoodLeft() string {
	ran := map[string]bool{}
	for _, x := range r.Runs("good-") {
		ran[x.Message.ID] = true
	}
	var left []string
	for _, id := range r.good {
		if !ran[id] {
			left = append(left, id)
		}
	}
	if len(left) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d good jobs have not run, %s first", len(left), len(r.good), left[0])
}

// GoodRan waits until every good job ran.
func (r *Rig) GoodRan() {
	r.T.Helper()
	r.Until(r.GoodLeft)
}

// Finished waits until every good job ran, and every record of the job topic and the tiers is settled and committed.
func (r *Rig) Finished() {
	r.T.Helper()
	r.GoodRan()
	r.Until(func() string {
		for _, topic := range append([]string{r.Topic}, r.TierTopics()...) {
			if left := r.Uncommitted(topic); left != "" {
				return left
			}
		}
		return ""
	})
	for _, id := range r.good {
		if n := len(r.Runs(id)); n == 0 {
			r.T.Errorf("%s did not run", id)
		}
	}
}

// Uncommitted says which partition of a topic is not committed to its end, or why that is not known.
func (r *Rig) Uncommitted(topic string) string {
	ends, err := r.Admin.ListEndOffsets(r.T.Context(), topic)
	if err != nil {
		return err.Error()
	}
	committed, err := r.Admin.FetchOffsetsForTopics(r.T.Context(), r.Group, topic)
	if err != nil {
		return err.Error()
	}
	said := ""
	ends.Each(func(end kadm.ListedOffset) {
		c, _ := committed.Lookup(topic, end.Partition)
		if end.Err != nil || c.Err != nil || end.Offset > 0 && c.At != end.Offset {
			said = fmt.Sprintf("%s/%d is committed at %d (%v), its end is %d (%v)", topic, end.Partition, c.At, c.Err, end.Offset, end.Err)
		}
	})
	return said
}

// Until asks left until it is empty, and fails the test with what it said last when Patience has passed.
func (r *Rig) Until(left func() string) {
	r.T.Helper()
	end := time.NewTimer(Patience)
	defer end.Stop()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for {
		said := left()
		if said == "" {
			return
		}
		select {
		case <-every.C:
		case <-end.C:
			r.T.Fatalf("not within %v: %s", Patience, said)
		case <-r.T.Context().Done():
			r.T.Fatalf("%s: %v", said, r.T.Context().Err())
		}
	}
}
