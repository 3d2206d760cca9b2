package ledger

import (
	"encoding/json"
	"unicode/utf8"
)

// plain is Event without its methods, so that encoding/json does not recurse.
type plain Event

// wire is the line on disk: keys and ids that are not UTF-8 move to base64 fields, because JSON would mangle them and two
// jobs would become one.
type wire struct {
	plain
	Key64 []byte `json:"key_base64,omitempty"`
	ID64  []byte `json:"id_base64,omitempty"`
}

// MarshalJSON renders the event as one line without a line break.
func (e Event) MarshalJSON() ([]byte, error) {
	w := wire{plain: plain(e)}
	w.Time, w.At = e.Time.UTC(), e.At.UTC()
	if !utf8.ValidString(e.Key) {
		w.Key, w.Key64 = "", []byte(e.Key)
	}
	if !utf8.ValidString(e.ID) {
		w.ID, w.ID64 = "", []byte(e.ID)
	}
	return json.Marshal(&w)
}

// UnmarshalJSON is the inverse of MarshalJSON. It does not validate.
func (e *Event) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Event(w.plain)
	if w.Key64 != nil {
		e.Key = string(w.Key64)
	}
	if w.ID64 != nil {
		e.ID = string(w.ID64)
	}
	return nil
}
