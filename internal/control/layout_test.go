package control

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLayoutAdd(t *testing.T) {
	var l Layout
	if l.Tiers("a") != nil {
		t.Error("an empty layout has tiers")
	}
	steps := []struct {
		topic      string
		partitions int32
		tiers      []time.Duration
		changed    bool
	}{
		{"a", 4, []time.Duration{2 * time.Minute, 10 * time.Second}, true},
		{"a", 4, []time.Duration{10 * time.Second}, false},
		{"a", 4, []time.Duration{90 * time.Second}, true},
		{"a", 4, nil, false},
		{"a", 8, nil, true},
		{"b", 1, nil, true},
		{"b", 1, nil, false},
	}
	for i, s := range steps {
		if got := l.Add(s.topic, s.partitions, s.tiers); got != s.changed {
			t.Errorf("step %d: changed %v", i, got)
		}
	}
	want := Layout{Version: 1, Topics: map[string]Topic{"a": {8, []string{"10s", "1m30s", "2m"}}, "b": {1, nil}}}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got %+v, want %+v", l, want)
	}
	if got := l.Tiers("a"); !reflect.DeepEqual(got, []time.Duration{10 * time.Second, 90 * time.Second, 2 * time.Minute}) {
		t.Errorf("tiers %v", got)
	}
}

// What was added is had, and stays had whatever else is added, partition counts aside.
func TestLayoutOnlyGrows(t *testing.T) {
	tiers := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.Int64Range(100, 10_000).Draw(t, "ms")) * time.Millisecond
	}), 0, 4)
	layouts := rapid.Custom(func(t *rapid.T) (l Layout) {
		for range rapid.IntRange(0, 3).Draw(t, "topics") {
			l.Add(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "topic"), 4, tiers.Draw(t, "tiers"))
		}
		return l
	})
	rapid.Check(t, func(t *rapid.T) {
		l, other := layouts.Draw(t, "one"), layouts.Draw(t, "other")
		before, _ := l.encode()
		was := Layout{}
		if len(l.Topics) > 0 {
			was, _ = DecodeLayout(before)
		}
		for name, topic := range other.Topics {
			l.Add(name, topic.Partitions, other.Tiers(name))
		}
		if !l.Has(other) || !l.Has(was) || !l.Has(l) || !l.Has(Layout{}) {
			t.Fatalf("%+v does not hold %+v and %+v", l, was, other)
		}
		if value, err := l.encode(); len(l.Topics) > 0 {
			if again, err2 := DecodeLayout(value); err != nil || err2 != nil || !reflect.DeepEqual(again, l) {
				t.Fatalf("%+v reads %+v, %v, %v", l, again, err, err2)
			}
		}
	})
}

func TestLayoutHas(t *testing.T) {
	l := Layout{1, map[string]Topic{"a": {4, []string{"10s"}}}, false}
	for name, other := range map[string]Layout{
		"tier":       {Topics: map[string]Topic{"a": {4, []string{"20s"}}}},
		"partitions": {Topics: map[string]Topic{"a": {5, []string{"10s"}}}},
		"topic":      {Topics: map[string]Topic{"b": {4, nil}}},
	} {
		if l.Has(other) {
			t.Errorf("%s: it does not hold that", name)
		}
	}
}

func TestDecodeLayoutRefuses(t *testing.T) {
	for value, part := range map[string]string{
		"":              "not JSON",
		"[]":            "not JSON",
		"null":          "names no version",
		"{}":            "names no version",
		`{"version":2}`: "upgrade",
		`{"version":1,"topics":{"a":{"partitions":0}}}`:                 `topic "a": it has 0 partitions`,
		`{"version":1,"topics":{"a":{"partitions":1,"tiers":["90s"]}}}`: `topic "a": tier "90s"`,
	} {
		if _, err := DecodeLayout([]byte(value)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %v, want %q", value, err, part)
		}
	}
}

func FuzzDecodeLayout(f *testing.F) {
	f.Add([]byte(`{"version":1,"topics":{"emails":{"partitions":4,"tiers":["10s","2m","10s"]}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		l, err := DecodeLayout(value)
		if err != nil {
			return
		}
		encoded, err := l.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeLayout(encoded)
		if err != nil || !again.Has(l) || !l.Has(again) {
			t.Fatalf("%s reads %+v, written and read %+v, %v", value, l, again, err)
		}
	})
}
