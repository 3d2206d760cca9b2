package job_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waybill-dev/waybill/job"
)

type record struct {
	Name string `json:"name"`
}

type blob []byte

type boxed struct{ b []byte }

func (b boxed) Bytes() []byte      { return b.b }
func (b *boxed) SetBytes(p []byte) { b.b = p }

type embedsPointer struct{ *wrapperspb.StringValue }

type embedsValue struct{ wrapperspb.StringValue }

type deep struct{ embedsPointer }

func TestCodecRoundTrip(t *testing.T) {
	byValue := &embedsValue{}
	byValue.Value = "hello"
	for name, c := range map[string]struct {
		codec job.Codec
		in    any
		out   any // a pointer to what in is, or a new one where in is a pointer
		get   func(any) any
		want  any
		wire  string
	}{
		"json": {job.JSON, record{"a"}, new(record), func(v any) any { return *v.(*record) }, record{"a"}, `{"name":"a"}`},
		"json, pointer to pointer": {job.JSON, &record{"a"}, new(*record), func(v any) any { return **v.(**record) }, record{"a"},
			`{"name":"a"}`},
		"protobuf": {job.Protobuf, wrapperspb.String("hello"), new(wrapperspb.StringValue),
			func(v any) any { return v.(*wrapperspb.StringValue).GetValue() }, "hello", "\n\x05hello"},
		"protobuf, embedded pointer": {job.Protobuf, embedsPointer{wrapperspb.String("hello")}, new(embedsPointer),
			func(v any) any { return v.(*embedsPointer).GetValue() }, "hello", "\n\x05hello"},
		"protobuf, embedded value": {job.Protobuf, byValue, new(embedsValue),
			func(v any) any { return v.(*embedsValue).GetValue() }, "hello", "\n\x05hello"},
		"bytes":        {job.Bytes, []byte("abc"), new([]byte), func(v any) any { return string(*v.(*[]byte)) }, "abc", "abc"},
		"named bytes":  {job.Bytes, blob("abc"), new(blob), func(v any) any { return string(*v.(*blob)) }, "abc", "abc"},
		"bytes, boxed": {job.Bytes, boxed{[]byte("abc")}, new(boxed), func(v any) any { return string(v.(*boxed).b) }, "abc", "abc"},
		"no bytes":     {job.Bytes, blob(nil), new(blob), func(v any) any { return *v.(*blob) == nil }, true, ""},
	} {
		data, err := c.codec.Marshal(c.in)
		if err != nil || string(data) != c.wire {
			t.Errorf("%s: Marshal = %q, %v; want %q", name, data, err, c.wire)
			continue
		}
		if err := c.codec.Unmarshal(data, c.out); err != nil || !reflect.DeepEqual(c.get(c.out), c.want) {
			t.Errorf("%s: Unmarshal = %v, %v; want %v", name, c.get(c.out), err, c.want)
		}
	}
}

func TestCodecRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		codec job.Codec
		data  string
		v     any
		want  string
	}{
		"json, empty":                {job.JSON, "", new(record), "the payload is empty"},
		"json, blank":                {job.JSON, " \n", new(record), "the payload is empty"},
		"json, half":                 {job.JSON, `{"name":`, new(record), "JSON"},
		"json, wrong type":           {job.JSON, `{"name":1}`, new(record), "name"},
		"json, more":                 {job.JSON, `{} {}`, new(record), "after top-level value"},
		"protobuf, half":             {job.Protobuf, "\n\x05hel", new(wrapperspb.StringValue), "proto:"},
		"protobuf, no message":       {job.Protobuf, "", new(record), "*job_test.record is no proto.Message"},
		"protobuf, nothing":          {job.Protobuf, "", nil, "no proto.Message"},
		"protobuf, nil":              {job.Protobuf, "", (*wrapperspb.StringValue)(nil), "is nil"},
		"bytes, no slice":            {job.Bytes, "a", new(record), "SetBytes"},
		"bytes, nothing":             {job.Bytes, "a", nil, "SetBytes"},
		"bytes, nil pointer":         {job.Bytes, "a", (*blob)(nil), "SetBytes"},
		"bytes, not a pointer":       {job.Bytes, "a", blob("x"), "SetBytes"},
		"bytes, slice of other than": {job.Bytes, "a", new([]int), "SetBytes"},
	} {
		if err := c.codec.Unmarshal([]byte(c.data), c.v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Unmarshal = %v; want an error with %q", name, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		codec job.Codec
		v     any
		want  string
	}{
		"json":                {job.JSON, make(chan int), "unsupported type"},
		"protobuf":            {job.Protobuf, record{}, "job_test.record is no proto.Message"},
		"protobuf, bad UTF-8": {job.Protobuf, wrapperspb.String("\xff"), "UTF-8"},
		"bytes":               {job.Bytes, record{}, "job_test.record is no []byte"},
		"bytes, nothing":      {job.Bytes, nil, "is no []byte"},
	} {
		if b, err := c.codec.Marshal(c.v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Marshal = %q, %v; want an error with %q", name, b, err, c.want)
		}
	}
}

// What Marshal returns belongs to the caller, so the arguments may change afterwards.
func TestBytesMarshalCopies(t *testing.T) {
	for _, v := range []any{blob("abc"), boxed{[]byte("abc")}} {
		got, err := job.Bytes.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got[0] = 'x'
		if again, _ := job.Bytes.Marshal(v); !bytes.Equal(again, []byte("abc")) {
			t.Errorf("%T: the result aliases the arguments", v)
		}
	}
}

func TestProtobufMessageTwoDeep(t *testing.T) {
	var d deep
	err := job.Protobuf.Unmarshal([]byte("\n\x05hello"), &d)
	if err == nil && d.GetValue() == "hello" {
		return // fine too: what must not happen is a panic or a silent nothing
	}
	if err == nil || !strings.Contains(err.Error(), "nothing to decode into") {
		t.Errorf("Unmarshal = %v", err)
	}
}

func TestContentTypes(t *testing.T) {
	for c, want := range map[job.Codec]string{
		job.JSON: "application/json", job.Protobuf: "application/x-protobuf", job.Bytes: "application/octet-stream",
	} {
		if c.ContentType() != want {
			t.Errorf("%T: %q, want %q", c, c.ContentType(), want)
		}
	}
}

func FuzzCodecs(f *testing.F) {
	f.Add([]byte(`{"name":"a"}`))
	f.Add([]byte("\n\x05hello"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if job.JSON.Unmarshal(data, &r) == nil {
			again, err := job.JSON.Marshal(r)
			var back record
			if err != nil || job.JSON.Unmarshal(again, &back) != nil || back != r {
				t.Fatalf("json: %+v became %q, %+v, %v", r, again, back, err)
			}
		}
		var m, back embedsPointer
		if job.Protobuf.Unmarshal(data, &m) == nil {
			again, err := job.Protobuf.Marshal(m)
			if err != nil || job.Protobuf.Unmarshal(again, &back) != nil || !proto.Equal(m.StringValue, back.StringValue) {
				t.Fatalf("protobuf: %v became %q, %v, %v", m, again, back, err)
			}
		}
		var b blob
		if err := job.Bytes.Unmarshal(data, &b); err != nil || !bytes.Equal(b, data) {
			t.Fatalf("bytes: %q, %v", b, err)
		}
	})
}
