package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// plan is the assignment in the making. A task is held if its planned owner holds it already, otherwise loose: nobody
// holds it, or it has been taken from its holder, so that giving it to somebody else costs no further move.
type plan struct {
	*round
	owner []int32  // by task; nobody if it has none
	load  []int    // tasks by member, of all job topics
	piles [][]pile // by member, by job topic
	path  pathfinder
}

// pile is what one member has of one job topic, as indexes of tasks.
type pile struct{ held, loose []int32 }

func (p pile) size() int { return len(p.held) + len(p.loose) }

func newPlan(r *round) *plan {
	p := &plan{
		round: r,
		owner: make([]int32, len(r.tasks)),
		load:  make([]int, len(r.members)),
		piles: make([][]pile, len(r.members)),
		path:  newPathfinder(len(r.members), len(r.jobs)),
	}
	for i := range p.owner {
		p.owner[i] = nobody
	}
	for m := range p.piles {
		p.piles[m] = make([]pile, len(r.jobs))
	}
	return p
}

// stick leaves every task with the member that keeps most of its partitions; of equals with the one whose claim is of
// the highest generation, then with the first.
func (p *plan) stick() {
	parts := make([]int, len(p.members))
	for i := range p.tasks {
		k := &p.tasks[i]
		if k.claimant == nobody {
			continue
		}
		clear(parts)
		best := nobody
		for t, h := range k.holders {
			if p.keeps(k, t, h.member) {
				parts[h.member]++
			}
		}
		for _, h := range k.holders {
			if h.member != nobody && parts[h.member] > 0 && (best == nobody || p.sticksBetter(h.member, best, parts)) {
				best = h.member
			}
		}
		if best != nobody {
			p.keep(int32(i), best)
		}
	}
}

// keeps reports whether m holds the task's partition of topic t and may go on doing so if it stays the task's owner.
// A topic unknown to the leader is taken to have the partitions that are held.
func (p *plan) keeps(k *task, t int, m int32) bool {
	j := &p.jobs[k.job]
	return k.holders[t].by(m) && j.topics[0].subscribed[m] && j.topics[t].subscribed[m] &&
		(k.partition < j.topics[t].partitions || j.topics[t].partitions == 0)
}

// keep makes m the owner of task i, which it holds.
func (p *plan) keep(i, m int32) {
	p.owner[i] = m
	p.load[m]++
	job := p.tasks[i].job
	if p.jobs[job].frozen {
		return // in no pile: it counts, but cannot be moved
	}
	pile := &p.piles[m][job]
	pile.held = append(pile.held, i)
}

// sticksBetter reports whether a task should rather stay with member a than with b, given how many of its partitions
// each member holds.
func (p *plan) sticksBetter(a, b int32, parts []int) bool {
	ga, gb := p.members[a].generation, p.members[b].generation
	switch {
	case parts[a] != parts[b]:
		return parts[a] > parts[b]
	case ga != gb:
		return ga > gb
	}
	return a < b
}

// place gives every task without owner to the eligible member with the fewest tasks; of equals to the one with the
// fewest of that job topic, which spreads each of several job topics evenly, then to the first.
func (p *plan) place() {
	for i := range p.tasks {
		job := p.tasks[i].job
		if p.owner[i] != nobody || p.jobs[job].frozen {
			continue
		}
		best := nobody
		for _, m := range p.jobs[job].eligible {
			if best == nobody || p.lighter(m, best, job) {
				best = m
			}
		}
		p.give(int32(i), best)
	}
}

// lighter reports whether member a should get a task of job before b does, all else being equal.
func (p *plan) lighter(a, b, job int32) bool {
	if p.load[a] != p.load[b] {
		return p.load[a] < p.load[b]
	}
	return p.piles[a][job].size() < p.piles[b][job].size()
}

// give makes m the owner of loose task i.
func (p *plan) give(i, m int32) {
	p.owner[i] = m
	p.load[m]++
	pile := &p.piles[m][p.tasks[i].job]
	pile.loose = append(pile.loose, i)
}

// take takes one task of job from m, a loose one if it has one, and returns it. m must have one.
func (p *plan) take(m, job int32) int32 {
	pile := &p.piles[m][job]
	from := &pile.loose
	if len(*from) == 0 {
		from = &pile.held
	}
	last := len(*from) - 1
	i := (*from)[last]
	*from = (*from)[:last]
	p.load[m]--
	return i
}

// handOver turns the plan into this round's assignment. What its planned owner holds stays with it. Of a task on which
// anybody else has a claim nothing new is given out in this round: that member now loses what it claims, revokes it,
// rejoins, and finds the task handed over as a whole.
//
// There is always such a member, so there is always a next round: a contested task has a claim that is not its owner's,
// or a doubted one, and neither is granted.
func (p *plan) handOver(cb *kgo.ConsumerBalancer) kgo.IntoSyncAssignment {
	out := cb.NewPlan()
	for i := range p.tasks {
		k, owner := &p.tasks[i], p.owner[i]
		if owner == nobody {
			continue
		}
		contested := k.contested(owner)
		for t := range p.jobs[k.job].topics {
			topic := &p.jobs[k.job].topics[t]
			isNew := !contested && topic.subscribed[owner] && k.partition < topic.partitions
			if isNew || p.keeps(k, t, owner) {
				out.AddPartition(p.members[owner].join, topic.name, k.partition)
			}
		}
	}
	return out
}

// reach says which tasks level may touch.
type reach bool

const (
	looseOnly reach = false // tasks nobody holds
	heldToo   reach = true  // others as well: each is a move
)

// level evens out the loads: while some member has at least two tasks more than another to which a chain of moves leads,
// it shifts one task along that chain. Fullest members come first and cheapest chains are taken, so with equal
// subscriptions no task moves that need not.
//
// When no such chain is left, the sum of the squared loads is the least possible (it is a convex cost flow, and a chain
// is what a negative cycle is there). That is why a rebalance settles in two rounds. The tasks given up in the first are
// loose in the second, and to place them as the first round planned is one way to reach the best sum. Levelling loose
// tasks alone finds the best sum among all ways to place them, hence that one, and leaves nothing to move.
func (p *plan) level(r reach) {
	// A member from which no chain leads down is done with: a later chain starts no higher, so if it touched anybody this
	// one reaches, its end would be two lower than this one, too.
	done := make([]bool, len(p.members))
	var from []int32
	for from = p.fullest(from, done); len(from) > 0; from = p.fullest(from, done) {
		if to := p.path.find(p, from, r); to != nobody {
			p.shift(to)
			continue
		}
		for _, m := range from {
			done[m] = true
		}
	}
}

// fullest returns the members with the most tasks that are not done with, or none if they have not two more than the
// emptiest. It uses the memory of into.
func (p *plan) fullest(into []int32, done []bool) []int32 {
	into = into[:0]
	if len(p.load) == 0 {
		return into
	}
	most := slices.Min(p.load) + 2
	for m, load := range p.load {
		if done[m] || load < most {
			continue
		}
		if load > most {
			most, into = load, into[:0]
		}
		into = append(into, int32(m))
	}
	return into
}

// shift moves one task along each step of the chain found last, from its end to its start: to gains one, the member where
// the chain starts loses one, those in between pass one on.
func (p *plan) shift(to int32) {
	for s := p.path.via[to]; s.member != nobody; s = p.path.via[to] {
		p.give(p.take(s.member, s.job), to)
		to = s.member
	}
}
