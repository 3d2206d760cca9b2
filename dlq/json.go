package dlq

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// letterJSON is the shape of an exported letter. Of payload, payload_text and payload_base64 one is there: the bytes
// themselves where they are compact JSON, the same as a string where they are UTF-8, else in base64; none for a nil
// payload and for one that was left out. Keys and header values have the last two forms.
type letterJSON struct {
	Ref           string          `json:"ref"`
	Topic         string          `json:"topic"`
	Filed         time.Time       `json:"filed,omitzero"`
	Kind          string          `json:"kind"`
	ID            string          `json:"id"`
	Key           *string         `json:"key,omitempty"`
	KeyBase64     []byte          `json:"key_base64,omitempty"`
	Version       int             `json:"version,omitempty"`
	ContentType   string          `json:"content_type,omitempty"`
	Correlation   string          `json:"correlation,omitempty"`
	At            time.Time       `json:"at,omitzero"`
	Expires       time.Time       `json:"expires,omitzero"`
	Origin        string          `json:"origin"`
	Identity      string          `json:"identity"`
	Digest        string          `json:"digest"`
	Generation    uint32          `json:"generation"`
	Hop           uint32          `json:"hop"`
	Attempts      int             `json:"attempts"`
	First         time.Time       `json:"first,omitzero"`
	Last          time.Time       `json:"last,omitzero"`
	Disposition   string          `json:"disposition"`
	Code          string          `json:"code"`
	Text          string          `json:"text,omitempty"`
	Fingerprint   string          `json:"fingerprint,omitempty"`
	Handler       string          `json:"handler,omitempty"`
	Instance      string          `json:"instance,omitempty"`
	Copies        int             `json:"copies,omitempty"`
	Superseded    bool            `json:"superseded,omitempty"`
	Redriven      time.Time       `json:"redriven,omitzero"`
	Truncated     bool            `json:"truncated,omitempty"`
	PayloadBytes  int             `json:"payload_bytes"`
	HeadersBytes  int             `json:"headers_bytes,omitempty"`
	KeyBytes      int             `json:"key_bytes,omitempty"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	PayloadText   *string         `json:"payload_text,omitempty"`
	PayloadBase64 []byte          `json:"payload_base64,omitempty"`
	Headers       []headerJSON    `json:"headers,omitempty"`
	Raw           []string        `json:"raw,omitempty"`
}

type headerJSON struct {
	Name   string  `json:"name"`
	Value  *string `json:"value,omitempty"`
	Base64 []byte  `json:"value_base64,omitempty"`
}

// MarshalJSON renders the letter as one line of an export. Every byte of payload, key and headers can be told from the result.
func (l *Letter) MarshalJSON() ([]byte, error) {
	j := letterJSON{
		Ref: l.Ref(), Topic: l.Topic, Filed: l.Filed, Kind: l.Kind, ID: l.ID, Version: l.Version, ContentType: l.ContentType,
		Correlation: l.Correlation, At: l.At, Expires: l.Expires, Origin: l.Origin.String(), Identity: l.Identity.String(),
		Digest: fmt.Sprintf("%016x", l.Digest), Generation: l.Generation, Hop: l.Hop, Attempts: l.Attempts, First: l.First,
		Last: l.Last, Disposition: l.Disposition.String(), Code: l.Code.String(), Text: l.Text, Fingerprint: l.Fingerprint,
		Handler: l.Handler, Instance: l.Instance, Copies: l.Copies, Superseded: l.Superseded, Redriven: l.Redriven,
		Truncated: l.Truncated, PayloadBytes: l.PayloadBytes, HeadersBytes: l.HeadersBytes,
		KeyBytes: l.KeyBytes, Raw: l.Raw,
	}
	if !inCalendar(j.Filed) { // a producer's timestamp, where the topic lets them count, may be anything
		j.Filed = time.Time{}
	}
	j.Key, j.KeyBase64 = textual(l.Key)
	if exact(l.Payload) {
		j.Payload = l.Payload
	} else {
		j.PayloadText, j.PayloadBase64 = textual(l.Payload)
	}
	for _, h := range l.Headers {
		text, b64 := textual(h.Value)
		j.Headers = append(j.Headers, headerJSON{h.Key, text, b64})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(&j); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// exact reports whether payload can stand inside JSON as it is, byte for byte.
func exact(payload []byte) bool {
	if len(payload) == 0 || !utf8.Valid(payload) {
		return false
	}
	var b bytes.Buffer
	return json.Compact(&b, payload) == nil && bytes.Equal(b.Bytes(), payload)
}

// textual is b as a string where it is UTF-8, else as bytes for base64; both nil for nil.
func textual(b []byte) (*string, []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
