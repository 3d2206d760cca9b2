package group_test

import (
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"
)

// drawnGroup is what can happen to a simulated group, as actions of a rapid state machine. An action that cannot happen
// now skips.
type drawnGroup struct {
	*sim
	instances int
}

// join: a new member. Mostly it consumes everything; sometimes it is of another version and does not.
func (g *drawnGroup) join(t *rapid.T) {
	if len(g.members) >= 8 {
		t.Skip("enough members")
	}
	subs := keys(g.counts)
	if rapid.IntRange(0, 2).Draw(t, "version") == 0 {
		subs = rapid.SliceOfDistinct(rapid.SampledFrom(subs), rapid.ID).Draw(t, "subs")
	}
	instance := ""
	if rapid.IntRange(0, 3).Draw(t, "static") == 0 {
		g.instances++
		instance = fmt.Sprint("i", g.instances)
	}
	g.add(instance, subs...)
}

// leave: a member leaves or crashes.
func (g *drawnGroup) leave(t *rapid.T) { g.remove(g.some(t, g.members)) }

// freezeOne: a member is thrown out without noticing.
func (g *drawnGroup) freezeOne(t *rapid.T) { g.freeze(g.some(t, g.members)) }

// thawOne: and comes back with what it believes.
func (g *drawnGroup) thawOne(t *rapid.T) { g.thaw(g.some(t, g.frozen)) }

// restartOne: the process of a static member is replaced, during a rebalance.
func (g *drawnGroup) restartOne(t *rapid.T) {
	static := slices.DeleteFunc(slices.Clone(g.members), func(m *simMember) bool { return m.instance == "" })
	g.sim.restart(g.some(t, static))
}

// subscribe: a member learns of a topic, say of a new tier.
func (g *drawnGroup) subscribe(t *rapid.T) {
	g.some(t, g.members).subs[rapid.SampledFrom(keys(g.counts)).Draw(t, "topic")] = true
}

// unsubscribeOne: a member stops consuming a topic.
func (g *drawnGroup) unsubscribeOne(t *rapid.T) {
	m := g.some(t, g.members)
	if len(m.subs) == 0 {
		t.Skip("it consumes nothing")
	}
	g.sim.unsubscribe(m, rapid.SampledFrom(slices.Sorted(maps.Keys(m.subs))).Draw(t, "topic"))
}

// grow: a topic gets partitions.
func (g *drawnGroup) grow(t *rapid.T) {
	topic := rapid.SampledFrom(keys(g.counts)).Draw(t, "topic")
	if g.counts[topic] >= 12 {
		t.Skip("large enough")
	}
	g.counts[topic] += 2
}

// bumpyRound: a round in which some members do not learn the outcome.
func (g *drawnGroup) bumpyRound(t *rapid.T) {
	mishaps := map[*simMember]mishap{}
	for _, m := range g.members {
		mishaps[m] = rapid.SampledFrom([]mishap{noMishap, noMishap, syncFailed, joinLost}).Draw(t, "mishap")
	}
	g.round(mishaps)
}

// blindRound: a round whose leader does not know some topic. Nobody who had something of it alone loses that, unless to
// the balance of other job topics.
func (g *drawnGroup) blindRound(t *rapid.T) {
	blind := rapid.SampledFrom(keys(g.counts)).Draw(t, "unknown")
	counts := maps.Clone(g.counts)
	delete(counts, blind)
	before := g.tally()
	_, lost := g.roundKnowing(counts, nil)
	for task, m := range before.owner {
		if task.topic == blind && m.subs[blind] && lost[m][task] {
			t.Fatalf("the leader does not know %s, and %s loses %v\n%v", blind, m.id, task, g)
		}
	}
}

func (g *drawnGroup) some(t *rapid.T, ms []*simMember) *simMember {
	if len(ms) == 0 {
		t.Skip("nobody there")
	}
	return rapid.SampledFrom(ms).Draw(t, "who")
}

func keys(counts map[string]int32) []string { return slices.Sorted(maps.Keys(counts)) }
