package audit

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

func TestRoundTrip(t *testing.T) {
	want := Entry{Time: time.Date(2026, 11, 23, 20, 0, 0, 1, time.UTC), Who: "ann", What: Redrive, Why: "fixed <it>",
		Details: map[string]any{"refs": []any{"0/1", "2/3"}, "count": 2.0}}
	r := Record("mailer", want)
	if r.Topic != "mailer.audit" || string(r.Key) != Redrive || !r.Time.Equal(want.Time) {
		t.Errorf("record %+v", r)
	}
	got, err := Decode(r.Value)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestRecordNeverFails(t *testing.T) {
	for name, e := range map[string]Entry{
		"zero details":   {What: Discard},
		"no json":        {What: Discard, Details: map[string]any{"f": func() {}}},
		"far year":       {What: Discard, Time: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), Details: map[string]any{"id": "x"}},
		"no utf8":        {What: Discard, Why: "\xff", Who: "\xfe"},
		"endless reason": {What: Discard, Why: strings.Repeat("x", 10*job.MaxText)},
	} {
		got, err := Decode(Record("g", e).Value)
		if err != nil || got.What != Discard || len(got.Why) > job.MaxText {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Record("g", Entry{What: Redrive, Details: map[string]any{"n": 1}}).Value)
	f.Add([]byte(`{"what":"x","time":"2026-01-01T00:00:00+23:59"}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := Decode(value)
		if err != nil {
			return
		}
		again, err := Decode(Record("g", e).Value)
		if err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		if len(e.What) <= job.MaxText && (again.What != e.What || again.Who != job.Bounded(e.Who)) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}
