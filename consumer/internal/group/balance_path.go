package group

import (
	"cmp"
	"slices"
)

// pathfinder searches chains of moves: from a member over a job topic of which it has a task to a member that may own
// that task, and on. A step with a loose task is free, one with a held task costs a move. Its slices are reused from one
// search to the next.
type pathfinder struct {
	via      []step  // by member: how it was reached in the last search; from nobody, where the search began
	reached  []bool  // by member
	expanded []bool  // by job topic: all its eligible members are reached
	queue    []int32 // members in the order in which they were reached
	costly   []step  // steps that cost one move more
	order    []int32 // job topics, scratch of byPile
}

// step leads from a member by a task of a job topic.
type step struct{ member, job int32 }

func newPathfinder(members, jobs int) pathfinder {
	return pathfinder{
		via:      make([]step, members),
		reached:  make([]bool, members),
		expanded: make([]bool, jobs),
	}
}

// find searches the cheapest chain that leads from any member of from, which all have the same number of tasks, to one
// with at least two tasks less, and of equally cheap ones that to the member with the fewest. It returns that member, with
// the chain in via, or nobody. It is a breadth-first search with costs 0 and 1: all that is reached at one cost is looked
// at before the next.
func (f *pathfinder) find(p *plan, from []int32, r reach) int32 {
	clear(f.reached)
	clear(f.expanded)
	f.costly = f.costly[:0]
	f.queue = append(f.queue[:0], from...)
	for _, m := range from {
		f.reached[m] = true
		f.via[m] = step{member: nobody}
	}
	best := nobody
	for next := 0; ; {
		for ; next < len(f.queue); next++ {
			m := f.queue[next]
			if p.load[m] <= p.load[from[0]]-2 && (best == nobody || p.lighter(m, best, f.via[m].job)) {
				best = m
			}
			f.leave(p, m, r)
		}
		if best != nobody || len(f.costly) == 0 {
			return best
		}
		for _, s := range f.costly {
			f.expand(p, s)
		}
		f.costly = f.costly[:0]
	}
}

// leave takes all steps that lead on from m: free ones at once, costly ones later.
func (f *pathfinder) leave(p *plan, m int32, r reach) {
	for _, job := range f.byPile(p, m) {
		s := step{member: m, job: job}
		switch pile := p.piles[m][job]; {
		case len(pile.loose) > 0:
			f.expand(p, s)
		case len(pile.held) > 0 && r == heldToo:
			f.costly = append(f.costly, s)
		}
	}
}

// expand reaches all members that may own a task of the step's job topic.
func (f *pathfinder) expand(p *plan, s step) {
	if f.expanded[s.job] {
		return
	}
	f.expanded[s.job] = true
	for _, m := range p.jobs[s.job].eligible {
		if !f.reached[m] {
			f.reached[m] = true
			f.via[m] = s
			f.queue = append(f.queue, m)
		}
	}
}

// byPile returns the job topics not expanded yet, those of which m has most tasks first: what is moved comes from the
// job topic that is least evenly spread, not all from the first.
func (f *pathfinder) byPile(p *plan, m int32) []int32 {
	f.order = f.order[:0]
	for job := range p.jobs {
		if !f.expanded[job] && p.piles[m][job].size() > 0 {
			f.order = append(f.order, int32(job))
		}
	}
	slices.SortStableFunc(f.order, func(a, b int32) int {
		return cmp.Compare(p.piles[m][b].size(), p.piles[m][a].size())
	})
	return f.order
}
