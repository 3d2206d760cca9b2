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
	seedsFlag = flag.Int("seeds", 100, "how many seeds to run")
	firstFlag = flag.Uint64("first", 1, "the first of them")
)

func TestSeeds(t *testing.T) {
	if *seedFlag != 0 {
		play1(t, *seedFlag, zaptest.NewLogger(t))
		return
	}
	total := Counts{}
	for i := range *seedsFlag {
		seed := *firstFlag + uint64(i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			for k, n := range play1(t, seed, zap.NewNop()) {
				total[k] += n
			}
		})
	}
	t.Logf("%d seeds: %v", *seedsFlag, total)
}

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
