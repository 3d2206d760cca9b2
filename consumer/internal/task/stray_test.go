package task

import (
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// A copy that a dead owner sent of one payload does not run in the place of the copy of another: under AtLeastOnce nobody
// knows that the first is done.
func TestCopyOfAnotherPayload(t *testing.T) {
	r := newRig(t)
	r.give(msg("again", "a", "k"))
	r.end("again/a", success)
	first := r.main().ghost[0]
	r.append(r.topics[1], first.Key, first.Payload, job.CopyHeaders(nil, first, &job.Stamp{Hop: 1, Attempts: 1, Delay: 5 * time.Second, Origin: first.Origin, First: r.time(), Code: job.CodeHandlerError}))
	other := msg("again", "a", "k")
	other.Payload = []byte("other")
	r.give(other)
	r.end("again/a", failure)
	r.write().landWrite()
	r.write().answer()
	r.p.tick(true)
	r.p.settleDown()

	r.wait(time.Minute)
	r.p.tick(false) // it was read before the other
	r.p.settleDown()
	r.p.fetchAll()
	r.said("letter again/a hop 1 attempts 1: conflict")
	equal(t, "runs", string(r.entry("again/a").env.Payload), "other")
	r.end("again/a", success)
	r.p.tick(true)
	r.p.settleDown()
}
