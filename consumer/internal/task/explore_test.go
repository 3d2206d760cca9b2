package task

import (
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

var (
	exploreMost  = flag.Int("task.explore", 1_500, "how many states of each scene are looked at, 0 for all")
	explorePeace = flag.Int("task.peace", 16, "of how many states one must find its peace, once no more faults happen")
)

// scene is where an exploration begins: what stands in the job topic, and how many faults of each kind may happen. One tier.
type scene struct {
	name   string
	jobs   []job.Message
	faults map[string]int
}

var scenes = []scene{
	{"one job, a crash", []job.Message{msg("keyed", "a", "k")}, map[string]int{"crash": 1}},
	{"one job fails, a crash", []job.Message{msg("keyed", "a", "k")}, map[string]int{"fail": 1, "crash": 1}},
	{"the same job twice, a zombie", []job.Message{msg("keyed", "a", "k"), msg("keyed", "a", "k")}, map[string]int{"zombie": 1, "fail": 1}},
	{"two jobs of a key, a zombie and a crash", []job.Message{msg("keyed", "a", "k"), msg("keyed", "b", "k")}, map[string]int{"zombie": 1, "crash": 1}},
	{"dead, redriven twice, a zombie", []job.Message{msg("keyed", "a", "k")}, map[string]int{"dead": 1, "redrive": 2, "zombie": 1}},
	{"at least once, a copy, a crash, offsets lost", []job.Message{msg("again", "a", "k"), msg("again", "b", "k")}, map[string]int{"fail": 1, "crash": 1, "lose": 1}},
	{"at most once, a crash, a zombie", []job.Message{msg("once", "a", "k")}, map[string]int{"crash": 1, "zombie": 1}},
	{"reconciled, a crash, a rewind", []job.Message{msg("asked", "a", "k")}, map[string]int{"crash": 1, "rewind": 1, "fail": 1}},
	{"strict, its head fails, a crash", []job.Message{msg("strict", "a", "k"), msg("strict", "b", "k")}, map[string]int{"fail": 1, "crash": 1}},
	{"it holds its key, dead and redriven, a zombie", []job.Message{msg("holder", "a", "k"), msg("holder", "b", "k")}, map[string]int{"dead": 1, "redrive": 1, "zombie": 1}},
	{"until done, enqueued again, a zombie", []job.Message{msg(until, "a", "k"), msg(until, "a", "k")}, map[string]int{"zombie": 1, "fail": 1}},
	{"three owners, each dies with the job", []job.Message{msg("keyed", "a", "k")}, map[string]int{"crash": 3}},
	{"an ack is lost, a segment lands twice, a revoke", []job.Message{msg("keyed", "a", "k")}, map[string]int{"unsaid": 1, "dup": 1, "revoke": 1}},
	{"refused writes, a rewind under a zombie", []job.Message{msg("keyed", "a", "k")}, map[string]int{"refuse": 1, "fail": 1, "rewind": 1, "zombie": 1}},
}

// begin is the world of a scene, before its first step.
func (c scene) begin(trace func(string, ...any)) *sim {
	s := newSim(func(int) int { return 0 }, trace)
	s.world.tiers, s.topics = s.world.tiers[:1], s.topics[:2]
	s.plan, _ = retrytopics.NewPlan([]time.Duration{s.world.tiers[0].Delay})
	maps.DeleteFunc(s.kinds, func(name string, _ *Kind) bool {
		return name != "free" && !slices.ContainsFunc(c.jobs, func(m job.Message) bool { return m.Kind == name })
	})
	maps.Copy(s.left, c.faults)
	for _, m := range c.jobs {
		s.produce(m)
	}
	s.assign("p0")
	return s
}

// node is a state that was found: the step that led to it, and from which.
type node struct {
	from int32
	step uint16
}

// search goes through the states of a scene breadth first, so that the first history found to break an invariant is a shortest one.
// A machine cannot be copied: a state is reached again by taking its steps again.
type search struct {
	scene
	nodes []node
	found map[uint64]bool
	digest
}

func (x *search) path(at int32) (steps []uint16) {
	for ; x.nodes[at].from >= 0; at = x.nodes[at].from {
		steps = append(steps, x.nodes[at].step)
	}
	slices.Reverse(steps)
	return steps
}

func (x *search) replay(steps []uint16, trace func(string, ...any)) *sim {
	s := x.begin(trace)
	for _, n := range steps {
		m := s.menu()[n]
		s.trace("# %s", m.name)
		m.do()
		s.settleLocal()
	}
	return s
}

// run looks at up to most states, all when it is 0, and returns how deep it came and whether there are no more; or the
// steps to a violation.
func (x *search) run(most, peace int) (depth int, all bool, wrong []uint16) {
	x.nodes, x.found = []node{{from: -1}}, map[uint64]bool{x.digest.of(x.begin(silent)): true}
	for at := int32(0); int(at) < len(x.nodes); at++ {
		steps := x.path(at)
		depth = len(steps)
		for n := range x.replay(steps, silent).menu() {
			next := append(steps[:depth:depth], uint16(n))
			s := x.replay(next, silent)
			if s.check(); s.violation != "" {
				return depth + 1, false, next
			}
			d := x.digest.of(s)
			if x.found[d] {
				continue
			}
			x.found[d] = true
			x.nodes = append(x.nodes, node{at, uint16(n)})
			if len(x.nodes)%peace == 0 {
				if s.peace(); s.violation != "" {
					return depth + 1, false, next
				}
			}
			if len(x.nodes) == most {
				return depth + 1, false, nil
			}
		}
	}
	return depth, true, nil
}

func silent(string, ...any) {}

// TestExplore takes the machine itself through every order of events that a scene allows, breadth first, and holds all invariants
// against each state; from every few of them, and from all with -task.peace 1, what was accepted must become final. As a test it
// looks at the first thousands of states of each scene.
//
//	go test ./consumer/internal/task -run TestExplore -task.explore 0 -task.peace 1 -v -timeout 0
func TestExplore(t *testing.T) {
	for _, c := range scenes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := search{scene: c}
			depth, all, wrong := x.run(*exploreMost, *explorePeace)
			t.Logf("%d states, up to %d steps, all of them: %v", len(x.nodes), depth, all)
			if wrong == nil {
				return
			}
			var b strings.Builder
			s := x.replay(wrong, func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) })
			if s.check(); s.violation == "" {
				s.trace("# peace")
				s.peace()
			}
			t.Fatalf("scene %s, %d steps: %s\n%s", c.name, len(wrong), s.violation, b.String())
		})
	}
}
