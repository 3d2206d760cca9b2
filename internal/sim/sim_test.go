package sim

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this seed only, with the instances' logs")
	seedsFlag = flag.Int("seeds", 0, "how many seeds to run, -parallel of them at once; 0: 100, or 25 with -short")
	firstFlag = flag.Uint64("first", 1, "the first of them")
	stopFlag  = flag.Bool("stop", false, "skip the rest once a seed has failed")
)

func TestSeeds(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	if *seedFlag != 0 {
		play1(t, *seedFlag, zaptest.NewLogger(t))
		return
	}
	seeds := *seedsFlag
	if seeds == 0 {
		seeds = 100
		if testing.Short() {
			seeds = 25
		}
	}
	total := Counts{}
	var mu sync.Mutex
	var failed atomic.Bool
	t.Run("all", func(t *testing.T) {
		for i := range seeds {
			seed := *firstFlag + uint64(i)
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				t.Parallel()
				if *stopFlag && failed.Load() {
					t.SkipNow()
				}
				defer func() { failed.Store(failed.Load() || t.Failed()) }()
				counts := play1(t, seed, zap.NewNop())
				mu.Lock()
				defer mu.Unlock()
				for k, n := range counts {
					total[k] += n
				}
			})
		}
	})
	t.Logf("%d seeds: %v", seeds, total)
	for _, must := range steps {
		if total[must] == 0 && seeds >= 25 {
			t.Errorf("in %d seeds there was not one %s: the simulation does not reach it any more", seeds, must)
		}
	}
}

// steps is what must happen in a set of seeds, or they prove less than they seem to.
var steps = []string{"kill", "kill at an effect", "stop", "join", "cut", "heal", "zombie", "leader_move", "refuse", "rewind", "offsets_lost", "duplicate", "redriven",
	"hop", "letter", "rerun", "takeover", "done", "dead", "discarded", "duplicate record", "stale record", "conflict", "expired", "log entry", "commit seen", "emitted",
	"slow poll", "disk empty", "disk stale", "disk found", "reconciled",
	"set aside", "read again", "release by redrive", "release by forget"}

// alone is held by the seed that uses Pebble, which keeps channels in a sync.Pool: those of one synctest bubble must not be
// found in another. Two collections empty a pool.
var alone sync.Mutex

// play1 runs a seed. What it finds begins with the seed and the reason, in a line.
func play1(t *testing.T, seed uint64, log *zap.Logger) (counts Counts) {
	if onDisk(seed) {
		alone.Lock()
		defer alone.Unlock()
		runtime.GC()
		runtime.GC()
	}
	synctest.Test(t, func(t *testing.T) {
		res, c, err := Run(seed, log)
		counts = c
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		if !res.OK() {
			t.Errorf("seed %d: %s", seed, Reason(res))
		}
		if testing.Verbose() {
			t.Logf("seed %d: %v %v", seed, c, res.Stats)
		}
	})
	return counts
}
