package group_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// sim is a cooperative consumer group without broker or network: members with what they believe to own, and rounds of
// the protocol. It checks what must hold in every round; settle also checks what must hold once a group has come to rest.
type sim struct {
	t       fataler
	b       *group.Balancer
	counts  map[string]int32
	members []*simMember // in the group
	frozen  []*simMember // thrown out without having noticed: they still believe, and work
	gen     int32        // of the last round
	ids     int
}

// simMember is one member. Its fields are what a kgo client keeps and puts into its join.
type simMember struct {
	id, instance string
	subs         map[string]bool
	owned        map[partition]bool
	gen          int32
}

// mishap is what keeps a member from learning what a round decided.
type mishap int

const (
	noMishap   mishap = iota
	syncFailed        // it joined (and knows the generation), but the next round began before it had its assignment
	joinLost          // it did not even hear of the generation
)

func newSim(t fataler, counts map[string]int32) *sim {
	return &sim{t: t, b: group.NewBalancer(primaryOf), counts: counts}
}

// add makes a new member of the group.
func (s *sim) add(instance string, subs ...string) *simMember {
	m := &simMember{id: s.newID(), instance: instance, subs: map[string]bool{}, owned: map[partition]bool{}, gen: -1}
	for _, topic := range subs {
		m.subs[topic] = true
	}
	s.members = append(s.members, m)
	return m
}

// newID returns member ids whose order is not that of their making.
func (s *sim) newID() string {
	s.ids++
	return fmt.Sprintf("m%02d", s.ids*37%100)
}

// remove takes m out of the group: it left, or crashed and its session ended.
func (s *sim) remove(m *simMember) {
	s.members = slices.DeleteFunc(s.members, func(x *simMember) bool { return x == m })
}

// freeze takes m out of the group without its noticing; thaw lets it join again with all it believes, as kgo does when
// a join is answered by UNKNOWN_MEMBER_ID.
func (s *sim) freeze(m *simMember) {
	s.remove(m)
	s.frozen = append(s.frozen, m)
}

func (s *sim) thaw(m *simMember) {
	s.frozen = slices.DeleteFunc(s.frozen, func(x *simMember) bool { return x == m })
	m.id = s.newID()
	s.members = append(s.members, m)
}

// restart replaces static member m by a new process of the same instance, which knows nothing.
func (s *sim) restart(m *simMember) {
	m.id, m.gen, m.owned = s.newID(), -1, map[partition]bool{}
}

// unsubscribe makes m stop consuming a topic. kgo revokes such partitions before it joins.
func (s *sim) unsubscribe(m *simMember, topic string) {
	delete(m.subs, topic)
	maps.DeleteFunc(m.owned, func(p partition, _ bool) bool { return p.topic == topic })
}

// joins is what all members tell the leader.
func (s *sim) joins() []kmsg.JoinGroupResponseMember {
	var js []kmsg.JoinGroupResponseMember
	for _, m := range s.members {
		js = append(js, join(s.b, m.id, m.instance, slices.Sorted(maps.Keys(m.subs)), byTopic(m.owned), m.gen))
	}
	return js
}

// round runs one round and checks it. It returns whether another must follow, and what each member lost.
func (s *sim) round(mishaps map[*simMember]mishap) (again bool, lost map[*simMember]map[partition]bool) {
	s.t.Helper()
	return s.roundKnowing(s.counts, mishaps)
}

// roundKnowing is round with a leader that has these partition counts.
func (s *sim) roundKnowing(counts map[string]int32, mishaps map[*simMember]mishap) (again bool, lost map[*simMember]map[partition]bool) {
	s.t.Helper()
	s.gen++
	js := s.joins()
	s.checkDeterminism(js)
	got := assign(s.t, s.b, s.gen, counts, js)
	lost = map[*simMember]map[partition]bool{}
	for _, m := range s.members {
		s.checkAssignment(m, got[m.id])
		lost[m] = minus(m.owned, got[m.id])
	}
	// Only now may anybody apply it: until then all work on what they believe to own.
	for _, m := range s.members {
		again = again || mishaps[m] != noMishap || len(lost[m]) > 0
		if mishaps[m] != joinLost {
			m.gen = s.gen
		}
		if mishaps[m] == noMishap {
			m.owned = got[m.id]
		} else {
			lost[m] = nil
		}
	}
	return again, lost
}

// checkDeterminism: the order in which members are listed changes nothing.
func (s *sim) checkDeterminism(js []kmsg.JoinGroupResponseMember) {
	s.t.Helper()
	reversed := slices.Clone(js)
	slices.Reverse(reversed)
	a, b := syncRequest(s.t, s.b, s.gen, s.counts, js), syncRequest(s.t, s.b, s.gen, s.counts, reversed)
	same := func(a, b kmsg.SyncGroupRequestGroupAssignment) bool {
		return a.MemberID == b.MemberID && bytes.Equal(a.MemberAssignment, b.MemberAssignment)
	}
	if !slices.EqualFunc(a, b, same) {
		s.t.Fatalf("round %d: members listed in another order get another plan\n%v", s.gen, s)
	}
}

// checkAssignment: m gets only what exists, what it consumes, and nothing new of a task of which any other member of the
// group may still be working on a part.
func (s *sim) checkAssignment(m *simMember, got map[partition]bool) {
	s.t.Helper()
	for p := range got {
		if !m.subs[p.topic] || !m.subs[primaryOf(p.topic)] {
			s.t.Fatalf("round %d: %s gets %v without consuming it\n%v", s.gen, m.id, p, s)
		}
		if !s.exists(p) {
			s.t.Fatalf("round %d: %s gets %v, which belongs to no task\n%v", s.gen, m.id, p, s)
		}
		if m.owned[p] {
			continue
		}
		for _, other := range s.members {
			for q := range other.owned {
				if other != m && q.task() == p.task() {
					s.t.Fatalf("round %d: %s gets %v, but %s still has %v\n%v", s.gen, m.id, p, other.id, q, s)
				}
			}
		}
	}
}

// exists reports whether p is part of a task.
func (s *sim) exists(p partition) bool {
	return p.n >= 0 && p.n < s.counts[p.topic] && p.n < s.counts[primaryOf(p.topic)]
}

// settle runs rounds until nobody has to rejoin, and checks that the group came to rest as it should.
func (s *sim) settle() {
	s.t.Helper()
	before := s.tally()
	everLost := map[*simMember]map[partition]bool{}
	for _, m := range s.members {
		everLost[m] = map[partition]bool{}
	}
	rounds := 0
	for again := true; again; rounds++ {
		if rounds == 2 {
			s.t.Fatalf("not at rest after two rounds\n%v", s)
		}
		var lost map[*simMember]map[partition]bool
		again, lost = s.round(nil)
		for m, ps := range lost {
			maps.Copy(everLost[m], ps)
		}
	}
	s.checkComplete()
	s.checkBalance()
	s.checkUnmoved(before, everLost)
	s.checkMoves(before)
	// At rest is at rest: one more round changes nothing.
	if again, _ := s.round(nil); again {
		s.t.Fatalf("a round without cause moves something\n%v", s)
	}
}

// checkComplete: each task that somebody may own has one owner, with all its partitions that the owner consumes.
func (s *sim) checkComplete() {
	s.t.Helper()
	for topic, n := range s.counts {
		if primaryOf(topic) != topic || !slices.ContainsFunc(s.members, func(m *simMember) bool { return m.subs[topic] }) {
			continue
		}
		for i := range n {
			owner := s.ownersOf(partition{topic, i})
			if len(owner) != 1 {
				s.t.Fatalf("task %s/%d has %d owners\n%v", topic, i, len(owner), s)
			}
			for sub := range owner[0].subs {
				if p := (partition{sub, i}); primaryOf(sub) == topic && s.exists(p) && !owner[0].owned[p] {
					s.t.Fatalf("%s owns task %s/%d without %v\n%v", owner[0].id, topic, i, p, s)
				}
			}
		}
	}
}

// ownersOf returns the members that own any partition of a task.
func (s *sim) ownersOf(task partition) []*simMember {
	var owners []*simMember
	for _, m := range s.members {
		for p := range m.owned {
			if p.task() == task {
				owners = append(owners, m)
				break
			}
		}
	}
	return owners
}

// checkBalance: no chain of moves leads from a member to one with at least two tasks less. (With equal subscriptions:
// the numbers of tasks differ by at most one.) A closure over all pairs, unlike the code's search.
func (s *sim) checkBalance() {
	s.t.Helper()
	n, load := len(s.members), s.loads()
	reach := make([][]bool, n)
	for a, m := range s.members {
		reach[a] = make([]bool, n)
		for p := range m.owned {
			for b, other := range s.members {
				reach[a][b] = reach[a][b] || other.subs[primaryOf(p.topic)]
			}
		}
	}
	for via := range n {
		for a := range n {
			for b := range n {
				reach[a][b] = reach[a][b] || reach[a][via] && reach[via][b]
			}
		}
	}
	for a := range n {
		for b := range n {
			if reach[a][b] && load[a] > load[b]+1 {
				s.t.Fatalf("%s has %d tasks, %s could have more than its %d\n%v", s.members[a].id, load[a], s.members[b].id, load[b], s)
			}
		}
	}
}

// loads returns the number of tasks of each member.
func (s *sim) loads() []int {
	var loads []int
	for _, m := range s.members {
		loads = append(loads, len(tasksOf(m.owned)))
	}
	return loads
}

// String describes the group, for failures.
func (s *sim) String() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "generation %d, topics %v\n", s.gen, s.counts)
	for i, ms := range [][]*simMember{s.members, s.frozen} {
		for _, m := range ms {
			fmt.Fprintf(&b, "%s %s(%s) at %d consumes %v has %s\n", []string{"member", "frozen"}[i], m.id, m.instance, m.gen,
				slices.Sorted(maps.Keys(m.subs)), format(m.owned))
		}
	}
	return b.String()
}

// tasksOf returns the tasks of which ps has any partition.
func tasksOf(ps map[partition]bool) map[partition]bool {
	out := map[partition]bool{}
	for p := range ps {
		out[p.task()] = true
	}
	return out
}

func minus(a, b map[partition]bool) map[partition]bool {
	out := map[partition]bool{}
	for p := range a {
		if !b[p] {
			out[p] = true
		}
	}
	return out
}
