package group_test

import "maps"

// tally is what a group looked like before it settled: the tasks that had one owner beyond doubt, and all else it takes
// to say how few moves were possible.
type tally struct {
	owner map[partition]*simMember // tasks with one current owner
	had   map[*simMember]map[partition]bool
	clean bool // no claim was doubtful, no task in several hands
	equal bool // all members had the same subscription
	fit   bool // balanced as it was, with every task owned
}

// tally describes the group as it is now.
func (s *sim) tally() tally {
	t := tally{owner: map[partition]*simMember{}, had: map[*simMember]map[partition]bool{}, clean: true, equal: true}
	for _, m := range s.members {
		t.had[m] = maps.Clone(m.owned)
		t.equal = t.equal && maps.Equal(m.subs, s.members[0].subs)
		believed := m.gen == s.gen || m.instance != "" && m.gen < s.gen
		for task := range tasksOf(m.owned) {
			switch {
			case len(s.ownersOf(task)) > 1 || !believed || !m.subs[task.topic] || !s.exists(task):
				t.clean = false
			default:
				t.owner[task] = m
			}
		}
	}
	return t
}

// checkUnmoved: a task that is with the same owner after as before never lost a partition in between.
func (s *sim) checkUnmoved(before tally, everLost map[*simMember]map[partition]bool) {
	s.t.Helper()
	for task, m := range before.owner {
		if !m.owned[task] {
			continue
		}
		for p := range everLost[m] {
			if p.task() == task && s.exists(p) && m.subs[p.topic] {
				s.t.Fatalf("%s kept %v, but lost %v for a round\n%v", m.id, task, p, s)
			}
		}
	}
}

// checkMoves: with equal subscriptions no more tasks moved than had to.
func (s *sim) checkMoves(before tally) {
	s.t.Helper()
	if !before.clean || !before.equal {
		return
	}
	moved := 0
	for task, m := range before.owner {
		if !m.owned[task] {
			moved++
		}
	}
	if least := s.leastMoves(before); moved != least {
		s.t.Fatalf("%d tasks moved, %d would have done\n%v", moved, least, s)
	}
}

// leastMoves is how many tasks have to leave their owner: all members end with floor or floor+1 tasks, and as many as
// possible of those that had more keep floor+1.
func (s *sim) leastMoves(before tally) int {
	total := 0
	for topic, n := range s.counts {
		if primaryOf(topic) == topic && len(s.members) > 0 && s.members[0].subs[topic] {
			total += int(n)
		}
	}
	had := map[*simMember]int{}
	for _, m := range before.owner {
		had[m]++
	}
	floor, extra := 0, 0
	if n := len(s.members); n > 0 {
		floor, extra = total/n, total%n
	}
	least := 0
	for _, n := range had {
		keep := min(n, floor)
		if n > floor && extra > 0 {
			keep, extra = floor+1, extra-1
		}
		least += n - keep
	}
	return least
}
