package bench

import (
	"math"
	"slices"
	"strconv"
)

// spread is the median of some rounds with the lowest and the highest of them.
type spread struct{ median, low, high float64 }

// over is the spread of the values; of none it is NaN, which no figure accepts.
func over(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return spread{median: (s[(n-1)/2] + s[n/2]) / 2, low: s[0], high: s[n-1]}
}

// each is the spread of f over the rounds.
func each[T any](rounds []T, f func(T) float64) spread {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = f(r)
	}
	return over(values)
}

// quantile is the value that a share q of the sorted values does not exceed (nearest rank); NaN of none.
func quantile[T int64 | float64](sorted []T, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return float64(sorted[min(max(rank, 1), len(sorted))-1])
}

// round3 keeps three significant digits: more would be noise.
func round3(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	if v >= 1000 || v <= -1000 {
		return math.Round(v)
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// Show is a number for people, as it stands in JSON; what is not known is a dash.
func Show(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	return strconv.FormatFloat(round3(v), 'f', -1, 64)
}
