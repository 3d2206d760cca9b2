package group_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer/internal/group"
)

// BenchmarkRound is one round of the leader, from the members' metadata to the bytes it sends: 100 members, 1000 tasks
// of four topics each.
func BenchmarkRound(b *testing.B) {
	const members, tasks = 100, 1000
	topics := []string{"T", "T.1", "T.2", "T.3"}
	counts := map[string]int32{}
	for _, topic := range topics {
		counts[topic] = tasks
	}
	// owners is how many members have the tasks before the round, evenly.
	for _, bm := range []struct {
		name    string
		owners  int
		members int
	}{
		{"nothing changes", members, members},
		{"all new", 0, members},
		{"one joins", members - 1, members},
		{"one leaves", members, members - 1},
		{"twice as many", members / 2, members},
		{"one had all", 1, members},
	} {
		b.Run(bm.name, func(b *testing.B) {
			bal := group.NewBalancer(primaryOf)
			var joins []kmsg.JoinGroupResponseMember
			for m := range bm.members {
				owned := map[string][]int32{}
				for p := range int32(tasks) {
					if bm.owners > 0 && int(p)%bm.owners == m {
						for _, topic := range topics {
							owned[topic] = append(owned[topic], p)
						}
					}
				}
				joins = append(joins, join(bal, fmt.Sprintf("m%03d", m), "", topics, owned, 9))
			}
			b.ReportAllocs()
			for b.Loop() {
				if got := syncRequest(b, bal, 10, counts, joins); len(got) != bm.members {
					b.Fatalf("%d members get an assignment, want %d", len(got), bm.members)
				}
			}
		})
	}
}

// BenchmarkManyJobTopics is the same number of tasks in many small job topics with different subscriptions, where chains
// of moves have to be searched.
func BenchmarkManyJobTopics(b *testing.B) {
	const members, jobs, perJob = 100, 50, 20
	counts := map[string]int32{}
	for j := range jobs {
		counts[fmt.Sprintf("T%02d", j)] = perJob
		counts[fmt.Sprintf("T%02d.1", j)] = perJob
	}
	bal := group.NewBalancer(primaryOf)
	var joins []kmsg.JoinGroupResponseMember
	for m := range members {
		var subs []string
		owned := map[string][]int32{}
		for d := range 5 { // a ring: each member shares job topics with its neighbours only
			topic := fmt.Sprintf("T%02d", (m/2+d)%jobs)
			subs = append(subs, topic, topic+".1")
			if d == 0 && m%2 == 0 && m < members/4 {
				for p := range int32(perJob) {
					owned[topic] = append(owned[topic], p)
				}
			}
		}
		joins = append(joins, join(bal, fmt.Sprintf("m%03d", m), "", subs, owned, 9))
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := syncRequest(b, bal, 10, counts, joins); len(got) != members {
			b.Fatalf("%d members get an assignment, want %d", len(got), members)
		}
	}
}

// BenchmarkNewJobTopic: half of the members know a new job topic, so tasks of the old one have to move to the others, and
// not one more than that.
func BenchmarkNewJobTopic(b *testing.B) {
	const members, tasks = 100, 1000
	counts := map[string]int32{"T": tasks, "T.1": tasks, "U": tasks / 2, "U.1": tasks / 2, "V": tasks / 4, "W": tasks / 4}
	bal := group.NewBalancer(primaryOf)
	var joins []kmsg.JoinGroupResponseMember
	for m := range members {
		subs := []string{"T", "T.1"}
		for i, topics := range [][]string{{"U", "U.1"}, {"V"}, {"W"}} {
			if m%(i+2) == 0 {
				subs = append(subs, topics...)
			}
		}
		owned := map[string][]int32{}
		for p := int32(m); p < tasks; p += members {
			owned["T"], owned["T.1"] = append(owned["T"], p), append(owned["T.1"], p)
		}
		joins = append(joins, join(bal, fmt.Sprintf("m%03d", m), "", subs, owned, 9))
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := syncRequest(b, bal, 10, counts, joins); len(got) != members {
			b.Fatalf("%d members get an assignment, want %d", len(got), members)
		}
	}
}
