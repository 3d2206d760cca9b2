package topics_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/setup"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Flaky fails the first time, on every topic.
type Flaky struct{}

// Kind implements job.Args.
func (Flaky) Kind() string { return "flaky" }

// Poison ends as a dead letter.
type Poison struct{}

// Kind implements job.Args.
func (Poison) Kind() string { return "poison" }

// rig is a group with two job topics: things happen to the second (bad) while jobs of the first go on.
type rig struct {
	*edge.Rig
	bad   string
	calls counter
	next  int
}

func newRig(t *testing.T, c *edge.Cluster) *rig {
	r := &rig{Rig: edge.New(t, c)}
	r.bad = r.Topic + "-bad"
	r.Kinds = func(mux *processor.Mux, who string) {
		processor.Handle(mux, func(_ context.Context, j *job.Job[Flaky]) error {
			r.Note(who, j.Message)
			if j.Hop == 0 {
				return errors.New("not yet")
			}
			return nil
		}, job.Policy{})
		processor.Handle(mux, func(_ context.Context, j *job.Job[Poison]) error {
			r.Note(who, j.Message)
			return job.Dead(errors.New("poison"))
		}, job.Policy{})
	}
	return r
}

// both makes the group serve both topics, and look often at how many partitions they have.
func (r *rig) both(c *consumer.Config) {
	c.Topics = []string{r.Topic, r.bad}
	c.Opts = []kgo.Opt{kgo.MetadataMinAge(250 * time.Millisecond), kgo.MetadataMaxAge(time.Second), kgo.WithHooks(&r.calls)}
	if r.Cluster.Kfake != nil { // it cannot take a deleted topic's partition out of a fetch session, and answers for it at once, for ever
		c.Opts = append(c.Opts, kgo.DisableFetchSessions())
	}
}

func verify(c *consumer.Config) { c.Setup = consumer.Verify }

// begin starts an instance that owns the tasks of both topics.
func (r *rig) begin(name string, change ...func(*consumer.Config)) *edge.Instance {
	r.T.Helper()
	i := r.Launch(name, append([]func(*consumer.Config){r.both}, change...)...)
	r.Until(func() string {
		if !i.Alive() {
			r.T.Fatalf("%s ended by itself: %v", name, i.Ended())
		}
		running := 0
		for _, t := range i.Status().Tasks {
			if t.Phase == "running" {
				running++
			}
		}
		if running < 2*int(r.Partitions) {
			return fmt.Sprintf("%s runs %d tasks", name, running)
		}
		return ""
	})
	return i
}

// put writes one job of a kind to each partition of the bad topic and returns the prefix of their ids.
func (r *rig) put(kind string) string {
	r.T.Helper()
	r.next++
	prefix := fmt.Sprintf("%s-%d-", kind, r.next)
	for p := range r.Partitions {
		rec := r.Job(p, kind, fmt.Sprint(prefix, p), `{"n":1}`)
		rec.Topic = r.bad
		r.Put(rec)
	}
	return prefix
}

// ran waits until jobs ran that often in all.
func (r *rig) ran(prefix string, times int) {
	r.T.Helper()
	r.Until(func() string {
		if n := len(r.Runs(prefix)); n < times {
			return fmt.Sprintf("%s ran %d times, want %d", prefix, n, times)
		}
		return ""
	})
	if n := len(r.Runs(prefix)); n > times {
		r.T.Errorf("%s ran %d times, want %d", prefix, n, times)
	}
}

func (r *rig) tier() string     { return retrytopics.TierTopic(r.bad, r.Group, r.Tiers[0]) }
func (r *rig) letters() string  { return retrytopics.DeadLetterTopic(r.bad, r.Group) }
func (r *rig) receipts() string { return retrytopics.ReceiptTopic(r.bad, r.Group) }

// remove deletes topics and waits until the brokers say so.
func (r *rig) remove(topics ...string) {
	r.T.Helper()
	for _, topic := range topics {
		resp, err := r.Admin.DeleteTopics(r.T.Context(), topic)
		if err == nil {
			err = resp.Error()
		}
		if err != nil {
			r.T.Fatalf("delete %s: %v", topic, err)
		}
	}
	r.Until(func() string {
		found, err := r.Admin.ListTopics(r.T.Context())
		if err != nil {
			return err.Error()
		}
		for _, topic := range topics {
			if found.Has(topic) {
				return topic + " is still there"
			}
		}
		return ""
	})
}

// create makes a topic, as soon as the brokers let it have the name.
func (r *rig) create(topic string, partitions int32) {
	r.T.Helper()
	r.Until(func() string {
		_, err := r.Admin.CreateTopic(r.T.Context(), partitions, 1, nil, topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			r.T.Fatal(err)
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	r.Client.PurgeTopicsFromProducing(topic)
}

// apply is `waybill setup apply`.
func (r *rig) apply() {
	r.T.Helper()
	want := setup.Want{Group: r.Group, Tiers: r.Tiers, Topics: []setup.TopicWant{{Name: r.Topic}, {Name: r.bad}}}
	report, err := setup.Plan(r.T.Context(), r.Admin, r.Opts, want)
	if err == nil {
		err = setup.Apply(r.T.Context(), r.Admin, r.Opts, report)
	}
	if err != nil {
		r.T.Fatal(err)
	}
}

// order sets the group's offset as an operator does; the group must be empty.
func (r *rig) order(topic string, at int64) {
	r.T.Helper()
	r.commit(topic, at, "")
}

func (r *rig) commit(topic string, at int64, metadata string) {
	r.T.Helper()
	r.Until(func() string { // a group that was just left takes a moment
		offsets := kadm.Offsets{}
		for p := range r.Partitions {
			offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: -1, Metadata: metadata})
		}
		resp, err := r.Admin.CommitOffsets(r.T.Context(), r.Group, offsets)
		if err = errors.Join(err, resp.Error()); err != nil {
			return err.Error()
		}
		return ""
	})
}

// faulty waits until an instance says this of a topic, and holds that the text says what to do.
func (r *rig) faulty(i *edge.Instance, topic, reason, text string) {
	r.T.Helper()
	r.Until(func() string {
		for _, f := range i.Status().Topics {
			if f.Topic == topic && f.Reason.String() == reason {
				if !strings.Contains(f.Text, text) || f.Since.IsZero() {
					r.T.Errorf("%s: %q does not say %q, or not since when (%v)", topic, f.Text, text, f.Since)
				}
				return ""
			}
		}
		return fmt.Sprintf("%s is not %s: %+v", topic, reason, i.Status().Topics)
	})
}

// sound waits until no topic is at fault and nothing is paused.
func (r *rig) sound(i *edge.Instance) {
	r.T.Helper()
	r.Until(func() string {
		if f, p := i.Status().Topics, i.Pauses(); len(f)+len(p) > 0 {
			return fmt.Sprint(f, p)
		}
		return ""
	})
}

// paused waits until exactly these partitions of the bad topic's tasks are paused, each for these reasons: "main" or the
// name of a tier.
func (r *rig) paused(i *edge.Instance, topic string, reasons ...string) {
	r.T.Helper()
	r.Until(func() string {
		seen := 0
		for _, t := range i.Status().Tasks {
			for _, s := range t.Sources {
				if s.Topic != topic {
					continue
				}
				var got []string
				for _, p := range s.Pauses {
					got = append(got, p.Reason.String())
					if p.Text == "" || p.Since.IsZero() {
						return fmt.Sprintf("%+v says not what ends it, or not since when", p)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(reasons) {
					return fmt.Sprintf("%s/%d is paused for %v, want %v", topic, t.Partition, got, reasons)
				}
				seen++
			}
		}
		if seen < int(r.Partitions) {
			return fmt.Sprintf("%d partitions of %s", seen, topic)
		}
		return ""
	})
}

// calm holds that an instance does not spin while a fault lasts: it counts what is asked of the brokers while the
// instance looks at its topics three times, which it does every two seconds. A client that meets a refused partition asks
// thousands of times a second.
func (r *rig) calm(i *edge.Instance) {
	r.T.Helper()
	before, looks := r.calls.all.Load(), r.calls.looks.Load()
	r.Good(3)
	r.GoodRan()
	r.Until(func() string {
		if n := r.calls.looks.Load() - looks; n < 6 {
			return fmt.Sprintf("looked at the topics %d times", n)
		}
		return ""
	})
	if n := r.calls.all.Load() - before; n > 1500 {
		r.T.Errorf("%d requests while a fault lasted for some seconds", n)
	} else {
		r.T.Logf("%d requests", n)
	}
	if !i.Alive() {
		r.T.Errorf("the instance ended: %v", i.Ended())
	}
}

// counter counts the requests of an instance.
type counter struct{ all, looks atomic.Int64 }

func (c *counter) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	c.all.Add(1)
	if key == 3 { // metadata
		c.looks.Add(1)
	}
}

var _ kgo.HookBrokerWrite = (*counter)(nil)
