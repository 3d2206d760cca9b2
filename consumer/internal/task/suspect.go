package task

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// A process that dies takes its attempts with it, and one of them may be why: a panic outside recover, os.Exit, memory without
// end. After a takeover without a release the jobs without outcome that the owner before may have taken in are suspects: each
// runs under a durable started mark, a few at a time. Whoever takes over next knows by the marks which of them ran. One that
// was found started runs as the only suspect of its process; one that was found started twice is filed as poison. So a job
// that kills its process kills three: one that does not suspect it, one in which it ran among a few, one in which it ran alone.
// What was not running is never suspected, and after a release nothing is.

// Suspicion says how carefully an entry is to be run.
type Suspicion uint8

// The degrees.
const (
	NoSuspect Suspicion = iota
	Suspect             // under a mark, among a few others
	Alone               // under a mark, as the only suspect of the process
)

// Suspicion of an entry that is offered. What is not NoSuspect must be marked (SuspectMark) before it runs.
func (e *Entry) Suspicion() Suspicion { return e.suspicion }

// SuspectMark is what must be durable before a suspect runs; see Keep.Mark.
func SuspectMark(e *Entry) dedupe.Receipt {
	r := StartMark(&e.env.Message)
	if e.suspicion == Alone {
		r.Code = job.CodeSuspect
	}
	return r
}

// doubt bounds what of a partition may have been running when the owner before died: as many records without outcome as it
// took in at most, of those that stood there when the task was taken over, no further from the frontier than anybody reads. Of
// a tier they are those that were due by then.
func (m *Machine) doubt(s *source, frontier, end int64) {
	if s.doubts, s.doubtful = 0, 0; m.before.release != dedupe.Released {
		s.doubts, s.doubtful = m.before.intake, min(end, frontier+m.before.intake+int64(asideAhead*m.cfg.Limits.Ahead))
	}
}

// inherited reports whether an entry that is admitted may have been running when the owner before died.
func (m *Machine) inherited(e *Entry, due int64) bool {
	s := e.src
	if s.tier < 0 && (s.doubts <= 0 || e.env.Offset >= s.doubtful) {
		m.before.lanes = nil
		return false
	}
	if s.doubts <= 0 || e.env.Offset >= s.doubtful || s.tier >= 0 && due > m.before.at || e.Kind == nil || e.env.Fault != "" || e.unread != "" {
		return false
	}
	r := m.view(e.env.Identity)
	switch m.standing(e, &r) {
	case itsOwn:
		if r.Stale(e.env.Generation, e.env.Hop) {
			return false
		}
	case second: // of a job that is not done, which it may have followed before that owner died, and will again
		if e.Kind.Policy.Window != job.UntilDone {
			return false
		}
	case outdated:
		return false
	}
	if s.tier < 0 && !m.mayHaveRun(e.lane) {
		return false
	}
	s.doubts--
	m.doubtful++
	return true
}

// mostDoubts is how many records of one lane may have been running when the owner before died: its share of what that took in.
func (m *Machine) mostDoubts() int { return max(64, int(m.before.intake)/hotShare) }

// mayHaveRun counts a record of a lane without outcome. The owner before may have set aside what stands behind a lane's share (see
// aside.go), a million records perhaps, and have run others above those. So no lane takes more of the doubts than its share, and
// one that would gives back what it took: others stand behind it that may have been running, as many as there would without it.
func (m *Machine) mayHaveRun(lane uint64) bool {
	if m.before.lanes == nil {
		m.before.lanes = map[uint64]int{}
	}
	switch n, most := m.before.lanes[lane], m.mostDoubts(); {
	case n > most:
		return false
	case n == most:
		m.before.lanes[lane]++
		m.main.doubts += int64(most)
		return false
	}
	m.before.lanes[lane]++
	return true
}

// suspected says how carefully e is to be run, once in the life of an entry: a mark that is found later is its own. It
// files what was found started in two processes that died. started says that r is a mark of this very hop. Once more is said
// of what waited for its mark while another owned the task and began it.
func (m *Machine) suspected(e *Entry, r *dedupe.Receipt, started bool) (filed bool) {
	begun := m.before.begun[e.env.Identity]
	if begun {
		delete(m.before.begun, e.env.Identity)
	}
	if e.judged && !begun || e.Kind.Policy.Guarantee == job.AtMostOnce { // that one is filed at the first mark
		return false
	}
	e.judged = true
	found := 0
	if started {
		if r.Code == job.CodeSuspect {
			found++
		}
		switch {
		case begun:
			if found = max(found, 1); m.before.died && r.Code == job.CodeSuspect {
				found++
			}
		case m.before.release == dedupe.Held:
			found++
		case m.before.release == dedupe.LeftSuspects: // the mark may be that of the owner that died before, and must not be forgotten
			found = max(found, 1)
		}
	}
	switch {
	case found > 1:
		m.file(e, dlq.Poison, job.CodePoison, fmt.Sprintf("attempt %d of the job was running in two processes that died or lost their task without letting go, in the second as the only one of its kind: it is taken for what kills them (a panic outside the handler's goroutine, os.Exit, memory). Redrive it when that is mended", e.env.Attempt))
		return true
	case found == 1:
		e.suspicion = Alone
	case e.inherited:
		e.suspicion = Suspect
	}
	return false
}

// A trial is a suspect that ran alone and ended. It is not over before the log says so: were the next one begun and took the
// process down, the first would be found started a second time and be filed for it.
type trial struct {
	e   *Entry
	seq uint64 // in the order of settling
}

// tried ends the trials of what was settled up to a place in that order.
func (m *Machine) tried(limit uint64) {
	n := 0
	for n < len(m.trials) && m.trials[n].seq <= limit {
		m.Out.Cleared = append(m.Out.Cleared, m.trials[n].e)
		n++
	}
	m.trials = slices.Delete(m.trials, 0, n)
}

// leftSuspects reports whether what the owner before may have been running is not all settled.
func (m *Machine) leftSuspects() bool {
	if m.before.release == dedupe.Released {
		return false
	}
	for _, s := range m.sources {
		if !s.ready || s.doubts > 0 && s.next < s.doubtful {
			return true
		}
	}
	return m.doubtful > 0
}
