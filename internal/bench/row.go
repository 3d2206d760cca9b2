package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// Row is one line of output: what was measured under plain names, what was asked, and whether it was reached.
type Row struct {
	Case    string
	Name    string // empty for a case of one row
	Rounds  int
	Seconds float64 // of the shortest side, 0 where a side has no such length
	Values  []Value // in the order in which they are shown
	Figures []Figure
	Below   string // what is less than the method asks for; Options.Below
}

// Value is one measured number, or a text that says under what circumstances.
type Value struct {
	Name   string
	Number float64
	Text   string
}

// Figure is what is asked of a value.
type Figure struct {
	Of    string
	Least bool // else at most
	Bound float64
}

func atLeast(of string, bound float64) Figure { return Figure{of, true, bound} }
func atMost(of string, bound float64) Figure  { return Figure{of, false, bound} }

// String is what is measured and its bound, such as "ratio >= 0.55".
func (f Figure) String() string {
	op := "<="
	if f.Least {
		op = ">="
	}
	return fmt.Sprintf("%s %s %g", f.Of, op, f.Bound)
}

// add appends a number.
func (r *Row) add(name string, v float64) {
	r.Values = append(r.Values, Value{Name: name, Number: v})
}

// addSpread appends a median and, where there was more than one round, its interval as name_low and name_high.
func (r *Row) addSpread(name string, s spread) {
	r.add(name, s.median)
	if r.Rounds > 1 {
		r.add(name+"_low", s.low)
		r.add(name+"_high", s.high)
	}
}

// note appends a text.
func (r *Row) note(name, text string) {
	r.Values = append(r.Values, Value{Name: name, Text: text})
}

// Value is the number of that name, NaN when the row has none.
func (r *Row) Value(name string) float64 {
	for _, v := range r.Values {
		if v.Name == name && v.Text == "" {
			return v.Number
		}
	}
	return math.NaN()
}

// Missed are the figures that the row does not reach. A value that was not measured misses its figure.
func (r *Row) Missed() []Figure {
	var missed []Figure
	for _, f := range r.Figures {
		v := r.Value(f.Of)
		if f.Least && v >= f.Bound || !f.Least && v <= f.Bound {
			continue
		}
		missed = append(missed, f)
	}
	return missed
}

// OK reports whether the row reaches everything that is asked of it.
func (r *Row) OK() bool { return len(r.Missed()) == 0 }

// Asked is the figures as text, empty when nothing is asked.
func (r *Row) Asked() string {
	texts := make([]string, len(r.Figures))
	for i, f := range r.Figures {
		texts[i] = f.String()
	}
	return strings.Join(texts, " and ")
}

// MarshalJSON is one flat object, its members in a fixed order: case and row, the values, then how it was measured, what
// was asked and whether it was reached. Numbers have three significant digits, and all of them from 1000 on.
func (r *Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	var failed error
	member := func(name string, v any) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:", name)
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false) // ">=" is to be read
		if err := enc.Encode(v); err != nil {
			failed = fmt.Errorf("row %s, %s: %w", r.Case, name, err)
		}
	}
	member("case", r.Case)
	if r.Name != "" {
		member("row", r.Name)
	}
	for _, v := range r.Values {
		if v.Text != "" {
			member(v.Name, v.Text)
		} else if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
			member(v.Name, nil)
		} else {
			member(v.Name, round3(v.Number))
		}
	}
	member("rounds", r.Rounds)
	if r.Seconds > 0 {
		member("seconds", round3(r.Seconds))
	}
	if r.Below != "" {
		member("below_method", r.Below)
	}
	if len(r.Figures) > 0 {
		member("figure", r.Asked())
	}
	member("ok", r.OK())
	return append(append([]byte{'{'}, b.Bytes()...), '}'), failed
}
