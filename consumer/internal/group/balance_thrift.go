package group

import "slices"

// thrift is the search for needless moves in a levelled plan. Its graph has a node for each member, each job topic and
// each load, and an arc wherever one task can be shifted without making the loads less even:
//
//	member -> job topic   the member gives a task away: one move if it has no more than it holds, else none
//	job topic -> member   the member gets one: one move less if it has fewer than it holds
//	member -> load        the member may end with one task more, if one of the members ...
//	load -> member        ... that have just one more ends with one less
//
// A cycle is a way to shift tasks that leaves the loads as even as they were, and its cost is by how much it changes the
// number of moves. A plan without cycles of negative cost has the fewest moves of all plans that are as even (again
// because this is a cost flow).
type thrift struct {
	p    *plan
	arcs []arc
	cost []int32 // by node: the cheapest way to it found so far
	prev []int32 // by node: the node before it on that way, or nobody
}

// arc leads from one node to another.
type arc struct{ from, to, cost int32 }

// save takes back all moves that the balance does not need. level leaves none if all members have the same subscription,
// few otherwise.
//
// Fewest moves are also what brings a group to rest in two rounds, without pausing a task that stays. In the second
// round, what was given up in the first is held by nobody. Placing it as the first round planned is one of the evenest
// plans and has no move, so the second round plans none. And if it gave a task back to who gave it up, that would have
// been a plan with fewer moves for the first.
func (p *plan) save() {
	t := &thrift{p: p}
	for {
		t.build()
		cycle := t.negative()
		if cycle == nil {
			return
		}
		t.apply(cycle)
	}
}

// build makes the graph of the plan as it is. Nodes: members, then job topics, then loads from the least.
func (t *thrift) build() {
	p := t.p
	jobs, loads, nodes := int32(len(p.members)), int32(len(p.members)+len(p.jobs)), len(p.members)+len(p.jobs)
	least := 0
	if len(p.load) > 0 {
		least = slices.Min(p.load)
		nodes += slices.Max(p.load) - least + 1
	}
	t.arcs = t.arcs[:0]
	for j := range p.jobs {
		job := jobs + int32(j)
		for _, m := range p.jobs[j].eligible {
			have, held := p.have[m][j], p.held[m][j]
			if have > 0 {
				t.arcs = append(t.arcs, arc{from: m, to: job, cost: oneIf(have <= held)})
			}
			t.arcs = append(t.arcs, arc{from: job, to: m, cost: -oneIf(have < held)})
		}
	}
	for m, load := range p.load {
		level := loads + int32(load-least)
		t.arcs = append(t.arcs, arc{from: int32(m), to: level})
		if load > least {
			t.arcs = append(t.arcs, arc{from: level - 1, to: int32(m)})
		}
	}
	t.cost, t.prev = make([]int32, nodes), make([]int32, nodes)
	for i := range t.prev {
		t.prev[i] = nobody
	}
}

// negative returns the nodes of a cycle of negative cost, in its direction, or nil if there is none: the algorithm of
// Bellman and Ford, from all nodes at once.
func (t *thrift) negative() []int32 {
	last := nobody // a node still found cheaper in the last pass
	for range t.cost {
		last = nobody
		for _, a := range t.arcs {
			if c := t.cost[a.from] + a.cost; c < t.cost[a.to] {
				t.cost[a.to], t.prev[a.to] = c, a.from
				last = a.to
			}
		}
		if last == nobody {
			return nil
		}
	}
	if last == nobody {
		return nil // no node at all
	}
	for range t.cost { // the way to last leads out of a cycle: go back into it
		last = t.prev[last]
	}
	cycle := []int32{last}
	for n := t.prev[last]; n != last; n = t.prev[n] {
		cycle = append(cycle, n)
	}
	slices.Reverse(cycle)
	return cycle
}

// apply shifts tasks along a cycle.
func (t *thrift) apply(cycle []int32) {
	members, jobs := int32(len(t.p.members)), int32(len(t.p.jobs))
	for i, n := range cycle {
		if job := n - members; job >= 0 && job < jobs {
			from, to := cycle[(i+len(cycle)-1)%len(cycle)], cycle[(i+1)%len(cycle)]
			t.p.shift(from, to, job)
		}
	}
}

func oneIf(yes bool) int32 {
	if yes {
		return 1
	}
	return 0
}
