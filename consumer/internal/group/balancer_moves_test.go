package group_test

import "maps"

// tally is what a group looked like before it settled: the tasks that had one owner beyond doubt, and all else it takes
// to say how few moves were possible.
type tally struct {
	owner map[partition]*simMember // tasks with one current owner
	clean bool                     // no claim was doubtful, no task in several hands
	equal bool                     // all members had the same subscription
}

// tally describes the group as it is now.
func (s *sim) tally() tally {
	t := tally{owner: map[partition]*simMember{}, clean: true, equal: true}
	for _, m := range s.members {
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

// checkMoves: no more tasks moved than had to. With equal subscriptions that is a sum, else small groups are searched
// through.
func (s *sim) checkMoves(before tally) {
	s.t.Helper()
	moved := 0
	for task, m := range before.owner {
		if !m.owned[task] {
			moved++
		}
	}
	least := 0
	switch {
	case !before.clean:
		return
	case before.equal:
		least = s.leastMoves(before)
	case !s.small():
		return
	default:
		least = s.searchLeastMoves(before)
	}
	if moved != least {
		s.t.Fatalf("%d tasks moved, %d would have done\n%v", moved, least, s)
	}
}

// small reports whether searchLeastMoves takes no more than a moment.
func (s *sim) small() bool {
	ways := 1
	for topic, n := range s.counts {
		for range n {
			if topic == primaryOf(topic) {
				ways *= max(1, len(s.subscribers(topic)))
			}
			if ways > 4096 {
				return false
			}
		}
	}
	return true
}

// searchLeastMoves goes through all plans, and returns the number of moves of the best: the evenest, then the one with
// the fewest moves.
func (s *sim) searchLeastMoves(before tally) int {
	var tasks []partition
	for _, topic := range keys(s.counts) {
		for i := range s.counts[topic] {
			if topic == primaryOf(topic) && len(s.subscribers(topic)) > 0 {
				tasks = append(tasks, partition{topic, i})
			}
		}
	}
	load := map[*simMember]int{}
	bestSquares, bestMoves := -1, 0
	var try func(rest []partition, moves int)
	try = func(rest []partition, moves int) {
		if len(rest) > 0 {
			for _, m := range s.subscribers(rest[0].topic) {
				load[m]++
				if was := before.owner[rest[0]]; was != nil && was != m {
					try(rest[1:], moves+1)
				} else {
					try(rest[1:], moves)
				}
				load[m]--
			}
			return
		}
		squares := 0
		for _, n := range load {
			squares += n * n
		}
		if bestSquares < 0 || squares < bestSquares || squares == bestSquares && moves < bestMoves {
			bestSquares, bestMoves = squares, moves
		}
	}
	try(tasks, 0)
	return bestMoves
}

// subscribers returns the members that consume a topic.
func (s *sim) subscribers(topic string) []*simMember {
	var out []*simMember
	for _, m := range s.members {
		if m.subs[topic] {
			out = append(out, m)
		}
	}
	return out
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
