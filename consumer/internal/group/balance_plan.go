package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// plan is the assignment in the making. It is made in numbers first: how many tasks of each job topic each member gets
// (have), compared with how many it holds now (held). Which tasks these are follows at the end, in deal: a member keeps of
// its own as many as it may. So a member with have < held has to give some up, which makes so many moves, and one with
// have > held gets some that were given up or that nobody held.
type plan struct {
	*round
	owner []int32   // by task; nobody if it has none
	load  []int     // by member: its tasks of all job topics
	have  [][]int32 // by member, by job topic; without frozen job topics, which nothing is dealt out of
	held  [][]int32 // likewise
}

func newPlan(r *round) *plan {
	p := &plan{
		round: r,
		owner: make([]int32, len(r.tasks)),
		load:  make([]int, len(r.members)),
		have:  make([][]int32, len(r.members)),
		held:  make([][]int32, len(r.members)),
	}
	for i := range p.owner {
		p.owner[i] = nobody
	}
	for m := range r.members {
		p.have[m], p.held[m] = make([]int32, len(r.jobs)), make([]int32, len(r.jobs))
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
		for t, h := range k.holders {
			if p.keeps(k, t, h.member) {
				parts[h.member]++
			}
		}
		best := nobody
		for _, h := range k.holders {
			if h.member != nobody && parts[h.member] > 0 && (best == nobody || p.sticksBetter(h.member, best, parts)) {
				best = h.member
			}
		}
		if p.owner[i] = best; best == nobody {
			continue
		}
		p.load[best]++
		if !p.jobs[k.job].frozen {
			p.have[best][k.job]++
			p.held[best][k.job]++
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

// sticksBetter reports whether a task should rather stay with member a than with b, given how many of its partitions
// each member keeps.
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

// place adds every task without owner to the eligible member with the fewest tasks; of equals to the one with the fewest
// of that job topic, which spreads each of several job topics evenly, then to the first.
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
		p.have[best][job]++
		p.load[best]++
	}
}

// lighter reports whether member a should get a task of job before b does, all else being equal.
func (p *plan) lighter(a, b, job int32) bool {
	if p.load[a] != p.load[b] {
		return p.load[a] < p.load[b]
	}
	return p.have[a][job] < p.have[b][job]
}

// shift takes one task of job from one member and gives it to another.
func (p *plan) shift(from, to, job int32) {
	p.have[from][job]--
	p.load[from]--
	p.have[to][job]++
	p.load[to]++
}

// level evens out the loads: while a chain of shifts leads from a fullest member to one with at least two tasks less, it
// goes along that chain. When no such chain is left, the sum of the squared loads is the least possible (it is a convex
// cost flow, and such a chain is what a negative cycle is there).
func (p *plan) level() {
	// A member from which no chain leads down is done with: a later chain starts no higher, so if it touched anybody this
	// one reaches, its end would be two lower than this one, too.
	done := make([]bool, len(p.members))
	chains := newChains(len(p.members), len(p.jobs))
	for from := p.fullest(done); from != nobody; from = p.fullest(done) {
		to := chains.find(p, from)
		if to == nobody {
			done[from] = true
			continue
		}
		for to != from {
			s := chains.via[to]
			p.shift(s.member, to, s.job)
			to = s.member
		}
	}
}

// fullest returns the member with the most tasks that is not done with, the first of equals, or nobody if it has not two
// more than the emptiest.
func (p *plan) fullest(done []bool) int32 {
	best := nobody
	for m := range p.load {
		if !done[m] && (best == nobody || p.load[m] > p.load[best]) {
			best = int32(m)
		}
	}
	if best == nobody || p.load[best] < slices.Min(p.load)+2 {
		return nobody
	}
	return best
}

// deal turns numbers into tasks. Every member keeps the first of those it holds, as many as it may; what is left goes in
// order to those who have fewer than they should.
func (p *plan) deal() {
	for j := range p.jobs {
		job := &p.jobs[j]
		if job.frozen {
			continue
		}
		owner := p.owner[job.first : job.first+int(job.extent)]
		open := make([]int32, len(p.members)) // how many each is still to get
		for _, m := range job.eligible {
			open[m] = p.have[m][j]
		}
		for i, m := range owner {
			if m == nobody {
				continue
			}
			if open[m] > 0 {
				open[m]--
			} else {
				owner[i] = nobody
			}
		}
		next := 0
		for i := range owner {
			if owner[i] != nobody {
				continue
			}
			for open[job.eligible[next]] == 0 {
				next++
			}
			owner[i] = job.eligible[next]
			open[owner[i]]--
		}
	}
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
