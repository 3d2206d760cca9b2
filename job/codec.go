package job

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Codec turns arguments into payloads and back. Implementations must be safe for concurrent use, must not keep the slices
// or values they are given, and must return an error for what they cannot decode rather than guess.
type Codec interface {
	// ContentType is written beside each payload and compared (ignoring parameters) with the one read.
	ContentType() string
	// Marshal encodes v. The result belongs to the caller.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into v, a non-nil pointer to what Marshal was given.
	Unmarshal(data []byte, v any) error
}

// The codecs that come with Waybill. JSON is the default.
var (
	JSON     Codec = jsonCodec{}
	Protobuf Codec = protoCodec{} // arguments are a pointer type that implements proto.Message, or a struct whose pointer does
	Bytes    Codec = bytesCodec{} // arguments are a named []byte; the payload is the bytes themselves
)

type jsonCodec struct{}

func (jsonCodec) ContentType() string           { return "application/json" }
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return fmt.Errorf("the payload is empty, not JSON")
	}
	return json.Unmarshal(data, v)
}

type protoCodec struct{}

func (protoCodec) ContentType() string { return "application/x-protobuf" }

func (protoCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is no proto.Message; use the generated pointer type as arguments", v)
	}
	return proto.Marshal(m)
}

func (protoCodec) Unmarshal(data []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no proto.Message; use the generated pointer type as arguments", v)
	}
	return proto.Unmarshal(data, m)
}

type bytesCodec struct{}

func (bytesCodec) ContentType() string { return "application/octet-stream" }

// setter is implemented by argument types that are, or wrap, raw bytes.
type setter interface{ SetBytes([]byte) }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	switch b := v.(type) {
	case []byte:
		return b, nil
	case interface{ Bytes() []byte }:
		return b.Bytes(), nil
	}
	return nil, fmt.Errorf("%T has no method Bytes() []byte, which the raw codec needs", v)
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	switch b := v.(type) {
	case *[]byte:
		*b = data
		return nil
	case setter:
		b.SetBytes(data)
		return nil
	}
	return fmt.Errorf("%T has no method SetBytes([]byte), which the raw codec needs", v)
}
