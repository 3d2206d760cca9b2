package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// tool runs one of Kafka's own command line tools against the cluster and returns what it printed.
func (r *rig) tool(class string, args ...string) string {
	r.t.Helper()
	cmd := realkafka.Tool(r.t, class, append([]string{"--bootstrap-server", strings.Join(r.at.Brokers, ",")}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Errorf("%s %s: %v\n%s", class, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// line is the line of a table that holds all words.
func line(text string, words ...string) []string {
next:
	for l := range strings.Lines(text) {
		fields := strings.Fields(l)
		for _, w := range words {
			found := false
			for _, f := range fields {
				found = found || f == w
			}
			if !found {
				continue next
			}
		}
		return fields
	}
	return nil
}

// What an operator has at hand reads our groups and topics: kafka-consumer-groups, kafka-topics, kafka-console-consumer and
// kadm.
func TestRealStockTools(t *testing.T) {
	c := realkafka.Shared(t)
	t.Parallel()
	r := newRig(t, c)
	a, b := r.start("a"), r.start("b")
	r.settled(a, b)
	const n = 40
	for i := range n {
		r.enqueue(fmt.Sprint("job-", i), script{N: i, Fails: i % 2, End: map[bool]string{true: "dead"}[i == 1]}, job.Options{Correlation: "order-7"})
	}
	until(t, patience, func() string { return map[bool]string{false: "not all retried"}[len(r.calls("")) == n+n/2] })
	r.idle(tiers...)
	tier, letters := retrytopics.TierTopic(r.topic, r.group, tiers[0]), retrytopics.DeadLetterTopic(r.topic, r.group)

	t.Run("kadm", func(t *testing.T) {
		groups, err := r.admin.DescribeGroups(t.Context(), r.group)
		if err != nil || groups.Error() != nil {
			t.Fatal(err, groups.Error())
		}
		g := groups[r.group]
		held := 0
		for _, m := range g.Members {
			if _, ok := m.Join.AsConsumer(); !ok {
				t.Errorf("the metadata of member %s is not decoded", m.MemberID)
			}
			as, ok := m.Assigned.AsConsumer()
			if !ok {
				t.Errorf("the assignment of member %s is not decoded", m.MemberID)
				continue
			}
			for _, topic := range as.Topics {
				held += len(topic.Partitions)
			}
		}
		if want := partitions * (1 + len(tiers)); g.State != "Stable" || g.ProtocolType != "consumer" || g.Protocol != "waybill-copart-v1" || len(g.Members) != 2 || held != want {
			t.Errorf("state %s, type %s, balancer %s, %d members, %d partitions of %d", g.State, g.ProtocolType, g.Protocol, len(g.Members), held, want)
		}
		lags, err := r.admin.Lag(t.Context(), r.group)
		if err != nil || lags.Error() != nil {
			t.Fatal(err, lags.Error())
		}
		if total := lags[r.group].Lag.Total(); total != 0 {
			t.Errorf("lag %d of an idle group", total)
		}
	})
	t.Run("kafka-consumer-groups", func(t *testing.T) {
		const class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
		out := r.tool(class, "--describe", "--group", r.group, "--offsets", "--timeout", "60000")
		rows := 0
		for p := range partitions {
			for _, topic := range []string{r.topic, tier} {
				if f := line(out, r.group, topic, fmt.Sprint(p)); len(f) < 7 {
					t.Errorf("no row for %s/%d", topic, p)
				} else if rows++; f[3] != f[4] && f[3] != "-" || f[5] != "0" && f[5] != "-" {
					t.Errorf("%s/%d is not all consumed: %v", topic, p, f)
				}
			}
		}
		if rows == 0 {
			t.Log(out)
		}
		out = r.tool(class, "--describe", "--group", r.group, "--state", "--verbose", "--timeout", "60000")
		if f := line(out, r.group, "Stable", "waybill-copart-v1", "2"); f == nil {
			t.Errorf("the state is not described:\n%s", out)
		}
		out = r.tool(class, "--describe", "--group", r.group, "--members", "--verbose", "--timeout", "60000")
		if got := strings.Count(out, r.topic+":"); got != 2 {
			t.Errorf("%d members with partitions of the job topic, want 2:\n%s", got, out)
		}
	})
	t.Run("kafka-topics", func(t *testing.T) {
		out := r.tool("org.apache.kafka.tools.TopicCommand", "--describe", "--topic", tier)
		for _, want := range []string{fmt.Sprintf("PartitionCount: %d", partitions), "message.timestamp.type=LogAppendTime", "retention.ms=-1"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in:\n%s", want, out)
			}
		}
	})
	t.Run("kafka-console-consumer", func(t *testing.T) {
		out := r.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", "--topic", letters, "--from-beginning", "--max-messages", "1",
			"--timeout-ms", "60000", "--formatter-property", "print.headers=true", "--formatter-property", "print.key=true", "--formatter-property", "print.partition=true")
		for _, want := range []string{"waybill-kind:e2e.keyed", "waybill-id:job-1,", "waybill-correlation:order-7", "waybill-attempts:2",
			"waybill-error:dead: hopeless", "waybill-origin:" + r.topic + "/", `{"n":1,"fails":1,"end":"dead"}`} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in the letter:\n%.2000s", want, out)
			}
		}
	})
}
