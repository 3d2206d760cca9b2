package group

import (
	"cmp"
	"slices"
)

// chains searches chains of shifts: from a member over a job topic of which it has a task to a member that may own that
// task, and on. Its slices are reused from one search to the next.
type chains struct {
	via      []step  // by member: how it was reached in the last search
	reached  []bool  // by member
	expanded []bool  // by job topic: all its eligible members are reached
	queue    []int32 // members in the order in which they were reached
	order    []int32 // job topics, scratch of bySize
}

// step leads from a member by a task of a job topic.
type step struct{ member, job int32 }

func newChains(members, jobs int) *chains {
	return &chains{
		via:      make([]step, members),
		reached:  make([]bool, members),
		expanded: make([]bool, jobs),
	}
}

// find searches a shortest chain that leads from a member to one with at least two tasks less, and of those the one to the
// member with the fewest. It returns that member, with the chain in via, or nobody. It is a breadth-first search.
func (c *chains) find(p *plan, from int32) int32 {
	clear(c.reached)
	clear(c.expanded)
	c.queue = append(c.queue[:0], from)
	c.reached[from] = true
	for start := 0; start < len(c.queue); {
		end := len(c.queue)
		for _, m := range c.queue[start:end] {
			c.leave(p, m)
		}
		best := nobody
		for _, m := range c.queue[end:] {
			if p.load[m] <= p.load[from]-2 && (best == nobody || p.lighter(m, best, c.via[m].job)) {
				best = m
			}
		}
		if best != nobody {
			return best
		}
		start = end
	}
	return nobody
}

// leave reaches all members to which a task of m can go.
func (c *chains) leave(p *plan, m int32) {
	for _, job := range c.bySize(p, m) {
		c.expanded[job] = true
		for _, to := range p.jobs[job].eligible {
			if !c.reached[to] {
				c.reached[to] = true
				c.via[to] = step{member: m, job: job}
				c.queue = append(c.queue, to)
			}
		}
	}
}

// bySize returns the job topics not expanded yet of which m has tasks, those of which it has most first: what is shifted
// comes from the job topic that is least evenly spread, not all from the first.
func (c *chains) bySize(p *plan, m int32) []int32 {
	c.order = c.order[:0]
	for job := range p.jobs {
		if !c.expanded[job] && p.have[m][job] > 0 {
			c.order = append(c.order, int32(job))
		}
	}
	slices.SortStableFunc(c.order, func(a, b int32) int { return cmp.Compare(p.have[m][b], p.have[m][a]) })
	return c.order
}
