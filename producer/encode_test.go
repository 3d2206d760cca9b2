package producer

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
)

// offline makes a producer that is never asked to reach a broker.
func offline(t testing.TB, change ...func(*Config)) *Producer {
	t.Helper()
	c := Config{Brokers: []string{"localhost:1"}, Topic: "emails"}
	for _, f := range change {
		f(&c)
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	return p
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func TestEncodeDefaults(t *testing.T) {
	r, e, err := offline(t).Encode(welcome{"u1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := uuid.Parse(e.ID)
	if err != nil || id.Version() != 7 {
		t.Errorf("id %q is no UUIDv7: %v", e.ID, err)
	}
	if e != nowhere(e.ID, "emails") {
		t.Errorf("got %+v", e)
	}
	if string(r.Key) != e.ID || string(r.Value) != `{"user":"u1"}` || r.Topic != "emails" {
		t.Errorf("record %+v", r)
	}
	want := []kgo.RecordHeader{
		{Key: job.HeaderKind, Value: []byte("email.welcome")}, {Key: job.HeaderID, Value: []byte(e.ID)},
		{Key: job.HeaderContentType, Value: []byte("application/json")},
	}
	if !reflect.DeepEqual(r.Headers, want) {
		t.Errorf("headers %q, want %q", r.Headers, want)
	}
}

func TestEncodeRoutesAndCodecs(t *testing.T) {
	p := offline(t, func(c *Config) {
		c.Routes = map[string]string{"raw": "bytes", "email.welcome": "mails"}
		c.Codecs = map[string]job.Codec{"raw": job.Bytes}
	})
	for name, c := range map[string]struct {
		args                     job.Args
		topic                    string
		wantTopic, wantType, val string
	}{
		"by kind":    {welcome{"u"}, "", "mails", "application/json", `{"user":"u"}`},
		"override":   {welcome{"u"}, "special", "special", "application/json", `{"user":"u"}`},
		"own codec":  {raw("abc"), "", "bytes", "application/octet-stream", "abc"},
		"by default": {other{}, "", "emails", "application/json", "{}"},
	} {
		r, e, err := p.Encode(c.args, &job.Options{Topic: c.topic})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Topic != c.wantTopic || e.Topic != c.wantTopic || header(r, job.HeaderContentType) != c.wantType || string(r.Value) != c.val {
			t.Errorf("%s: %+v, %+v", name, r, e)
		}
	}
}

type raw []byte

func (raw) Kind() string    { return "raw" }
func (r raw) Bytes() []byte { return r }

type other struct{}

func (other) Kind() string { return "other" }

type broken struct{ C chan int }

func (broken) Kind() string { return "broken" }

func TestEncodeSharesNothing(t *testing.T) {
	p := offline(t, func(c *Config) { c.Codec = job.Bytes })
	payload, key, value := raw("payload"), []byte("key"), []byte("value")
	r, _, err := p.Encode(payload, &job.Options{Key: key, Headers: []job.Header{{Key: "h", Value: value}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{payload, key, value} {
		clear(b)
	}
	if string(r.Value) != "payload" || string(r.Key) != "key" || header(r, "h") != "value" {
		t.Errorf("the record changed with the caller's slices: %+v", r)
	}
}

// The ids stand in topics and in other systems: they may never change. Computed with another language's SHA-256.
func TestDeterministicIDGolden(t *testing.T) {
	for _, c := range []struct {
		kind         string
		key, payload []byte
		want         string
	}{
		{"email.welcome", nil, []byte(`{"user":"u1"}`), "95ff7f69-89bc-8b21-a5b5-cfe47a039109"},
		{"email.welcome", []byte("u1"), []byte(`{"user":"u1"}`), "b7482a7f-9672-8c1a-a3a9-bb2ea9f9f595"},
		{"email.welcome", []byte{}, []byte(`{"user":"u1"}`), "8cb1c22e-df31-858c-88b6-877cfeed74a7"},
		{"email.bye", nil, []byte(`{"user":"u1"}`), "0986932c-117d-819b-933f-3b3285e9de98"},
		{"k", nil, nil, "f98b493f-1f22-81f5-9790-0810893c6c01"},
	} {
		got := DeterministicID(c.kind, c.key, c.payload)
		if got != c.want {
			t.Errorf("DeterministicID(%q, %q, %q) = %s, want %s", c.kind, c.key, c.payload, got, c.want)
		}
		if id, err := uuid.Parse(got); err != nil || id.Version() != 8 || id.Variant() != uuid.RFC4122 {
			t.Errorf("%s is no UUIDv8", got)
		}
	}
	p := offline(t)
	options := &job.Options{DeterministicID: true}
	a, ea, _ := p.Encode(welcome{"u1"}, options)
	_, eb, _ := p.Encode(welcome{"u1"}, options)
	_, ec, _ := p.Encode(welcome{"u2"}, options)
	if ea.ID != "95ff7f69-89bc-8b21-a5b5-cfe47a039109" || ea != eb || ea.ID == ec.ID || string(a.Key) != ea.ID {
		t.Errorf("got %v, %v, %v with key %q", ea, eb, ec, a.Key)
	}
}

func TestEncodeRefuses(t *testing.T) {
	now := time.Now()
	long := strings.Repeat("x", 600)
	p := offline(t)
	for name, c := range map[string]struct {
		opts job.Options
		want []string
	}{
		"a long id":                  {job.Options{ID: long}, []string{"Options.ID"}},
		"an id twice":                {job.Options{ID: "a", DeterministicID: true}, []string{"Options.DeterministicID"}},
		"an empty key":               {job.Options{Key: []byte{}}, []string{"Options.Key"}},
		"a reserved header":          {job.Options{Headers: []job.Header{{Key: "ok"}, {Key: "waybill-hop"}}}, []string{"Options.Headers[1]: waybill-hop"}},
		"an unknown reserved one":    {job.Options{Headers: []job.Header{{Key: "waybill-"}}}, []string{"Options.Headers[0]"}},
		"content-type as a header":   {job.Options{Headers: []job.Header{{Key: "content-type"}}}, []string{"Options.Headers[0]", "codec"}},
		"a header without name":      {job.Options{Headers: []job.Header{{}}}, []string{"Options.Headers[0]"}},
		"a header not in UTF-8":      {job.Options{Headers: []job.Header{{Key: "\xff"}}}, []string{"Options.Headers[0]"}},
		"expired":                    {job.Options{Expires: now}, []string{"Options.Expires", "passed"}},
		"expires before at":          {job.Options{At: now.Add(2 * time.Hour), Expires: now.Add(time.Hour)}, []string{"Options.Expires", "not after At"}},
		"expires at at":              {job.Options{At: now.Add(time.Hour), Expires: now.Add(time.Hour)}, []string{"Options.Expires", "not after At"}},
		"at no header can say":       {job.Options{At: now.AddDate(9000, 0, 0)}, []string{"Options.At: the year"}},
		"expires no header can say":  {job.Options{Expires: now.AddDate(9000, 0, 0)}, []string{"Options.Expires: the year"}},
		"a negative version":         {job.Options{Version: -1}, []string{"Options.Version"}},
		"a huge version":             {job.Options{Version: 1 << 31}, []string{"Options.Version"}},
		"a long correlation":         {job.Options{Correlation: long}, []string{"Options.Correlation"}},
		"a correlation of bytes":     {job.Options{Correlation: "\xff"}, []string{"Options.Correlation"}},
		"a correlation in two lines": {job.Options{Correlation: "a\nb"}, []string{"Options.Correlation"}},
		"no topic's name":            {job.Options{Topic: "a/b"}, []string{"Options.Topic"}},
		"all at once": {job.Options{ID: "a\n", Key: []byte{}, Version: -1, Topic: ".."},
			[]string{"Options.ID", "Options.Key", "Options.Version", "Options.Topic"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, e, err := p.Encode(welcome{}, &c.opts)
			var failed *JobError
			if !errors.As(err, &failed) || failed.Kind != "email.welcome" || r != nil || e.Offset != -1 {
				t.Fatalf("got %v, %v, %v", r, e, err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	for name, err := range map[string]error{
		"nil":            func() error { _, _, err := p.Encode(nil, nil); return err }(),
		"a nil pointer":  func() error { _, _, err := p.Encode((*welcome)(nil), nil); return err }(),
		"not encodable":  func() error { _, _, err := p.Encode(broken{}, nil); return err }(),
		"an empty kind":  func() error { _, _, err := p.EncodeRaw("", nil, "", nil); return err }(),
		"a content type": func() error { _, _, err := p.EncodeRaw("k", nil, "a\x00", nil); return err }(),
		"no route": func() error {
			_, _, err := offline(t, func(c *Config) { c.Topic = "" }).Encode(welcome{}, nil)
			return err
		}(),
	} {
		var failed *JobError
		if !errors.As(err, &failed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestEncodeAllows(t *testing.T) {
	now := time.Now()
	p := offline(t)
	for name, opts := range map[string]*job.Options{
		"at in the past":         {At: now.Add(-time.Hour)},
		"at, then expires":       {At: now.Add(time.Hour), Expires: now.Add(2 * time.Hour)},
		"past at, later expires": {At: now.Add(-time.Hour), Expires: now.Add(time.Hour)},
		"a CloudEvents header":   {Headers: []job.Header{{Key: "ce_type", Value: []byte("x")}, {Key: "traceparent"}}},
	} {
		if _, _, err := p.Encode(welcome{}, opts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What Encode accepts the consumer reads without a fault and unchanged.
func checkReadable(t interface{ Fatalf(string, ...any) }, r *kgo.Record, e Enqueued, kind string, o *job.Options) {
	got := decoded(r)
	want := job.Message{Kind: kind, ID: e.ID, Key: r.Key, Version: o.Version, ContentType: got.ContentType, Correlation: o.Correlation}
	if got.Fault != "" {
		t.Fatalf("the consumer sees a fault: %s", got.Fault)
	}
	if got.Kind != want.Kind || got.ID != want.ID || got.Version != want.Version || got.Correlation != want.Correlation ||
		!got.At.Equal(o.At) || !got.Expires.Equal(o.Expires) || len(got.Headers) != len(o.Headers) {
		t.Fatalf("read %+v, enqueued %+v of kind %s", got.Message, o, kind)
	}
	if o.Key != nil && !bytes.Equal(got.Key, o.Key) || o.Key == nil && string(got.Key) != e.ID {
		t.Fatalf("key %q of id %q, asked for %q", got.Key, e.ID, o.Key)
	}
}

func TestAcceptedIsReadable(t *testing.T) {
	p := offline(t)
	clean := rapid.StringMatching(`[a-zäé.:-]{0,20}`)
	text := rapid.OneOf(clean, clean, clean, clean, clean, rapid.String()) // mostly what is accepted
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.IntRange(0, 2).Draw(t, "given") == 0 {
			return time.Time{}
		}
		return time.Now().Add(time.Duration(rapid.Int64Range(-1e15, 1e17).Draw(t, "ns")))
	})
	accepted := 0
	property := func(t *rapid.T) {
		kind := rapid.StringMatching(`[a-zäé.]{0,8} ?`).Draw(t, "kind")
		o := &job.Options{
			ID: text.Draw(t, "id"), Correlation: text.Draw(t, "correlation"),
			Version: rapid.IntRange(-1, 1<<31).Draw(t, "version"), At: instant.Draw(t, "at"), Expires: instant.Draw(t, "expires"),
		}
		o.DeterministicID = o.ID == ""
		if rapid.Bool().Draw(t, "key") {
			o.Key = rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			o.Headers = append(o.Headers, job.Header{Key: text.Draw(t, "name"), Value: []byte(text.Draw(t, "value"))})
		}
		r, e, err := p.EncodeRaw(kind, rapid.SliceOf(rapid.Byte()).Draw(t, "payload"), text.Draw(t, "type"), o)
		if err == nil {
			accepted++
			checkReadable(t, r, e, kind, o)
		}
	}
	for range 20 { // with -short a round is 20 draws, and may be refused whole
		if rapid.Check(t, property); accepted > 0 {
			break
		}
	}
	if accepted == 0 {
		t.Error("nothing was accepted: the property says nothing")
	}
}

func FuzzEncodeRaw(f *testing.F) {
	f.Add("email.welcome", "id", []byte("key"), []byte("{}"), "application/json", "c", int64(0), int64(0), 1, "h", "v")
	f.Add("k", "", []byte(nil), []byte(nil), "", "", int64(4102444800), int64(4102444801), 0, "waybill-kind", "")
	p := offline(f)
	f.Fuzz(func(t *testing.T, kind, id string, key, payload []byte, contentType, correlation string, at, expires int64, version int, name, value string) {
		o := &job.Options{ID: id, Key: key, Correlation: correlation, Version: version, Headers: []job.Header{{Key: name, Value: []byte(value)}}}
		if at != 0 {
			o.At = time.Unix(at, 0)
		}
		if expires != 0 {
			o.Expires = time.Unix(expires, 0)
		}
		if r, e, err := p.EncodeRaw(kind, payload, contentType, o); err == nil {
			checkReadable(t, r, e, kind, o)
		}
	})
}

// Vectors of org.apache.kafka.common.utils.UtilsTest.testMurmur2, from which the Java client takes
// toPositive(murmur2(key)) % partitions.
func TestPartitionerIsJavas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		topic := Partitioner().ForTopic("emails")
		for _, n := range []int{1, 2, 3, 12, 64, 1000} {
			r := &kgo.Record{Key: []byte(key)}
			if got, want := topic.Partition(r, n), int(hash&0x7fffffff)%n; got != want {
				t.Errorf("key %q of %d partitions: %d, Java says %d", key, n, got, want)
			}
			if !topic.RequiresConsistency(r) {
				t.Errorf("key %q may be moved when its partition is away", key)
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	p := offline(b)
	options := &job.Options{ID: "3f6c0a5e", Key: []byte("user-1")}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := p.Encode(welcome{"u1"}, options); err != nil {
			b.Fatal(err)
		}
	}
}
