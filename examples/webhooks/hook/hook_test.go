package hook

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/job"
)

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		event, id, body string
		key             string // "" for none
		faults          []string
	}{
		"a repository":            {event: "push", id: "1", body: `{"repository":{"full_name":"o/r"},"organization":{"login":"o"}}`, key: "o/r"},
		"an organization":         {event: "team", body: `{"organization":{"login":"o"}}`, key: "o"},
		"neither":                 {event: "ping", body: `{"zen":"x"}`},
		"no object":               {event: "ping", body: `[1]`},
		"another shape":           {event: "ping", body: `{"repository":"r"}`},
		"a repository of numbers": {event: "ping", body: `{"repository":{"full_name":5}}`},
		"no event":                {body: `{}`, faults: []string{"event"}},
		"an event with a slash":   {event: "a/b", body: `{}`, faults: []string{"event"}},
		"an event of two lines":   {event: "a\nb", body: `{}`, faults: []string{"event"}},
		"an id of two lines":      {event: "a", id: "x\ny", body: `{}`, faults: []string{"id"}},
		"no JSON":                 {event: "a", body: `{`, faults: []string{"body"}},
		"nothing right":           {event: "", id: "\x00", body: ``, faults: []string{"event", "id", "body"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Options(c.event, c.id, Delivery(c.body))
			if (err != nil) != (len(c.faults) > 0) {
				t.Fatalf("err = %v, want faults %v", err, c.faults)
			}
			for _, f := range c.faults {
				if !strings.Contains(err.Error(), f) {
					t.Errorf("%q does not name %q", err, f)
				}
			}
			if string(o.Key) != c.key || (c.key == "") != (o.Key == nil) || o.ID != c.id {
				t.Errorf("key %q, id %q; want %q, %q", o.Key, o.ID, c.key, c.id)
			}
		})
	}
}

func TestCodecIsVerbatim(t *testing.T) {
	body := Delivery("{ \"a\" : \"<é>\\u00e9\" }\n")
	payload, err := Codec.Marshal(body)
	if err != nil || string(payload) != string(body) {
		t.Fatalf("%q, %v", payload, err)
	}
	var back Delivery
	if err := Codec.Unmarshal(payload, &back); err != nil || string(back) != string(body) {
		t.Fatalf("%q, %v", back, err)
	}
	if Codec.ContentType() != job.JSON.ContentType() {
		t.Error(Codec.ContentType())
	}
}

// The value is part of the contract with subscribers, who compute it in other languages:
//
//	printf 'k1\npush\n{}' | openssl dgst -sha256 -hmac secret
func TestSignIsStable(t *testing.T) {
	const want = "sha256=1d6fa7dbfb60d454ffead065b9a796ff8cb61f1cbc62bfbdd2d2fea5d29b7f79"
	if got := Sign([]byte("secret"), "k1", "push", []byte("{}")); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func signed() (http.Header, []byte) {
	body := []byte(`{"a":1}`)
	h := http.Header{}
	h.Set(HeaderKey, "k1")
	h.Set(HeaderEvent, "push")
	h.Set(HeaderSignature, Sign([]byte("secret"), "k1", "push", body))
	return h, body
}

func TestVerify(t *testing.T) {
	h, body := signed()
	if err := Verify([]byte("secret"), h, body); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		secret string
		change func(h http.Header, body []byte) []byte
	}{
		"another secret":    {"other", func(_ http.Header, b []byte) []byte { return b }},
		"no secret":         {"", func(_ http.Header, b []byte) []byte { return b }},
		"another body":      {"secret", func(http.Header, []byte) []byte { return []byte(`{"a":2}`) }},
		"another key":       {"secret", func(h http.Header, b []byte) []byte { h.Set(HeaderKey, "k2"); return b }},
		"another event":     {"secret", func(h http.Header, b []byte) []byte { h.Set(HeaderEvent, "pull"); return b }},
		"no signature":      {"secret", func(h http.Header, b []byte) []byte { h.Del(HeaderSignature); return b }},
		"without algorithm": {"secret", func(h http.Header, b []byte) []byte { h.Set(HeaderSignature, h.Get(HeaderSignature)[7:]); return b }},
		"no key": {"secret", func(h http.Header, b []byte) []byte {
			h.Del(HeaderKey)
			h.Set(HeaderSignature, Sign([]byte("secret"), "", "push", b))
			return b
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h, body := signed()
			body = c.change(h, body)
			if err := Verify([]byte(c.secret), h, body); !errors.Is(err, ErrSignature) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

// Whatever bytes come in, an accepted delivery is one the producer accepts too, and nothing panics.
func FuzzOptions(f *testing.F) {
	f.Add("push", "1", []byte(`{"repository":{"full_name":"o/r"}}`))
	f.Add("", "", []byte(`{"organization":{"login":"\n"}}`))
	f.Fuzz(func(t *testing.T, event, id string, body []byte) {
		o, err := Options(event, id, body)
		if err != nil {
			return
		}
		if o.Key != nil && len(o.Key) == 0 {
			t.Error("an empty key")
		}
		if err := job.ValidateKind(event); err != nil {
			t.Error(err)
		}
	})
}
