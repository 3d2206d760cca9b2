package dlq

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

func TestFilterMatch(t *testing.T) {
	l := &Letter{Kind: "a", ID: "1", Key: []byte("k"), Code: job.CodePanic, Disposition: TooOld, Fingerprint: "f", Filed: noon}
	for _, c := range []struct {
		name string
		f    Filter
		want bool
	}{
		{"zero", Filter{}, true},
		{"all set", Filter{Kinds: []string{"b", "a"}, ID: "1", Key: []byte("k"), Codes: []job.Code{job.CodePanic}, Dispositions: []Disposition{TooOld},
			Fingerprint: "f", Since: noon, Until: noon.Add(1), Pending: true}, true},
		{"kind", Filter{Kinds: []string{"b"}}, false},
		{"id", Filter{ID: "2"}, false},
		{"key", Filter{Key: []byte("j")}, false},
		{"empty key", Filter{Key: []byte{}}, false},
		{"code", Filter{Codes: []job.Code{job.CodeDead}}, false},
		{"disposition", Filter{Dispositions: []Disposition{Explicit}}, false},
		{"fingerprint", Filter{Fingerprint: "g"}, false},
		{"since", Filter{Since: noon.Add(1)}, false},
		{"until", Filter{Until: noon}, false},
	} {
		if got := c.f.Match(l); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	pending := Filter{Pending: true}
	if pending.Match(&Letter{Superseded: true}) || pending.Match(&Letter{Redriven: noon}) {
		t.Error("what was redriven or superseded is not pending")
	}
}

func TestDispositions(t *testing.T) {
	for _, d := range append(Dispositions(), 0) {
		if got, ok := ParseDisposition(d.String()); !ok || got != d {
			t.Errorf("%v parses as %v, %v", d, got, ok)
		}
	}
	if _, ok := ParseDisposition("disposition_99"); ok || Disposition(99).String() != "disposition_99" || len(Dispositions()) != 10 {
		t.Error("the set is not closed")
	}
}

func TestLetterJSON(t *testing.T) {
	for _, c := range []struct {
		payload []byte
		field   string
		want    any
	}{
		{[]byte(`{"a":"<&>\u2028"}`), "payload", map[string]any{"a": "<&>\u2028"}},
		{[]byte("null"), "payload", nil},
		{[]byte(`{"a": 1}`), "payload_text", `{"a": 1}`},
		{[]byte(""), "payload_text", ""},
		{[]byte("\xff"), "payload_base64", "/w=="},
		{nil, "", nil},
	} {
		l := &Letter{Payload: c.payload, Key: []byte("\xfe"), Headers: []job.Header{header("a", "b"), header("c", "\xff"), {Key: "d"}},
			Filed: time.UnixMilli(1 << 62), Code: job.CodePanic, Partition: 3, Offset: 4}
		b, err := l.MarshalJSON()
		var got map[string]any
		if err != nil || json.Unmarshal(b, &got) != nil {
			t.Fatalf("%q: %s, %v", c.payload, b, err)
		}
		n := 0
		for _, field := range [...]string{"payload", "payload_text", "payload_base64"} {
			v, ok := got[field]
			if !ok {
				continue
			}
			n++
			want, _ := json.Marshal(c.want)
			if have, _ := json.Marshal(v); field != c.field || string(have) != string(want) {
				t.Errorf("%q: %s is %s", c.payload, field, have)
			}
		}
		if (n == 1) != (c.field != "") || got["ref"] != "3/4" || got["code"] != "panic" || got["key_base64"] != "/g==" || got["key"] != nil {
			t.Errorf("%q: %s", c.payload, b)
		}
		if h := got["headers"].([]any); len(h) != 3 || h[0].(map[string]any)["value"] != "b" || h[1].(map[string]any)["value_base64"] != "/w==" {
			t.Errorf("headers %v", h)
		}
	}
}
