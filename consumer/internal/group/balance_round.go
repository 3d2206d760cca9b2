package group

import (
	"cmp"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	nobody  int32 = -1
	several int32 = -2
)

// maxPartitions bounds the number of tasks we infer from claims, so that no corrupt claim makes the leader allocate
// without end. Whole clusters have fewer partitions.
const maxPartitions = 200_000

// round is one rebalance as its leader sees it: members, tasks, and who claims what. Members, job topics and topics
// are referred to by their index in these sorted slices. Built by readRound, then only read.
type round struct {
	members []member
	jobs    []jobTopic // by name; only those that some member may own tasks of
	tasks   []task     // by job topic, then by partition
}

// member is one member of the group in this round.
type member struct {
	join       *kmsg.JoinGroupResponseMember
	meta       *kmsg.ConsumerMemberMetadata
	generation int32
	trusted    bool // its claims are believed where no newer claim contradicts them; see trust
}

// jobTopic is a job topic with its tiers.
type jobTopic struct {
	topics   []topic // the job topic first, then its tiers by name
	eligible []int32 // members that may own its tasks: those subscribed to the job topic, ascending
	first    int     // index of its first task; partition p is tasks[first+p]
	extent   int32   // how many tasks it has

	// frozen means that the leader does not know how many partitions the job topic has: its metadata lags, or it may not
	// describe the topic. Then there are tasks as far as there are claims, and they stay as they are: nothing is dealt
	// out or moved. One instance's bad view must not make all the others give up their work.
	frozen bool
}

// topic is a job topic or a tier.
type topic struct {
	name       string
	partitions int32  // 0 if the leader does not know
	subscribed []bool // by member
}

// task is one partition of a job topic and its tiers, with the claims on it.
type task struct {
	job       int32
	partition int32
	holders   []holder // by topic of the job: who holds that partition now
	claimant  int32    // the only member that claims any part of it; nobody or several
	doubted   bool     // at least one of the claims is not trusted
}

// holder is the member whose trusted claim on one partition has the highest generation.
type holder struct {
	member     int32 // nobody if there is no such claim
	generation int32
	tied       bool // others claim it at the same generation: nobody can be said to hold it
}

// by reports whether member m and nobody else holds the partition.
func (h holder) by(m int32) bool { return m != nobody && h.member == m && !h.tied }

// topicRef finds a topic by name: its job topic's index and its own in there.
type topicRef struct{ job, topic int32 }

// readRound reads the members' metadata into a round.
func readRound(cb *kgo.ConsumerBalancer, counts map[string]int32, primaryOf func(string) string) *round {
	r := &round{members: readMembers(cb)}
	refs := r.readTopics(primaryOf)
	r.countPartitions(counts, refs)
	r.makeTasks()
	r.readClaims(refs)
	return r
}

// readMembers returns the members in the order that settles all ties: static ones by instance id, which outlives a
// restart, then the others by member id (the order kgo sorts by, too; here nothing depends on the caller's).
func readMembers(cb *kgo.ConsumerBalancer) []member {
	var ms []member
	cb.EachMember(func(join *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		ms = append(ms, member{join: join, meta: meta, generation: meta.Generation})
	})
	slices.SortFunc(ms, func(a, b member) int {
		ai, bi := a.join.InstanceID, b.join.InstanceID
		switch {
		case ai != nil && bi != nil && *ai != *bi:
			return cmp.Compare(*ai, *bi)
		case (ai != nil) != (bi != nil):
			return boolFirst(ai != nil)
		}
		return cmp.Compare(a.join.MemberID, b.join.MemberID)
	})
	trust(ms, cb.Info().Generation)
	return ms
}

// trust marks the members whose claims are believed. planning is the generation being planned, 0 if unknown.
//
// Every completed join raises the generation by one, and kgo takes part with the one it last joined. So who was a member
// until now says planning-1, and who says anything else missed a round in which its partitions may have been somebody
// else's; a generation from the future is one of a group that was deleted since. A static member is exempt from the
// first half: while it is down the broker goes on presenting the metadata of its last join.
func trust(ms []member, planning int32) {
	latest := planning - 1
	if planning <= 0 {
		latest = nobody
		for i := range ms {
			latest = max(latest, ms[i].generation)
		}
	}
	for i := range ms {
		m := &ms[i]
		m.trusted = m.generation == latest || m.join.InstanceID != nil && m.generation < latest
	}
}

// readTopics groups all topics anybody subscribes to or claims under their job topics, and returns where each is found.
// Topics whose job topic nobody subscribes to are left out: nobody may own their tasks.
func (r *round) readTopics(primaryOf func(string) string) map[string]topicRef {
	subscribers := map[string][]bool{}
	see := func(name string) []bool {
		s := subscribers[name]
		if s == nil {
			s = make([]bool, len(r.members))
			subscribers[name] = s
		}
		return s
	}
	for i := range r.members {
		for _, name := range r.members[i].meta.Topics {
			see(name)[i] = true
		}
		for _, owned := range r.members[i].meta.OwnedPartitions {
			see(owned.Topic) // claims on a topic that nobody consumes any more still hold up its task
		}
	}

	families := map[string][]string{} // job topic -> itself and its tiers
	for name := range subscribers {
		primary := primaryOf(name)
		if primaryOf(primary) != primary {
			primary = name // a tier of a tier: a job topic for us, or its family would be without one
		}
		families[primary] = append(families[primary], name)
	}
	refs := make(map[string]topicRef, len(subscribers))
	for _, primary := range slices.Sorted(maps.Keys(families)) {
		if !slices.Contains(subscribers[primary], true) {
			continue
		}
		names := families[primary]
		slices.SortFunc(names, func(a, b string) int {
			if (a == primary) != (b == primary) {
				return boolFirst(a == primary)
			}
			return cmp.Compare(a, b)
		})
		r.addJob(names, subscribers, refs)
	}
	return refs
}

// addJob adds the job topic names[0] with its tiers, the other names, and enters them in refs.
func (r *round) addJob(names []string, subscribers map[string][]bool, refs map[string]topicRef) {
	var j jobTopic
	for i, name := range names {
		refs[name] = topicRef{job: int32(len(r.jobs)), topic: int32(i)}
		j.topics = append(j.topics, topic{name: name, subscribed: subscribers[name]})
	}
	for m, yes := range j.topics[0].subscribed {
		if yes {
			j.eligible = append(j.eligible, int32(m))
		}
	}
	r.jobs = append(r.jobs, j)
}

// boolFirst is the comparison of two values that differ in a property: the one that has it comes first.
func boolFirst(firstHasIt bool) int {
	if firstHasIt {
		return -1
	}
	return 1
}

// countPartitions fills in how many partitions each topic has and how many tasks each job topic makes.
func (r *round) countPartitions(counts map[string]int32, refs map[string]topicRef) {
	for name, ref := range refs {
		r.jobs[ref.job].topics[ref.topic].partitions = max(counts[name], 0)
	}
	for i := range r.jobs {
		j := &r.jobs[i]
		j.extent = j.topics[0].partitions
		j.frozen = j.extent == 0
	}
	for i := range r.members {
		for _, owned := range r.members[i].meta.OwnedPartitions {
			ref, ok := refs[owned.Topic]
			if !ok || !r.jobs[ref.job].frozen {
				continue
			}
			for _, p := range owned.Partitions {
				if p < maxPartitions {
					r.jobs[ref.job].extent = max(r.jobs[ref.job].extent, p+1)
				}
			}
		}
	}
}

// makeTasks makes the tasks, unclaimed: one for each partition of each job topic. A tier's surplus makes none.
func (r *round) makeTasks() {
	var tasks, holders int
	for i := range r.jobs {
		j := &r.jobs[i]
		j.first = tasks
		tasks += int(j.extent)
		holders += int(j.extent) * len(j.topics)
	}
	r.tasks = make([]task, 0, tasks)
	free := make([]holder, holders) // one allocation for all tasks
	for i := range free {
		free[i].member = nobody
	}
	for i := range r.jobs {
		n := len(r.jobs[i].topics)
		for p := range r.jobs[i].extent {
			r.tasks = append(r.tasks, task{job: int32(i), partition: p, holders: free[:n:n], claimant: nobody})
			free = free[n:]
		}
	}
}

// readClaims enters every claim into its task.
func (r *round) readClaims(refs map[string]topicRef) {
	for m := range r.members {
		for _, owned := range r.members[m].meta.OwnedPartitions {
			ref, ok := refs[owned.Topic]
			if !ok {
				continue
			}
			j := &r.jobs[ref.job]
			for _, p := range owned.Partitions {
				if p >= 0 && p < j.extent {
					r.tasks[j.first+int(p)].claim(int32(m), &r.members[m], ref.topic)
				}
			}
		}
	}
}

// claim enters the claim of member m, whose particulars are who, on the task's partition of topic t.
func (k *task) claim(m int32, who *member, t int32) {
	switch k.claimant {
	case nobody:
		k.claimant = m
	case m:
	default:
		k.claimant = several
	}
	if !who.trusted {
		k.doubted = true
		return
	}
	h := &k.holders[t]
	switch {
	case h.member == nobody || who.generation > h.generation:
		*h = holder{member: m, generation: who.generation}
	case h.member != m && who.generation == h.generation:
		h.tied = true
	}
}

// contested reports whether anybody has to let go of some part of the task before it can be owner's: another claimant,
// or owner itself if its claim is doubted.
func (k *task) contested(owner int32) bool {
	return k.doubted || k.claimant != nobody && k.claimant != owner
}
