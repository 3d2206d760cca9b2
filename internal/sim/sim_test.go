package sim

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this seed only, with the instances' logs")
	seedsFlag = flag.Int("seeds", 0, "how many seeds to run; 0: 100, or 25 with -short")
	firstFlag = flag.Uint64("first", 1, "the first of them")
)

func TestSeeds(t *testing.T) {
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
	for i := range seeds {
		seed := *firstFlag + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for k, n := range play1(t, seed, zap.NewNop()) {
				total[k] += n
			}
		})
	}
	t.Logf("%d seeds: %v", seeds, total)
	for _, must := range steps {
		if total[must] == 0 && seeds >= 25 {
			t.Errorf("in %d seeds there was not one %s: the simulation does not reach it any more", seeds, must)
		}
	}
}

// steps is what must happen in a set of seeds, or they prove less than they seem to.
var steps = []string{"kill", "kill at an effect", "stop", "join", "cut", "heal", "zombie", "leader_move", "refuse", "rewind", "offsets_lost", "duplicate", "redriven",
	"hop", "letter", "rerun", "takeover", "done", "dead", "discarded", "duplicate record", "stale record", "conflict", "expired", "log entry", "commit seen", "emitted"}

func play1(t *testing.T, seed uint64, log *zap.Logger) (counts Counts) {
	synctest.Test(t, func(t *testing.T) {
		res, c, err := Run(seed, log)
		counts = c
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		if !res.OK() {
			t.Errorf("seed %d: %v", seed, res)
		}
		if testing.Verbose() {
			t.Logf("seed %d: %v %v", seed, c, res.Stats)
		}
	})
	return counts
}
