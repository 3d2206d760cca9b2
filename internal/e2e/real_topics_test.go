package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// configs reads back what the broker stored.
func (r *rig) configs(topic string) map[string]string {
	r.t.Helper()
	got, err := r.admin.DescribeTopicConfigs(r.t.Context(), topic)
	if err != nil || len(got) != 1 || got[0].Err != nil {
		r.t.Fatal(topic, err, got)
	}
	out := map[string]string{}
	for _, c := range got[0].Configs {
		out[c.Key] = c.MaybeValue()
	}
	return out
}

// Setup: Create makes the topics of the design, and what is changed behind its back is refused by name.
func TestRealSetup(t *testing.T) {
	r := newRig(t, realkafka.Shared(t))
	const window = 48 * time.Hour
	narrow := func(c *consumer.Config) { c.Partitions, c.Window = 5, window }
	a := r.start("a", narrow)
	until(t, patience, func() string {
		if n := len(a.epochs()); n != 5 {
			return fmt.Sprintf("%d tasks", n)
		}
		return ""
	})
	main := r.configs(r.topic)
	ms := func(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
	larger := func(b string) string {
		var n int
		if _, err := fmt.Sscan(b, &n); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(n + 64<<10)
	}(main["max.message.bytes"])
	kept := map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1",
		"message.timestamp.type": "LogAppendTime", "max.message.bytes": larger}
	want := map[string]map[string]string{
		retrytopics.DeadLetterTopic(r.topic, r.group): kept,
		retrytopics.ReceiptTopic(r.topic, r.group): {"cleanup.policy": "delete", "retention.ms": ms(window + 24*time.Hour), "retention.bytes": "-1",
			"segment.ms": ms(window / 8), "message.timestamp.type": "LogAppendTime"},
		retrytopics.ControlTopic(r.group): {"cleanup.policy": "compact"},
		retrytopics.StatusTopic(r.group):  {"cleanup.policy": "compact"},
	}
	for _, d := range tiers {
		want[retrytopics.TierTopic(r.topic, r.group, d)] = kept
	}
	for topic, all := range want {
		have := r.configs(topic)
		for key, value := range all {
			if have[key] != value {
				t.Errorf("%s: %s is %q, want %q", topic, key, have[key], value)
			}
		}
	}
	counts, err := r.admin.ListTopics(t.Context(), append(retrytopics.EngineTopics(r.topic, r.group, tiers), retrytopics.ControlTopic(r.group), r.topic)...)
	if err != nil || counts.Error() != nil {
		t.Fatal(err, counts.Error())
	}
	for name, d := range counts {
		n := 5
		if name == retrytopics.ControlTopic(r.group) {
			n = 1
		}
		if name != retrytopics.DeadLetterTopic(r.topic, r.group) && len(d.Partitions) != n {
			t.Errorf("%s has %d partitions, want %d", name, len(d.Partitions), n)
		}
	}
	r.stop(a)

	verify := func(c *consumer.Config) { c.Setup, c.Window = consumer.Verify, window }
	b := r.start("b", verify)
	until(t, patience, func() string {
		select {
		case err := <-b.done:
			t.Fatalf("what Create made does not verify: %v", err)
		default:
		}
		return map[bool]string{false: "not ready"}[b.c.Ready() == nil]
	})
	r.stop(b)
	tier := retrytopics.TierTopic(r.topic, r.group, tiers[1])
	if _, err := r.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "message.timestamp.type", Value: kadm.StringPtr("CreateTime")}}, tier); err != nil {
		t.Fatal(err)
	}
	until(t, patience, func() string {
		return map[bool]string{false: "not altered"}[r.configs(tier)["message.timestamp.type"] == "CreateTime"]
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err = consumer.Run(ctx, r.config("c", verify))
	if err == nil || !strings.Contains(err.Error(), tier) || !strings.Contains(err.Error(), "message.timestamp.type") {
		t.Errorf("a tier with the producers' stamps: %v", err)
	}
}

// Owners trim their tiers to the committed offset; it takes one round of trimming, which is half a minute.
func TestRealTrim(t *testing.T) {
	c := realkafka.Shared(t)
	t.Parallel()
	r := newRig(t, c)
	a := r.start("a")
	r.settled(a)
	for i := range 60 {
		r.enqueue(fmt.Sprint("trim-", i), script{Fails: 2}, job.Options{})
	}
	until(t, patience, func() string { return map[bool]string{false: "not retried"}[len(r.calls("")) == 180] })
	r.idle(tiers...)
	names := []string{retrytopics.TierTopic(r.topic, r.group, tiers[0]), retrytopics.TierTopic(r.topic, r.group, tiers[1])}
	until(t, 2*time.Minute, func() (said string) {
		starts, err := r.admin.ListStartOffsets(t.Context(), names...)
		if err != nil {
			return err.Error()
		}
		ends, err := r.admin.ListEndOffsets(t.Context(), names...)
		if err != nil {
			return err.Error()
		}
		used := 0
		ends.Each(func(o kadm.ListedOffset) {
			s, _ := starts.Lookup(o.Topic, o.Partition)
			used += int(o.Offset)
			if s.Offset != o.Offset {
				said += fmt.Sprintf("%s/%d begins at %d of %d; ", o.Topic, o.Partition, s.Offset, o.Offset)
			}
		})
		if used != 120 {
			said += fmt.Sprintf("%d copies were made", used)
		}
		return said
	})
	// The trimmed group goes on.
	r.enqueue("after", script{Fails: 1}, job.Options{})
	r.idle(tiers...)
	if n := len(r.calls("after")); n != 2 {
		t.Errorf("after the trim a job was called %d times, want 2", n)
	}
	starts, err := r.admin.ListStartOffsets(t.Context(), r.topic)
	if err != nil {
		t.Fatal(err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if o.Offset != 0 {
			t.Errorf("the job topic was trimmed too: %s/%d begins at %d", o.Topic, o.Partition, o.Offset)
		}
	})
}
