package dlq

import "fmt"

// Disposition is why a job was filed. The set is closed; the texts are wire format.
type Disposition uint8

// The dispositions.
const (
	Explicit       Disposition = iota + 1 // the handler said job.Dead
	Exhausted                             // its attempts were used up
	TooOld                                // it failed again past its policy's MaxAge
	Undecodable                           // its payload does not decode, or is of another content type
	Unknown                               // nobody knew its kind or its version for a day
	Malformed                             // its headers break the wire format
	Conflict                              // its identity was used before with another payload
	TooLarge                              // its next copy was too large for the topic
	OutcomeUnknown                        // an attempt of it began, and nobody knows how it ended
	Poison                                // it was running in two processes that died
	dispositionEnd
)

var dispositionText = [dispositionEnd]string{"none", "explicit", "exhausted", "too_old", "undecodable", "unknown", "malformed", "conflict", "too_large", "outcome_unknown", "poison"}

// String is the disposition's wire text, such as "too_old"; "none" is the zero value's.
func (d Disposition) String() string {
	if d < dispositionEnd {
		return dispositionText[d]
	}
	return fmt.Sprintf("disposition_%d", uint8(d))
}

// ParseDisposition is the inverse of String; ok is false for a text of no known disposition.
func ParseDisposition(s string) (d Disposition, ok bool) {
	for i, t := range dispositionText {
		if t == s {
			return Disposition(i), true
		}
	}
	return 0, false
}

// Dispositions lists them all, in the order of their constants.
func Dispositions() []Disposition {
	all := make([]Disposition, 0, dispositionEnd-1)
	for d := Explicit; d < dispositionEnd; d++ {
		all = append(all, d)
	}
	return all
}
