// Package page makes docs/benchmarks.md and its plot from a results file.
//
// It measures nothing and knows no peer but by what package peers says about it; where Waybill is behind, the page says so
// by itself, from the figures.
package page

import (
	"math"
	"slices"
	"strconv"

	"github.com/waybill-dev/waybill/bench/internal/peers"
	"github.com/waybill-dev/waybill/bench/internal/suite"
)

// spread is the median of some rounds with the lowest and the highest of them.
type spread struct{ median, low, high float64 }

func over(values []float64) spread {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return spread{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// measure is a figure of a case.
type measure struct {
	Case, Title, Unit string
	less              bool // is better
	of                func(suite.Result) float64
}

func rate(r suite.Result) float64   { return float64(r.Sample.Jobs) / r.Sample.Seconds }
func micros(r suite.Result) float64 { return r.Sample.CPU * 1e6 / float64(r.Sample.Jobs) }
func p50(r suite.Result) float64    { return r.Sample.P50 }
func p99(r suite.Result) float64    { return r.Sample.P99 }

// bar is one peer's spread of a measure.
type bar struct {
	peer   peers.Peer
	spread spread
	rounds int
}

// bars are those of the peers that have results, in the peers' order.
func bars(results []suite.Result, m measure) []bar {
	var out []bar
	for _, p := range peers.All() {
		var values []float64
		for _, r := range results {
			if r.Case == m.Case && r.Peer == p.ID {
				values = append(values, m.of(r))
			}
		}
		if len(values) > 0 {
			out = append(out, bar{p, over(values), len(values)})
		}
	}
	return out
}

// show is a number of three significant digits, with commas.
func show(v float64) string {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return "-"
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(math.Abs(v))))
	s := strconv.FormatFloat(math.Round(v*scale)/scale, 'f', max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))), 64)
	whole := len(s)
	if v >= 1000 {
		for i := whole - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
	}
	return s
}

func (s spread) String() string {
	if s.low == s.high {
		return show(s.median)
	}
	return show(s.median) + " (" + show(s.low) + " to " + show(s.high) + ")"
}
