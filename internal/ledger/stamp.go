package ledger

import "time"

// stamp is what makes events of one process: its name, its sequence, its clock that never goes back, and whether it is
// still alive. Its owner guards it.
type stamp struct {
	process string
	seq     int64
	last    time.Time
	frozen  bool
}

// take fills in what the sink owes the event and reports whether it still counts. Times the caller set are kept.
func (s *stamp) take(e *Event) bool {
	if s.frozen {
		return false
	}
	s.seq++
	e.Seq = s.seq
	if e.Process == "" {
		e.Process = s.process
	}
	if e.Time.IsZero() {
		e.Time = time.Now().Round(0) // the wall clock: a ledger outlives the process that wrote it
		if e.Time.Before(s.last) {
			e.Time = s.last // a stepped clock must not turn `returned` before `called`
		}
		s.last = e.Time
	}
	return true
}
