package group_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// TestEachJobTopicIsSpread: the members that come to one that had everything get their share of each job topic.
func TestEachJobTopicIsSpread(t *testing.T) {
	for members := 2; members <= 6; members++ {
		s := newSim(t, map[string]int32{"T": 12, "U": 12, "V": 12})
		s.add("", "T", "U", "V")
		s.settle()
		for len(s.members) < members {
			s.add("", "T", "U", "V")
		}
		s.settle()
		for _, m := range s.members {
			for topic, ps := range byTopic(m.owned) {
				if d := len(ps) - 12/members; d < -1 || d > 1 {
					t.Errorf("of %d members one has %d of the 12 partitions of %s\n%v", members, len(ps), topic, s)
				}
			}
		}
	}
}

// TestGenerationUnknown: without a client behind it, the latest generation anybody claims is the last one.
func TestGenerationUnknown(t *testing.T) {
	got := plan(t, 0, parseCounts("T:4"), []participant{
		{id: "a", subs: "T", owns: "T:0,1", gen: 3},
		{id: "b", subs: "T", owns: "T:1,2", gen: 4},
	})
	if want := (map[string]string{"a": "T:3", "b": "T:1,2"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestTierOfATier: a mapping that is not idempotent may lose co-location, but gives nothing to two owners.
func TestTierOfATier(t *testing.T) {
	primaryOf := func(topic string) string {
		return map[string]string{"A": "B", "B": "C", "C": "C", "D": "E", "E": "D"}[topic]
	}
	b := group.NewBalancer(primaryOf)
	counts := parseCounts("A:4 B:4 C:4 D:4 E:4")
	got := planWith(t, b, 10, counts, []participant{
		{id: "a", subs: "A B C D E"}, {id: "b", subs: "A B C D E"},
	})
	planWith(t, b, 10, counts, []participant{{id: "a", subs: "B", owns: "A:0", gen: 9}}) // A claimed, but not consumed
	all := map[partition]string{}
	for id, s := range got {
		for tp := range parsePartitions(s) {
			if other, taken := all[tp]; taken {
				t.Errorf("%v belongs to %s and %s", tp, other, id)
			}
			all[tp] = id
		}
	}
	if len(all) != 20 {
		t.Errorf("%d partitions assigned, want 20", len(all))
	}
}

// TestNilPrimaryOf: every topic is a job topic of its own.
func TestNilPrimaryOf(t *testing.T) {
	got := planWith(t, group.NewBalancer(nil), 10, parseCounts("T:1 T.1:1"),
		[]participant{{id: "a", subs: "T T.1"}, {id: "b", subs: "T T.1"}})
	if want := (map[string]string{"a": "T:0", "b": "T.1:0"}); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestInferredCountIsBounded: a corrupt claim on a topic the leader does not know must not exhaust its memory.
func TestInferredCountIsBounded(t *testing.T) {
	got := plan(t, 10, nil, []participant{{id: "a", subs: "T", owns: "T:0,1,300000,2147483647", gen: 9}})
	if got["a"] != "T:0,1" {
		t.Errorf("got %q, want T:0,1", got["a"])
	}
}

// TestMetadataIsStandard: what we write, kgo's own type reads; it is the same for the same input, whatever the order of
// a map, and says nothing twice.
func TestMetadataIsStandard(t *testing.T) {
	b := group.NewBalancer(primaryOf)
	owned := map[string][]int32{"T": {0, 2}, "T.1": {0, 2}, "T.2": {0, 2}, "U": {5}}
	raw := b.JoinGroupMetadata([]string{"T", "T.1", "T.2", "U"}, owned, 42)
	for range 20 {
		if again := b.JoinGroupMetadata([]string{"T", "T.1", "T.2", "U"}, maps.Clone(owned), 42); !bytes.Equal(raw, again) {
			t.Fatal("the same input gives other bytes")
		}
	}
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	if meta.Generation != 42 || !slices.Equal(meta.Topics, []string{"T", "T.1", "T.2", "U"}) || len(meta.UserData) > 0 {
		t.Errorf("metadata says %+v", meta)
	}
	got := map[string][]int32{}
	for _, o := range meta.OwnedPartitions {
		got[o.Topic] = o.Partitions
	}
	if !maps.EqualFunc(got, owned, slices.Equal) {
		t.Errorf("owned partitions are %v, want %v", got, owned)
	}
}

func TestBrokenMetadataIsAnError(t *testing.T) {
	join := kmsg.NewJoinGroupResponseMember()
	join.MemberID, join.ProtocolMetadata = "a", []byte{0, 3, 0}
	if mb, topics, err := group.NewBalancer(primaryOf).MemberBalancer([]kmsg.JoinGroupResponseMember{join}); err == nil {
		t.Errorf("got %v, %v and no error", mb, topics)
	} else if mb != nil {
		t.Error("an error comes with a balancer that is not nil")
	}
}

func TestIdentity(t *testing.T) {
	b := group.NewBalancer(primaryOf)
	if b.ProtocolName() != "waybill-copart-v1" || !b.IsCooperative() {
		t.Errorf("%s, cooperative %v", b.ProtocolName(), b.IsCooperative())
	}
	for _, stock := range []kgo.GroupBalancer{
		kgo.CooperativeStickyBalancer(), kgo.StickyBalancer(), kgo.RangeBalancer(), kgo.RoundRobinBalancer(),
	} {
		if strings.EqualFold(stock.ProtocolName(), b.ProtocolName()) {
			t.Errorf("shares its name with %s", stock.ProtocolName())
		}
	}
}
