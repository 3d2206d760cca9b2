package group_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// TestGroupsComeToRest drives simulated groups through everything that happens to one.
func TestGroupsComeToRest(t *testing.T) { rapid.Check(t, groupsComeToRest) }

// FuzzGroupsComeToRest is the same with the fuzzer choosing what happens.
func FuzzGroupsComeToRest(f *testing.F) { f.Fuzz(rapid.MakeFuzz(groupsComeToRest)) }

func groupsComeToRest(t *rapid.T) {
	s := newSim(t, drawTopics(t))
	g := &drawnGroup{sim: s}
	t.Repeat(map[string]func(*rapid.T){
		"join":        g.join,
		"leave":       g.leave,
		"freeze":      g.freezeOne,
		"thaw":        g.thawOne,
		"restart":     g.restartOne,
		"subscribe":   g.subscribe,
		"unsubscribe": g.unsubscribeOne,
		"grow":        g.grow,
		"bumpyRound":  g.bumpyRound,
		"blindRound":  g.blindRound,
		"settle":      func(*rapid.T) { s.settle() },
	})
	s.settle()
}

// TestEqualMembers is the common group: all members alike, nobody confused. Only here can the number of moves be
// checked at every step.
func TestEqualMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t, drawTopics(t))
		subs := keys(s.counts)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			for range rapid.IntRange(0, 4).Draw(t, "joining") {
				s.add("", subs...)
			}
			for range rapid.IntRange(0, 3).Draw(t, "leaving") {
				if len(s.members) > 1 {
					s.remove(rapid.SampledFrom(s.members).Draw(t, "who"))
				}
			}
			if before := s.tally(); !before.clean || !before.equal {
				t.Fatalf("the generator is wrong: this group is not a common one\n%v", s)
			}
			s.settle()
		}
	})
}

// TestDifferentMembers: members with different subscriptions and any distribution of the tasks among them to begin with.
// Small groups, so that checkMoves can compare with all plans there are.
func TestDifferentMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts := map[string]int32{"T": rapid.Int32Range(1, 3).Draw(t, "T"), "U": rapid.Int32Range(1, 2).Draw(t, "U"), "V": 1}
		s := newSim(t, counts)
		for range rapid.IntRange(2, 4).Draw(t, "members") {
			s.add("", rapid.SliceOfNDistinct(rapid.SampledFrom(keys(counts)), 1, -1, rapid.ID).Draw(t, "subs")...)
		}
		for _, topic := range keys(counts) {
			for i := range counts[topic] {
				owners := append(s.subscribers(topic), nil)
				if m := rapid.SampledFrom(owners).Draw(t, "owner"); m != nil {
					m.owned[partition{topic, i}], m.gen = true, s.gen
				}
			}
		}
		if !s.tally().clean || !s.small() {
			t.Fatalf("the generator is wrong: checkMoves does not look at this group\n%v", s)
		}
		s.settle()
	})
}

// TestHostileClaims: whatever members claim, one round gives nothing to two, nothing to who may not have it, and
// nothing new of what another still claims. (round checks that.) Two rounds later all is well.
func TestHostileClaims(t *testing.T) { rapid.Check(t, hostileClaims) }

// FuzzHostileClaims is the same with the fuzzer choosing the claims.
func FuzzHostileClaims(f *testing.F) { f.Fuzz(rapid.MakeFuzz(hostileClaims)) }

func hostileClaims(t *rapid.T) {
	s := newSim(t, drawTopics(t))
	s.gen = 5
	topics := append(keys(s.counts), "X", "X.1")
	for range rapid.IntRange(1, 6).Draw(t, "members") {
		m := s.add(rapid.SampledFrom([]string{"", "", fmt.Sprint("i", s.ids)}).Draw(t, "instance"))
		for _, topic := range rapid.SliceOfDistinct(rapid.SampledFrom(keys(s.counts)), rapid.ID).Draw(t, "subs") {
			m.subs[topic] = true
		}
		for range rapid.IntRange(0, 20).Draw(t, "claims") {
			p := partition{rapid.SampledFrom(topics).Draw(t, "topic"), rapid.Int32Range(-2, 12).Draw(t, "partition")}
			m.owned[p] = true
		}
		m.gen = rapid.Int32Range(-1, 8).Draw(t, "generation")
	}
	s.settle()
}

// FuzzMetadata: whatever bytes members send as their metadata, the leader answers with an error or with a plan that gives
// nothing to two. (assign checks that.)
func FuzzMetadata(f *testing.F) {
	b := group.NewBalancer(primaryOf)
	f.Add(b.JoinGroupMetadata([]string{"T", "T.1"}, map[string][]int32{"T": {0, 1}, "T.1": {0, 1}}, 4), []byte{})
	f.Add(b.JoinGroupMetadata([]string{"U"}, map[string][]int32{"U": {7, -1, 1 << 30}}, -1), []byte{0, 1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		joins := []kmsg.JoinGroupResponseMember{{MemberID: "a", ProtocolMetadata: one}, {MemberID: "b", ProtocolMetadata: two}}
		if _, _, err := b.MemberBalancer(joins); err != nil {
			return
		}
		assign(t, b, 5, map[string]int32{"T": 4, "T.1": 4}, joins)
	})
}

// drawTopics draws the topics of a cluster: some job topics with tiers, whose counts mostly agree.
func drawTopics(t *rapid.T) map[string]int32 {
	counts := map[string]int32{}
	for _, job := range []string{"T", "U", "V"}[:rapid.IntRange(1, 3).Draw(t, "jobs")] {
		counts[job] = rapid.Int32Range(1, 8).Draw(t, job)
		for i := range rapid.IntRange(0, 3).Draw(t, job+" tiers") {
			tier := fmt.Sprintf("%s.%d", job, i+1)
			counts[tier] = counts[job]
			if rapid.IntRange(0, 9).Draw(t, tier+" differs") == 0 {
				counts[tier] = rapid.Int32Range(1, 10).Draw(t, tier)
			}
		}
	}
	return counts
}
