package task

import (
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// heritage is what the owner before left behind.
type heritage struct {
	release dedupe.Release // Held: its process may have died with attempts running
	intake  int64          // how many records of each partition it may have taken in that have no outcome
	at      int64          // when the task was taken over
	lanes   map[uint64]int // records of the job topic that it may have been running, by lane

	// Of an ownership that goes on under a new epoch:
	mine  int64                 // the epoch before, -1 for none
	died  bool                  // another owned the task in between, and did not let go
	begun map[job.Identity]bool // that one began those while they waited for their marks here, see lookAgain
}

// inherit looks at the owner before, when this ownership's own record is about to be folded. An ownership that goes on
// under a new epoch knows what it did itself.
func (m *Machine) inherit(e *dedupe.Entry) {
	if e.Owner == nil || e.Offset != m.epoch {
		return
	}
	pos := m.cfg.Store.Position()
	if m.reown {
		if pos.Epoch != m.before.mine {
			m.before.died = pos.Release == dedupe.Held
		}
		return
	}
	m.before = heritage{mine: m.before.mine, release: pos.Release, intake: pos.Owner.Intake, at: m.now}
	if pos.Epoch < 0 { // nobody
		m.before.release = dedupe.Released
	}
	if m.before.intake <= 0 {
		m.before.intake = m.cfg.Limits.Intake()
	}
}

// lastWord is how a drain ends for the next owner to know: nothing runs any more, and what is settled is in the segment
// that says so. Held while that is not so, and when it was said already.
func (m *Machine) lastWord() dedupe.Release {
	if m.phase != draining || m.offered > 0 || m.writing > 0 || m.released {
		return dedupe.Held
	}
	if m.leftSuspects() {
		return dedupe.LeftSuspects
	}
	return dedupe.Released
}

// passOn lets a task go that never ran here: what the owner before said of itself holds. Before the log is read nobody
// knows what that was.
func (m *Machine) passOn() {
	if m.phase == proving && !m.reown && m.before.release != dedupe.Held && m.cfg.Store.Position().Epoch == m.epoch {
		m.Out.Late = &Segment{Epoch: m.epoch, Release: m.before.release}
	}
}
