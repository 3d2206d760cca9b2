package task

import (
	"time"

	"github.com/waybill-dev/waybill/dedupe"
)

// Expire forgets receipts older than the window; the shard calls it now and then, several times a window. The log forgets
// too, whether or not a job has ended: so the frontiers of an idle task, and what is known of jobs that have not ended, are
// written again when half a window has passed (design section 7, "Time"). A job that waits for its time for weeks would else
// be run again by a replay, and one whose attempt was marked be taken for one that never began.
func (m *Machine) Expire(window time.Duration, now int64) {
	if m.phase == running {
		if now-m.claimed > int64(window/2) {
			m.dirty = true
		}
		m.carryForward(time.Unix(0, now).Add(-window / 2))
	}
	m.cfg.Store.Expire(time.Unix(0, now).Add(-window))
}

// carryForward has receipts of jobs that have not ended written again that were appended before a time: joined with themselves
// they change nothing but when they are forgotten. A mark stays one, void under a later owner.
func (m *Machine) carryForward(before time.Time) {
	m.cfg.Store.Unfinished(func(r dedupe.Receipt) {
		switch {
		case int64(r.At) >= before.Unix():
		case r.State == dedupe.Started:
			m.keeps = append(m.keeps, &Keep{Receipt: r, Mark: true})
		default:
			m.record(r)
		}
	})
}
