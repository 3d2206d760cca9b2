package bench

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIdeal(t *testing.T) {
	for _, c := range []struct {
		name      string
		keys      []int32
		durations []time.Duration
		workers   int
		want      time.Duration
	}{
		{"nothing", nil, nil, 2, 0},
		{"one worker does all", []int32{0, 1, 2}, []time.Duration{1, 2, 3}, 1, 6},
		{"a worker each", []int32{0, 1, 2}, []time.Duration{1, 2, 3}, 3, 3},
		{"one key, many workers", []int32{7, 7, 7}, []time.Duration{1, 2, 3}, 3, 6},
		{"a second worker takes what another key has", []int32{0, 0, 1, 1}, []time.Duration{2, 2, 2, 2}, 2, 4},
		{"a job passes one whose key is busy", []int32{0, 0, 1}, []time.Duration{4, 1, 3}, 2, 5},
		{"in the order given, not the longest first", []int32{0, 1, 2}, []time.Duration{1, 1, 4}, 2, 5},
	} {
		if got := ideal(c.keys, c.durations, c.workers); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// No schedule is shorter than the longest key or the work divided by the workers; a list schedule of chains is not longer
// than both together.
func TestIdealBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOf(rapid.Int32Range(0, 5)).Draw(t, "keys")
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		durations := make([]time.Duration, len(keys))
		perKey := map[int32]time.Duration{}
		var sum, longest time.Duration
		for i, k := range keys {
			durations[i] = time.Duration(rapid.IntRange(1, 9).Draw(t, "d"))
			sum += durations[i]
			perKey[k] += durations[i]
			longest = max(longest, perKey[k])
		}
		got := ideal(keys, durations, workers)
		if got < longest || got*time.Duration(workers) < sum || got > longest+sum/time.Duration(workers) {
			t.Fatalf("%v with %d workers: longest key %v, work %v", got, workers, longest, sum)
		}
	})
}

func TestMostOverLeast(t *testing.T) {
	of := func(micros ...float64) (out []sample) {
		for _, m := range micros {
			out = append(out, sample{Jobs: 1_000_000, CPU: m})
		}
		return out
	}
	for _, c := range []struct {
		round []sample
		want  float64
	}{{of(2), 1}, {of(2, 3), 1.5}, {of(4, 2, 3), 2}} {
		if got := mostOverLeast(c.round); got != c.want {
			t.Errorf("%v: %v, want %v", c.round, got, c.want)
		}
	}
}

func TestKeysOfLoad(t *testing.T) {
	if got := (Load{Jobs: 3, Keys: 2, Even: true, Hot: true}).keys(); !slices.Equal(got, []int32{0, 1, 0}) {
		t.Errorf("%v", got)
	}
}
