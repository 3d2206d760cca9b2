package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProtocolName is the name under which members agree on this balancer. It differs from every stock name, because a
// stock leader would split tasks, and it carries a version: members that would plan differently must not share a name.
const ProtocolName = "waybill-copart-v1"

// metadataVersion is the version of the consumer protocol's member metadata that we write: 2 brought the generation
// (KIP-792), 3 the rack, which kgo fills in itself.
const metadataVersion = 3

// Balancer is a kgo.GroupBalancer: cooperative, sticky, and atomic by task.
//
// # What it promises
//
//   - Task atomic: while any other member still claims any partition of a task, nobody new gets any part of it. The
//     claimant gives it up first and rejoins; then the whole task is handed over at once.
//   - A task that does not move loses no partition in any round, so it is not paused by a rebalance.
//   - Balanced: among members subscribed to the same job topics, the numbers of tasks differ by at most one, counted
//     over all job topics together. Where subscriptions differ no chain of moves could make it more even. Within that,
//     each job topic is spread as evenly as it can be without extra moves.
//   - Fewest moves: no plan that is as balanced takes fewer tasks from their owners. A group comes to rest in two
//     rounds, one to give up and one to take; what an owner gives up in the first never comes back to it in the second.
//   - Deterministic: the plan does not depend on the order of maps, members or topics. Ties go to static members in the
//     order of their instance ids, then to the others in the order of their member ids.
//
// # Who may own a task
//
// Any member subscribed to the job topic. A partition of a tier to which the owner does not subscribe is assigned to
// nobody. This is not a detail: kgo leaves topics it does not know yet out of its join metadata, so if the tiers
// counted, the first member to learn of a new tier would take every task. Keyed on the job topic, a tier added by a
// rolling deploy moves nothing: each owner gets the tier's partition of its own tasks when it learns of the tier.
// Partitions of a tier beyond the job topic's count belong to no task and are assigned to nobody.
//
// A leader that does not know how many partitions a topic has, because its metadata lags or it may not describe the topic,
// leaves that topic's partitions where they are and deals out no more of them.
//
// # Claims
//
// What a member says it owns is a claim, with the generation in which it last took part (KIP-792). The highest
// generation holds a partition. Two claims of the same generation cancel out: both let go, then one gets it. A dynamic
// member that missed a generation must give up all it claims before it may get any of it again: somebody else may
// have owned it in between, and if it simply kept the partition, kgo would call neither OnPartitionsRevoked nor
// OnPartitionsAssigned and it would go on from a state of long ago.
//
// # Static members
//
// A static member (one with an instance id) that restarts within its session gets its assignment from the broker and
// nobody rebalances. If its restart falls into a rebalance, it claims nothing, is the least loaded, and gets its
// number of tasks; as with kgo's cooperative-sticky, which tasks exactly is not remembered if several members restart
// or join in that round. While it is down the broker presents the metadata of its last join, whose generation is older
// for no fault of its own, so claims of static members are believed unless a newer one contradicts them.
//
// Two gaps are left that no balancer can close, since the broker asks nobody to plan when a static member returns: its
// changed subscription goes unseen (kgo works around that for stock balancers only), and a task it gave up just before
// it died stays with nobody. Both end with the next rebalance, so a static member should force one
// (kgo.Client.ForceRebalance) after its first assignment; a round that moves nothing pauses nothing.
//
// # Moving a group over from another balancer
//
// A member that knows only this protocol is refused by a group that runs another one (INCONSISTENT_GROUP_PROTOCOL; the
// group itself is unharmed). So it takes two rolls of all members, from cooperative-sticky, or from range or any other
// eager balancer:
//
//  1. kgo.Balancers(NewBalancer(..), kgo.CooperativeStickyBalancer()): the group switches over when the last member
//     knows both. Tasks the stock balancer had split are put together then: the owner is who has most of its parts.
//  2. kgo.Balancers(NewBalancer(..)) alone.
//
// Never back in one roll: the way back is the same two rolls.
//
// A Balancer has no state of its own and may be shared by clients and goroutines if its function may.
type Balancer struct {
	primaryOf func(topic string) string
}

var _ kgo.GroupBalancer = (*Balancer)(nil)

// NewBalancer returns a balancer for the topics that primaryOf ties together. It maps a tier to its job topic, and a
// job topic, or any topic it does not know, to itself; nil takes every topic for a job topic without tiers.
//
// It must be a pure function of the name, safe for concurrent use, with primaryOf(primaryOf(t)) == primaryOf(t). It
// must know a tier by the shape of its name and not by this instance's list of tiers: during a rolling deploy the leader
// may be of the older version, and would take a new tier for a job topic.
func NewBalancer(primaryOf func(topic string) string) *Balancer {
	if primaryOf == nil {
		primaryOf = func(topic string) string { return topic }
	}
	return &Balancer{primaryOf: primaryOf}
}

// ProtocolName implements kgo.GroupBalancer.
func (*Balancer) ProtocolName() string { return ProtocolName }

// IsCooperative implements kgo.GroupBalancer: members keep working through a rebalance.
func (*Balancer) IsCooperative() bool { return true }

// JoinGroupMetadata implements kgo.GroupBalancer. It writes the consumer protocol's standard metadata, so that every
// admin tool can read it, without the user data of kgo's sticky balancers, which says all of it a second time.
func (*Balancer) JoinGroupMetadata(interests []string, owned map[string][]int32, generation int32) []byte {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version = metadataVersion
	meta.Topics = interests
	meta.Generation = generation
	// Sorted, because the broker compares the bytes to see whether a member that rejoins has changed.
	for _, topic := range slices.Sorted(maps.Keys(owned)) {
		part := kmsg.NewConsumerMemberMetadataOwnedPartition()
		part.Topic, part.Partitions = topic, owned[topic]
		meta.OwnedPartitions = append(meta.OwnedPartitions, part)
	}
	return meta.AppendTo(nil)
}

// ParseSyncAssignment implements kgo.GroupBalancer.
func (*Balancer) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	return kgo.ParseConsumerSyncAssignment(assignment)
}

// MemberBalancer implements kgo.GroupBalancer. It fails if a member's metadata cannot be decoded.
func (b *Balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, err
	}
	return cb, cb.MemberTopics(), nil
}

// Balance implements kgo.ConsumerBalancerBalance: one round of the protocol, run by the leader. counts holds the number
// of partitions of each topic known to the leader. It never fails.
func (b *Balancer) Balance(cb *kgo.ConsumerBalancer, counts map[string]int32) kgo.IntoSyncAssignment {
	r := readRound(cb, counts, b.primaryOf)
	p := newPlan(r)
	p.stick()
	p.place()
	p.level()
	p.save()
	p.deal()
	return p.handOver(cb)
}
