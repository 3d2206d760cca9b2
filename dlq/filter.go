package dlq

import (
	"bytes"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// Filter chooses letters. Every field that is set must hold; the zero value chooses all.
type Filter struct {
	Kinds        []string      // one of these, as on the wire
	Codes        []job.Code    // one of these
	Dispositions []Disposition // one of these
	Fingerprint  string
	Key          []byte // nil: any
	ID           string
	Since, Until time.Time // filed at or after Since, and before Until
	// Pending leaves out letters that were redriven or superseded: what still waits for somebody.
	Pending bool
	// Limit is how many letters at most, the first filed ones unless Newest is set. 0: all.
	Limit  int
	Newest bool
}

// Match reports whether l is chosen, Limit aside.
func (f *Filter) Match(l *Letter) bool {
	return among(f.Kinds, l.Kind) && among(f.Codes, l.Code) && among(f.Dispositions, l.Disposition) &&
		(f.Fingerprint == "" || f.Fingerprint == l.Fingerprint) &&
		(f.Key == nil || bytes.Equal(f.Key, l.Key)) &&
		(f.ID == "" || f.ID == l.ID) &&
		(f.Since.IsZero() || !l.Filed.Before(f.Since)) &&
		(f.Until.IsZero() || l.Filed.Before(f.Until)) &&
		(!f.Pending || l.Redriven.IsZero() && !l.Superseded)
}

func among[T comparable](set []T, v T) bool { return len(set) == 0 || slices.Contains(set, v) }
