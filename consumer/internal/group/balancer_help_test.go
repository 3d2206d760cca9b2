package group_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// primaryOf is the naming of these tests: "T.1" is a tier of "T".
func primaryOf(topic string) string {
	primary, _, _ := strings.Cut(topic, ".")
	return primary
}

// partition is one partition of one topic.
type partition struct {
	topic string
	n     int32
}

// task returns the task the partition belongs to, named by its partition of the job topic.
func (p partition) task() partition { return partition{primaryOf(p.topic), p.n} }

// participant is a member as it joins: topics as "T T.1", partitions as "T:0,1 T.1:0,1".
type participant struct {
	id, instance string
	subs, owns   string
	gen          int32
}

// fataler is what the helpers need of testing.TB and *rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

var (
	_ fataler = (*testing.T)(nil)
	_ fataler = (*testing.B)(nil)
)

// plan runs one round through the encodings of the real protocol and returns what each member gets, in the notation of
// participant. Members that get nothing are left out.
func plan(t fataler, generation int32, counts map[string]int32, members []participant) map[string]string {
	t.Helper()
	return planWith(t, group.NewBalancer(primaryOf), generation, counts, members)
}

func planWith(t fataler, b *group.Balancer, generation int32, counts map[string]int32, members []participant) map[string]string {
	t.Helper()
	joins := make([]kmsg.JoinGroupResponseMember, 0, len(members))
	for _, m := range members {
		joins = append(joins, join(b, m.id, m.instance, strings.Fields(m.subs), byTopic(parsePartitions(m.owns)), m.gen))
	}
	out := map[string]string{}
	for id, got := range assign(t, b, generation, counts, joins) {
		if len(got) > 0 {
			out[id] = format(got)
		}
	}
	return out
}

// join is what the leader learns of a member.
func join(b *group.Balancer, id, instance string, subs []string, owned map[string][]int32, generation int32) kmsg.JoinGroupResponseMember {
	m := kmsg.NewJoinGroupResponseMember()
	m.MemberID = id
	if instance != "" {
		m.InstanceID = &instance
	}
	m.ProtocolMetadata = b.JoinGroupMetadata(subs, owned, generation)
	return m
}

// assign runs one round and returns what each member gets. It fails the test if a partition is given out twice.
func assign(t fataler, b *group.Balancer, generation int32, counts map[string]int32, joins []kmsg.JoinGroupResponseMember) map[string]map[partition]bool {
	t.Helper()
	out, taken := map[string]map[partition]bool{}, map[partition]string{}
	for _, a := range syncRequest(t, b, generation, counts, joins) {
		topics, err := b.ParseSyncAssignment(a.MemberAssignment)
		if err != nil {
			t.Fatalf("assignment of %s: %v", a.MemberID, err)
		}
		out[a.MemberID] = map[partition]bool{}
		for topic, ps := range topics {
			for _, n := range ps {
				p := partition{topic, n}
				if other, ok := taken[p]; ok {
					t.Fatalf("%v is given to %s and to %s", p, other, a.MemberID)
				}
				taken[p] = a.MemberID
				out[a.MemberID][p] = true
			}
		}
	}
	return out
}

// syncRequest runs one round as kgo does and returns what the leader would send.
func syncRequest(t fataler, b *group.Balancer, generation int32, counts map[string]int32, joins []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	t.Helper()
	mb, _, err := b.MemberBalancer(joins)
	if err != nil {
		t.Fatalf("member balancer: %v", err)
	}
	mb.(kgo.GroupMemberBalancerInfo).SetBalanceInfo(kgo.BalanceInfo{Generation: generation})
	into, err := mb.(kgo.GroupMemberBalancerOrError).BalanceOrError(counts)
	if err != nil {
		t.Fatalf("balance: %v", err)
	}
	return into.IntoSyncAssignment()
}

// parsePartitions reads "T:0,1 T.1:0".
func parsePartitions(s string) map[partition]bool {
	out := map[partition]bool{}
	for _, field := range strings.Fields(s) {
		topic, ns, _ := strings.Cut(field, ":")
		for _, n := range strings.Split(ns, ",") {
			i, err := strconv.ParseInt(n, 10, 32)
			if err != nil {
				panic(err)
			}
			out[partition{topic, int32(i)}] = true
		}
	}
	return out
}

// parseCounts reads "T:4 T.1:4".
func parseCounts(s string) map[string]int32 {
	out := map[string]int32{}
	for p := range parsePartitions(s) {
		out[p.topic] = p.n
	}
	return out
}

// byTopic groups partitions as the protocol does, sorted.
func byTopic(ps map[partition]bool) map[string][]int32 {
	out := map[string][]int32{}
	for p := range ps {
		out[p.topic] = append(out[p.topic], p.n)
	}
	for _, ns := range out {
		slices.Sort(ns)
	}
	return out
}

// format writes what parsePartitions reads, sorted.
func format(ps map[partition]bool) string {
	topics := byTopic(ps)
	var fields []string
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		fields = append(fields, topic+":"+strings.ReplaceAll(strings.Trim(fmt.Sprint(topics[topic]), "[]"), " ", ","))
	}
	return strings.Join(fields, " ")
}

// normal brings a hand-written list of partitions into the form of format.
func normal(s string) string { return format(parsePartitions(s)) }
