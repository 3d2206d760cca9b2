package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
)

// Codec turns arguments into payloads and back. Implementations must be safe for concurrent use, must not keep the slices
// or values they are given, and must return an error for what they cannot decode rather than guess.
type Codec interface {
	// ContentType is written beside each payload and compared (ignoring parameters) with the one read.
	ContentType() string
	// Marshal encodes v. The result belongs to the caller.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into v: a non-nil pointer to the kind's argument type, or, where that is itself a pointer
	// type, a new value of it. It may alias data only where v then lives no longer than the attempt (Bytes does).
	Unmarshal(data []byte, v any) error
}

// The codecs that come with Waybill. JSON is the default.
var (
	JSON     Codec = jsonCodec{}
	Protobuf Codec = protoCodec{} // arguments are a generated pointer type, or a struct that embeds one to add the method Kind
	Bytes    Codec = bytesCodec{} // arguments are a named []byte or have Bytes and SetBytes; the payload is the bytes themselves
)

type jsonCodec struct{}

func (jsonCodec) ContentType() string           { return "application/json" }
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return errors.New("the payload is empty, not JSON")
	}
	return json.Unmarshal(data, v)
}

type protoCodec struct{}

func (protoCodec) ContentType() string { return "application/x-protobuf" }

func (protoCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, notProto(v)
	}
	return proto.Marshal(m)
}

func (protoCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return notProto(v)
	}
	fillEmbedded(v)
	if !m.ProtoReflect().IsValid() {
		return fmt.Errorf("%T is nil: there is nothing to decode into", v)
	}
	return proto.Unmarshal(data, m)
}

func notProto(v any) error {
	return fmt.Errorf("%T is no proto.Message; use the generated pointer type, or a struct that embeds it, as arguments", v)
}

var protoMessage = reflect.TypeFor[proto.Message]()

// fillEmbedded gives a struct that has its messagehood from an embedded nil pointer a message to point to.
func fillEmbedded(v any) {
	s := reflect.ValueOf(v)
	if s.Kind() != reflect.Pointer || s.IsNil() || s.Elem().Kind() != reflect.Struct {
		return
	}
	s = s.Elem()
	for i := range s.NumField() {
		f, t := s.Field(i), s.Type().Field(i)
		if t.Anonymous && f.CanSet() && f.Kind() == reflect.Pointer && t.Type.Implements(protoMessage) && f.IsNil() {
			f.Set(reflect.New(t.Type.Elem()))
		}
	}
}

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return "application/octet-stream" }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	if b, ok := v.(interface{ Bytes() []byte }); ok {
		return bytes.Clone(b.Bytes()), nil
	}
	if r, ok := byteSlice(v); ok {
		return bytes.Clone(r.Bytes()), nil
	}
	return nil, fmt.Errorf("%T is no []byte and has no method Bytes() []byte, which the raw codec needs", v)
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	if b, ok := v.(interface{ SetBytes([]byte) }); ok {
		b.SetBytes(data)
		return nil
	}
	if r, ok := byteSlice(v); ok && r.CanSet() {
		r.SetBytes(data)
		return nil
	}
	return fmt.Errorf("%T points to no []byte and has no method SetBytes([]byte), which the raw codec needs", v)
}

// byteSlice is the []byte that v is or points to, whatever its type is called.
func byteSlice(v any) (reflect.Value, bool) {
	r := reflect.ValueOf(v)
	if r.Kind() == reflect.Pointer {
		r = r.Elem()
	}
	return r, r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8
}
