package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybill-dev/waybill/retrytopics"
)

// Group is a group as a whole.
type Group struct {
	Group   string   `json:"group"`
	State   string   `json:"state"`              // the coordinator's word, such as Stable or Empty
	Balance string   `json:"balancer,omitempty"` // the protocol its members agreed on; empty where there is none
	Members []Member `json:"members"`
	Topics  []Topic  `json:"topics"`
}

// Member is one instance as the coordinator knows it.
type Member struct {
	Member string   `json:"member"`
	Client string   `json:"client"`
	Host   string   `json:"host"`
	Static string   `json:"static_id,omitempty"`
	Tasks  []string `json:"tasks"` // topic/partition of the job topics
}

// Topic is one job topic of the group.
type Topic struct {
	Topic       string   `json:"topic"`
	Tasks       int      `json:"tasks"`
	Sources     []Source `json:"sources"` // the job topic, then its tiers
	Waiting     int64    `json:"waiting"` // in the tiers
	DeadLetters int64    `json:"dead_letters"`
}

// Source is the job topic or a tier, over all partitions.
type Source struct {
	Topic     string `json:"topic"`
	Tier      string `json:"tier,omitempty"` // empty for the job topic
	Committed int64  `json:"committed"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"`
}

// Unknown is the State of a group that the coordinator has no memory of: nobody ever joined, or all of it expired.
const Unknown = "Unknown"

// Group looks at state, members, offsets and dead letters.
func (r *Reader) Group(ctx context.Context) (Group, error) {
	g := Group{Group: r.group, Members: []Member{}, Topics: []Topic{}}
	described, err := r.describe(ctx)
	if err != nil {
		return g, err
	}
	g.State = described.State
	if g.State == "Dead" {
		g.State = Unknown
	}
	g.Balance = described.Protocol
	for _, m := range described.Members {
		g.Members = append(g.Members, r.member(m))
	}
	slices.SortFunc(g.Members, func(a, b Member) int { return strings.Compare(a.Client+a.Member, b.Client+b.Member) })
	var names []string
	for _, t := range r.Topics() {
		names = append(names, retrytopics.DeadLetterTopic(t, r.group))
		for _, s := range r.sources(t) {
			names = append(names, s.topic)
		}
	}
	if len(names) == 0 {
		return g, nil
	}
	found, err := r.extents(ctx, names)
	if err != nil {
		return g, err
	}
	for _, t := range r.Topics() {
		g.Topics = append(g.Topics, r.topic(t, found))
	}
	return g, nil
}

func (r *Reader) topic(name string, found map[string]map[int32]extent) Topic {
	t := Topic{Topic: name, Tasks: len(found[name])}
	for _, s := range r.sources(name) {
		if found[s.topic] == nil && s.tier > 0 { // a tier of old that was deleted when it was drained
			continue
		}
		row := Source{Topic: s.topic}
		if s.tier > 0 {
			row.Tier = retrytopics.FormatTier(s.tier)
		}
		for _, e := range found[s.topic] {
			row.Committed += max(0, e.committed)
			row.End += e.end
			row.Lag += e.lag()
		}
		if s.tier > 0 {
			t.Waiting += row.Lag
		}
		t.Sources = append(t.Sources, row)
	}
	for _, e := range found[retrytopics.DeadLetterTopic(name, r.group)] {
		t.DeadLetters += e.end - e.start
	}
	return t
}

// describe asks the coordinator. A group it does not know is Dead and has no members.
func (r *Reader) describe(ctx context.Context) (kadm.DescribedGroup, error) {
	all, err := r.admin.DescribeGroups(ctx, r.group)
	if err != nil {
		return kadm.DescribedGroup{}, fmt.Errorf("describe group %s: %w", r.group, err)
	}
	d := all[r.group]
	if errors.Is(d.Err, kerr.GroupIDNotFound) {
		return kadm.DescribedGroup{State: "Dead"}, nil
	}
	if d.Err != nil {
		return d, fmt.Errorf("describe group %s: %w", r.group, d.Err)
	}
	return d, nil
}

func (r *Reader) member(m kadm.DescribedGroupMember) Member {
	out := Member{Member: m.MemberID, Client: m.ClientID, Host: strings.TrimPrefix(m.ClientHost, "/"), Tasks: []string{}}
	if m.InstanceID != nil {
		out.Static = *m.InstanceID
	}
	for topic, partitions := range held(m) {
		if _, primary := r.layout.Topics[topic]; primary {
			for _, p := range partitions {
				out.Tasks = append(out.Tasks, fmt.Sprintf("%s/%d", topic, p))
			}
		}
	}
	slices.Sort(out.Tasks)
	return out
}

// held are the partitions a member is assigned.
func held(m kadm.DescribedGroupMember) map[string][]int32 {
	out := map[string][]int32{}
	if a, ok := m.Assigned.AsConsumer(); ok {
		for _, t := range a.Topics {
			out[t.Topic] = append(out[t.Topic], t.Partitions...)
		}
	}
	return out
}

// partitions are the keys of one topic's extents, ascending.
func partitions(m map[int32]extent) []int32 { return slices.Sorted(maps.Keys(m)) }
