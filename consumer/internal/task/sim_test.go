package task

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	simSeed = flag.Uint64("task.seed", 0, "run the simulation of this seed only, and print its trace")
	simRuns = flag.Int("task.runs", 4000, "simulated histories")
	simFrom = flag.Uint64("task.first", 1, "the seed of the first of them")
)

// sim drives a world by choices. A source of choices is all that a history depends on, so that it replays.
type sim struct {
	*world
	choose func(n int) int // 0 to n-1; -1 when there are no more
	left   map[string]int  // faults left
	count  map[string]int  // steps taken, by name
	jobs   int
	ended  bool // choices ran out
	freed  int  // redrives in peace of what holds a key

	starting map[*Entry]start // marked attempts
	begun    map[run]int      // whose handlers were called
	deaths   map[run]int      // of owners in force, while the handler was running
}

func (s *sim) pick(n int) int {
	if n <= 1 {
		return 0
	}
	c := s.choose(n)
	if c < 0 {
		s.ended = true
		return 0
	}
	return c
}

func (s *sim) one(n int) bool { return s.pick(n) == n-1 } // rarely true; false when choices ran out

type step struct {
	weight int
	name   string
	do     func()
}

func newSim(choose func(int) int, trace func(string, ...any)) *sim {
	s := &sim{world: newWorld(), choose: choose, left: map[string]int{}, count: map[string]int{}, starting: map[*Entry]start{}, begun: map[run]int{}, deaths: map[run]int{}}
	s.trace = trace
	return s
}

// simulate runs one history: a random part with faults, then peace until everything is final, then a drain.
func simulate(choose func(int) int, steps int, trace func(string, ...any)) (s *sim) {
	s = newSim(choose, trace)
	s.part = 1 + s.pick(3)
	s.chain = s.pick(2) * (1 + s.pick(4))
	if s.one(2) {
		s.readAhead = 3 * time.Second
	}
	if s.one(3) {
		s.limits = Limits{Records: 3, Bytes: 1 << 20, Tier: 3, Ahead: 4, Reruns: 3}
		if !s.one(3) { // while it is registered nothing is set aside
			delete(s.kinds, until)
		}
	}
	s.left = map[string]int{"crash": 2, "zombie": 2, "killer": s.pick(3), "dup": 2, "lose": 1, "rewind": 1, "redrive": 3, "abandon": 1, "revoke": 2, "lease": 2, "tier late": 1, "fuse": 2, "forget": 1, "comes back": 1}
	for i := 0; i < steps && !s.ended && s.violation == ""; i++ {
		s.step()
	}
	if s.violation == "" {
		s.peace()
	}
	return s
}

func (s *sim) step() {
	var all []step
	add := func(weight int, name string, do func()) { all = append(all, step{weight, name, do}) }
	s.clusterSteps(add)
	for _, p := range s.procs {
		if !p.gone {
			s.procSteps(p, func(weight int, name string, do func()) {
				add(weight, name, func() {
					if !p.gone { // it may end before its step, with effects that waited
						do()
					}
				})
			})
		}
	}
	total := 0
	for _, x := range all {
		total += x.weight
	}
	n := s.pick(total)
	for _, x := range all {
		if n -= x.weight; n < 0 {
			s.take(x)
			return
		}
	}
}

func (s *sim) take(x step) {
	lazy := strings.HasPrefix(x.name, "input ") && s.one(4) // the next input comes before the effects are carried out
	for _, p := range s.procs {
		if p.lazy && !strings.HasPrefix(x.name, "input ") {
			p.lazy = false
			p.carry()
		}
	}
	before := s.lazies(lazy)
	s.count[x.name]++
	s.trace("# %s", x.name)
	x.do()
	if !lazy {
		for _, p := range before {
			p.lazy = false
			p.carry()
		}
		s.check()
		s.checkDeaths()
	}
}

func (s *sim) lazies(on bool) (was []*proc) {
	for _, p := range s.procs {
		if p.lazy {
			was = append(was, p)
		}
		if on && !p.gone {
			p.lazy = true
		}
	}
	return was
}

func (s *sim) fault(name string) bool { return s.left[name] > 0 }

// random is a source of choices from a seed.
func random(seed uint64) func(int) int {
	r := rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15))
	return r.IntN
}

// TestSimulation runs thousands of random histories and checks the invariants after each step. A failure prints its seed;
// -task.seed replays it with its trace.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		explain(t, random(*simSeed), 150)
		return
	}
	runs := *simRuns
	if testing.Short() {
		runs /= 10
	}
	count := map[string]int{}
	for seed := *simFrom; seed < *simFrom+uint64(runs); seed++ {
		s := simulate(random(seed), 150, func(string, ...any) {})
		if s.violation != "" {
			t.Errorf("seed %d: %s\nreplay with: go test ./consumer/internal/task -run TestSimulation -task.seed %d", seed, s.violation, seed)
			explain(t, random(seed), 150)
			return
		}
		for k, n := range s.count {
			count[k] += n
		}
		count["crash between two effects"] += s.burnt
		count["follow"] += s.follows
		count["hold a key"] += s.holders
		count["redrive what holds a key"] += s.freed
	}
	for _, must := range []string{"produce", "rewind", "lose offsets", "redrive", "orphan lands", "crash", "zombie", "zombie notices", "revoke", "drain takes too long",
		"lease ends", "tier comes later", "log refused", "log ack lost", "input write refused", "input write ack lost", "commit", "input progress", "emit", "start", "crash between two effects",
		"double enqueue", "conflict", "double redrive", "late ack", "orphan lands beside a running owner", "start suspect", "start alone", "input reread", "poison", "follow", "hold a key", "redrive what holds a key",
		"forget", "input log end"} {
		if count[must] == 0 && runs >= 2000 {
			t.Errorf("no history had the step %q", must)
		}
	}
	if testing.Verbose() {
		for _, k := range slices.Sorted(maps.Keys(count)) {
			t.Logf("%8d %s", count[k], k)
		}
	}
}

// TestSeedsRepeat: a history follows from its seed alone, to the last word of its trace. So no effect of the machine follows
// from the order of a map, nor from a clock.
func TestSeedsRepeat(t *testing.T) {
	trace := func(seed uint64) (sum [sha256.Size]byte, lines []string) {
		s := simulate(random(seed), 150, func(format string, a ...any) { lines = append(lines, fmt.Sprintf(format, a...)) })
		lines = append(lines, s.violation)
		return sha256.Sum256([]byte(strings.Join(lines, "\n"))), lines
	}
	runs := min(*simRuns, 400)
	for seed := uint64(1); seed <= uint64(runs); seed++ {
		once, first := trace(seed)
		twice, second := trace(seed)
		if once == twice {
			continue
		}
		at := 0
		for at < min(len(first), len(second)) && first[at] == second[at] {
			at++
		}
		t.Fatalf("seed %d: two runs differ from line %d on:\n%s\n\n%s", seed, at, strings.Join(first[at:min(at+5, len(first))], "\n"), strings.Join(second[at:min(at+5, len(second))], "\n"))
	}
}

func explain(t *testing.T, choose func(int) int, steps int) {
	var b strings.Builder
	s := simulate(choose, steps, func(format string, a ...any) { fmt.Fprintf(&b, format+"\n", a...) })
	lines := strings.Split(b.String(), "\n")
	if n, _ := strconv.Atoi(os.Getenv("TASK_TRACE_LINES")); n > 0 && len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	t.Logf("%s", strings.Join(lines, "\n"))
	if s.violation != "" {
		t.Fatal(s.violation)
	}
}

// FuzzMachine lets the fuzzer choose the steps of a history; each byte or two is a choice.
func FuzzMachine(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 8 {
		b := make([]byte, 40*(n+1))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		bytes := func() func(int) int {
			rest := data
			return func(n int) int {
				if len(rest) < 2 {
					return -1
				}
				if n <= 256 {
					c := int(rest[0]) % n
					rest = rest[1:]
					return c
				}
				c := int(binary.LittleEndian.Uint16(rest)) % n
				rest = rest[2:]
				return c
			}
		}
		if s := simulate(bytes(), 300, func(string, ...any) {}); s.violation != "" {
			explain(t, bytes(), 300)
		}
	})
}
