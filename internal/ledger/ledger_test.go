package ledger

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 7, time.UTC)

// samples holds one valid event of every type.
func samples() []Event {
	rec := Pos{Topic: "emails", Partition: 3, Offset: 17}
	base := Event{Time: noon, Process: "w1", Seq: 1, Record: rec, Kind: "email.welcome", Key: "k", ID: "id1"}
	with := func(t Type, f func(*Event)) Event {
		e := base
		e.Type = t
		f(&e)
		return e
	}
	return []Event{
		with(Produced, func(e *Event) { e.Digest, e.At, e.Intent = DigestOf([]byte("x")), noon.Add(time.Hour), "done" }),
		with(Called, func(e *Event) {
			e.Attempt, e.Order, e.Hop, e.Generation, e.Fence, e.Call, e.IdempotencyKey = 1, ByKey, 2, 1, 9, 4, "ik"
		}),
		with(Returned, func(e *Event) { e.Attempt, e.Result, e.Call, e.Delay = 1, Retry, 4, time.Second }),
		{Type: Effect, Time: noon, Process: "smtp", Seq: 1, IdempotencyKey: "ik", Attempt: 1, Fence: 9},
		with(Ended, func(e *Event) { e.Outcome = OutcomeStale }),
		with(Filed, func(e *Event) { e.Origin, e.Code, e.Digest = rec, "panic", "d" }),
		{Type: Faulted, Time: noon, Process: "driver", Seq: 1, Fault: Kill, Target: "w1"},
		{Type: Faulted, Time: noon, Process: "driver", Seq: 2, Fault: Rewind, Record: rec},
		{Type: Faulted, Time: noon, Process: "driver", Seq: 3, Fault: BrokerDown},
		with(Redriven, func(e *Event) { e.Generation = 1 }),
		{Type: Note, Time: noon, Process: "driver", Seq: 4, Text: "half time"},
	}
}

func TestEventsSurviveTheirLine(t *testing.T) {
	events := samples()
	odd := samples()[1]
	odd.Key, odd.ID = "\xff\x00k", "\xfe" // JSON alone would turn both into U+FFFD
	for _, e := range append(events, odd) {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsRune(string(line), '\n') {
			t.Errorf("%s spans lines: %s", e.Type, line)
		}
		var back Event
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if err := back.Validate(); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if !reflect.DeepEqual(back, e) {
			t.Errorf("%s came back as\n%+v, want\n%+v", line, back, e)
		}
	}
}

func TestValidateNamesWhatIsMissing(t *testing.T) {
	byType := map[Type]Event{}
	for _, e := range samples() {
		if _, ok := byType[e.Type]; !ok {
			byType[e.Type] = e
		}
	}
	for _, c := range []struct {
		of    Type
		spoil func(*Event)
		want  string
	}{
		{Produced, func(e *Event) { e.Time = time.Time{} }, "no time"},
		{Produced, func(e *Event) { e.Process = "" }, "no process"},
		{Produced, func(e *Event) { e.Hop = -1 }, "negative"},
		{Produced, func(e *Event) { e.Type = "nonsense" }, "no such type"},
		{Produced, func(e *Event) { e.Record.Topic = "" }, "no record"},
		{Produced, func(e *Event) { e.Record.Offset = -1 }, "no record"},
		{Produced, func(e *Event) { e.Kind = "" }, "kind is missing"},
		{Produced, func(e *Event) { e.Digest = "" }, "digest is missing"},
		{Called, func(e *Event) { e.Attempt = 0 }, "attempt is below 1"},
		{Called, func(e *Event) { e.ID = "" }, "id is missing"},
		{Called, func(e *Event) { e.Order = "sorted" }, `"sorted" is no order`},
		{Returned, func(e *Event) { e.Result = "fine" }, `"fine" is no result`},
		{Effect, func(e *Event) { e.IdempotencyKey = "" }, "idempotency key is missing"},
		{Ended, func(e *Event) { e.Outcome = "" }, `"" is no outcome`},
		{Filed, func(e *Event) { e.Origin = Pos{} }, "origin is missing"},
		{Filed, func(e *Event) { e.Code = "" }, "code is missing"},
		{Faulted, func(e *Event) { e.Target = "" }, "target is missing"},
		{Faulted, func(e *Event) { e.Fault = "gremlins" }, `"gremlins" is no fault`},
		{Faulted, func(e *Event) { e.Fault = Rewind }, "no record"},
		{Redriven, func(e *Event) { e.Generation = 0 }, "generation is below 1"},
		{Redriven, func(e *Event) { e.Record = Pos{} }, "record or origin is missing"},
	} {
		e := byType[c.of]
		c.spoil(&e)
		if err := e.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.of, err, c.want)
		}
	}
}

func TestDigestTellsNullFromEmpty(t *testing.T) {
	seen := map[string]string{}
	for name, p := range map[string][]byte{"null": nil, "empty": {}, "x": []byte("x")} {
		d := DigestOf(p)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s share digest %s", name, other, d)
		}
		seen[d] = name
	}
}

func TestPosReadsAsOneWord(t *testing.T) {
	if got := (Pos{"emails", 3, 17}).String(); got != "emails/3@17" {
		t.Error(got)
	}
}
