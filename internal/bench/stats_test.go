package bench

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{4, 2}, spread{3, 2, 4}},
		{[]float64{5, 1, 4, 2, 3}, spread{3, 1, 5}},
		{[]float64{1, 1, 100}, spread{1, 1, 100}},
	} {
		given := slices.Clone(c.values)
		if got := over(c.values); got != c.want || !slices.Equal(given, c.values) {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
	if s := over(nil); !math.IsNaN(s.median) || !math.IsNaN(s.low) || !math.IsNaN(s.high) {
		t.Errorf("of none: %v", s)
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]int64, 100)
	for i := range hundred {
		hundred[i] = int64(i + 1)
	}
	for _, c := range []struct {
		sorted []int64
		q      float64
		want   float64
	}{
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 0.999, 100}, {hundred, 0, 1}, {hundred, 1, 100},
		{[]int64{7}, 0.99, 7}, {[]int64{1, 9}, 0.5, 1}, {[]int64{1, 9}, 0.51, 9},
	} {
		if got := quantile(c.sorted, c.q); got != c.want {
			t.Errorf("quantile %v of %d values: %v, want %v", c.q, len(c.sorted), got, c.want)
		}
	}
	if got := quantile[float64](nil, 0.5); !math.IsNaN(got) {
		t.Errorf("of none: %v", got)
	}
}

func TestRound3(t *testing.T) {
	for _, c := range []struct{ v, want float64 }{
		{0, 0}, {0.123456, 0.123}, {1.23456, 1.23}, {12.3456, 12.3}, {999.6, 1000}, {123456.7, 123457}, {-0.98765, -0.988}, {1, 1},
	} {
		if got := round3(c.v); got != c.want {
			t.Errorf("%v: %v, want %v", c.v, got, c.want)
		}
	}
	if Show(math.NaN()) != "-" || Show(1234567.8) != "1234568" || Show(0.0421) != "0.0421" {
		t.Error(Show(math.NaN()), Show(1234567.8), Show(0.0421))
	}
}

func TestRow(t *testing.T) {
	r := Row{Case: "c", Name: "n", Rounds: 3, Seconds: 10.04, Figures: []Figure{atLeast("ratio", 0.5), atMost("p99_ms", 5)}}
	r.addSpread("ratio", spread{0.5, 0.41, 0.61})
	r.note("keys", "zipf")
	r.add("unknown", math.NaN())
	if m := r.Missed(); len(m) != 1 || m[0].Of != "p99_ms" || r.OK() {
		t.Errorf("missed %v", m)
	}
	r.add("p99_ms", 5)
	if !r.OK() {
		t.Errorf("missed %v", r.Missed())
	}
	got, err := json.Marshal(&r)
	want := `{"case":"c","row":"n","ratio":0.5,"ratio_low":0.41,"ratio_high":0.61,"keys":"zipf","unknown":null,"p99_ms":5,"rounds":3,"seconds":10,"figure":"ratio \u003e= 0.5 and p99_ms \u003c= 5","ok":true}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	r.Values[0].Number = 0.4999
	if r.OK() {
		t.Error("0.4999 is not 0.5")
	}
}

func TestHas(t *testing.T) {
	for _, c := range []struct {
		name, part string
		want       bool
	}{
		{"run-noop-1", "run", true}, {"run-noop-1", "run-noop-1", true}, {"run-noop-12-0", "run-noop-1", false}, {"run-noop-1-0", "run-noop-1", true},
		{"run-jobs-2.run-noop-1-0.dlq", "run-noop-1", true}, {"run-jobs-2.run-noop-11-0.dlq", "run-noop-1", false}, {"other", "run", false},
	} {
		if got := has(c.name, c.part); got != c.want {
			t.Errorf("%s in %s: %v", c.part, c.name, got)
		}
	}
}

// The records are the method's: the hottest key has the share that s=1.1 gives it, and every run has the same ones.
func TestOrder(t *testing.T) {
	const n = 200_000
	counts := map[int]int{}
	var first []int
	for seq, key := range (Load{Jobs: n}).order {
		if seq != len(first) && len(first) < 10 {
			t.Fatalf("job %d comes at %d", seq, len(first))
		}
		if len(first) < 10 {
			first = append(first, key)
		}
		if key < 0 || key >= keys {
			t.Fatalf("key %d", key)
		}
		counts[key]++
	}
	if share := float64(counts[0]) / n; share < 0.14 || share > 0.16 {
		t.Errorf("the hottest key has %.3f", share)
	}
	var again []int
	for _, key := range (Load{Jobs: 10}).order {
		again = append(again, key)
	}
	if !slices.Equal(first, again) {
		t.Errorf("%v then %v", first, again)
	}
	var hot []int
	for seq, key := range (Load{Jobs: 2, Keys: 2, Even: true, Hot: true}).order {
		hot = append(hot, seq, key)
	}
	if want := []int{0, 0, 2, hotKey, 1, 1, 3, hotKey}; !slices.Equal(hot, want) {
		t.Errorf("%v, want %v", hot, want)
	}
}

func TestValues(t *testing.T) {
	for _, isJSON := range []bool{false, true} {
		v := newValues(Load{ValueBytes: 200, JSON: isJSON})
		for _, seq := range []int{0, 1, 99_999_999} {
			b, err := v.of(seq)
			if err != nil {
				t.Fatal(err)
			}
			got := blob(b).seq()
			if isJSON {
				var a text
				if err := json.Unmarshal(b, &a); err != nil {
					t.Fatal(err)
				}
				got = a.Seq
			}
			if short := 8 - len(strconv.Itoa(seq)); got != seq || !isJSON && len(b) != 200 || isJSON && len(b) != 200-short {
				t.Errorf("job %d: %d in %d bytes", seq, got, len(b))
			}
		}
	}
	if blob("short").seq() != -1 {
		t.Error("a short payload has a number")
	}
}
