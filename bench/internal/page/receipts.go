package page

import (
	"fmt"

	"github.com/waybill-dev/waybill/bench/internal/suite"
	"github.com/waybill-dev/waybill/internal/bench"
)

// The figure of receipts: how many times the rate of Watermill's router, which remembers nothing, Waybill reaches with a durable receipt for
// each job.
const (
	receiptsOf     = "waybill-effectively-once"
	receiptsBeside = "watermill"
	receiptsAsked  = 3
	methodRounds   = 5
	methodSeconds  = 10
)

// Receipts is the row of case noop that holds those two against each other, round by round; ok is false where no round has both.
func Receipts(results []suite.Result) (row *bench.Row, ok bool) {
	var ours, theirs, ratios []float64
	row = &bench.Row{Case: "receipts", Name: receiptsBeside, Figures: []bench.Figure{{Of: "ratio", Least: true, Bound: receiptsAsked}}}
	for _, a := range results {
		if a.Case != "noop" || a.Peer != receiptsOf {
			continue
		}
		for _, b := range results {
			if b.Case == a.Case && b.Peer == receiptsBeside && b.Round == a.Round {
				ours, theirs, ratios = append(ours, rate(a)), append(theirs, rate(b)), append(ratios, rate(a)/rate(b))
				if short := min(a.Sample.Seconds, b.Sample.Seconds); row.Seconds == 0 || short < row.Seconds {
					row.Seconds = short
				}
			}
		}
	}
	if row.Rounds = len(ratios); row.Rounds == 0 {
		return nil, false
	}
	for _, v := range []struct {
		name   string
		values []float64
	}{{"rate", ours}, {"watermill_rate", theirs}, {"ratio", ratios}} {
		s := over(v.values)
		row.Values = append(row.Values, bench.Value{Name: v.name, Number: s.median}, bench.Value{Name: v.name + "_low", Number: s.low},
			bench.Value{Name: v.name + "_high", Number: s.high})
	}
	switch {
	case row.Rounds < methodRounds:
		row.Below = fmt.Sprintf("%d of %d rounds", row.Rounds, methodRounds)
	case row.Seconds < methodSeconds:
		row.Below = fmt.Sprintf("sides of %.3g instead of %d s", row.Seconds, methodSeconds)
	}
	return row, true
}
