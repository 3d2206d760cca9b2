package bench

import "context"

// pair is one round: the raw side and Waybill's.
type pair struct{ raw, waybill sample }

// pairs measures the rounds of a row: the sides alternate, the raw one first.
func (e *env) pairs(ctx context.Context, row string, raw, waybill passParams) ([]pair, error) {
	var rounds []pair
	for i := range e.Rounds {
		var p pair
		for _, s := range []struct {
			role   string
			params passParams
			into   *sample
		}{{"raw-passes", raw, &p.raw}, {"waybill-passes", waybill, &p.waybill}} {
			s.params.Group = e.name(row)
			if err := e.side(ctx, s.role, s.params, s.into); err != nil {
				return nil, err
			}
			// What the engine made for the groups goes at once: it would fill the disk, and nothing else runs now.
			if err := e.clean(ctx, s.params.Group); err != nil {
				return nil, err
			}
		}
		e.say("%s round %d of %d: raw %.0f/s at %.2f us, waybill %.0f/s at %.2f us, ratio %.3f", row, i+1, e.Rounds,
			p.raw.rate(), p.raw.micros(), p.waybill.rate(), p.waybill.micros(), p.waybill.rate()/p.raw.rate())
		rounds = append(rounds, p)
	}
	return rounds, nil
}

// addPairs appends what pairs say.
func (r *Row) addPairs(rounds []pair) {
	r.addSpread("rate", each(rounds, func(p pair) float64 { return p.waybill.rate() }))
	r.addSpread("raw_rate", each(rounds, func(p pair) float64 { return p.raw.rate() }))
	r.addSpread("ratio", each(rounds, func(p pair) float64 { return p.waybill.rate() / p.raw.rate() }))
	r.addSpread("cpu_us_per_job", each(rounds, func(p pair) float64 { return p.waybill.micros() }))
	r.addSpread("raw_cpu_us_per_job", each(rounds, func(p pair) float64 { return p.raw.micros() }))
	for _, p := range rounds {
		r.lasted(p.raw, p.waybill)
	}
}

// lasted notes how long sides worked; the shortest counts.
func (r *Row) lasted(sides ...sample) {
	for _, s := range sides {
		if r.Seconds == 0 || s.Seconds < r.Seconds {
			r.Seconds = s.Seconds
		}
	}
}
