package task

import (
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// release is what the log says of the newest epoch.
func (r *rig) release() (how dedupe.Release) {
	epoch := int64(-1)
	for _, l := range r.log {
		if l.entry.Owner != nil {
			epoch, how = l.entry.Offset, dedupe.Held
		} else if l.entry.Segment.Epoch == epoch {
			how = max(how, l.entry.Segment.Release)
		}
	}
	return how
}

// The log says that a task was let go only when nothing of it ran any more and all of that is durable.
func TestReleased(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(r *rig)
		want dedupe.Release
	}{
		"everything ended": {func(r *rig) { r.end("keyed/1", success); r.p.settleDown() }, dedupe.Released},
		"cancelled":        {func(r *rig) { r.end("keyed/1", job.Outcome{Verdict: job.VerdictCancelled}); r.p.settleDown() }, dedupe.Released},
		"an attempt runs":  {func(r *rig) { r.p.settleDown() }, dedupe.Held},
		"a copy is not acked": {func(r *rig) {
			r.end("keyed/1", failure)
			for len(r.p.logq) > 0 {
				r.p.logq[0].landLog()
				_ = r.p.logq[0].answerLog()
			}
		}, dedupe.Held},
		"it took too long": {func(r *rig) { r.p.m.Abandon(r.now); r.p.carry(); r.end("keyed/1", success); r.p.settleDown() }, dedupe.Held},
		"the process died": {func(r *rig) { r.p.crash() }, dedupe.Held},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.give(msg("keyed", "1", "k"), msg("keyed", "2", "k"))
			r.p.tick(true)
			r.p.m.Revoke(r.now)
			r.p.carry()
			c.end(r)
			equal(t, "release", r.release(), c.want)
		})
	}
}

// A zombie's release, which lands behind the next owner's record, says nothing of that one.
func TestReleaseOfAZombie(t *testing.T) {
	r := newRig(t)
	r.p.m.Revoke(r.now)
	r.p.carry()
	old := r.p
	b := r.assign("b")
	for len(b.logq) > 0 {
		b.logq[0].landLog()
		_ = b.logq[0].answerLog()
	}
	for x := old.logq[0]; x.landed < len(x.parts); {
		x.landLog()
	}
	equal(t, "release", r.release(), dedupe.Held)
	old.settleDown()
	equal(t, "the zombie let go", old.drained, true)
	b.settleDown()
	equal(t, "the release that b found", b.m.before.release, dedupe.Held)
}

// A task that is moved on before it ran is as its owner before left it, if that is known.
func TestReleaseIsPassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		leave func(r *rig)
		want  dedupe.Release
	}{
		"released": {func(r *rig) { r.p.m.Revoke(r.now); r.p.carry(); r.p.settleDown(); r.p.crash() }, dedupe.Released},
		"held":     {func(r *rig) { r.p.crash() }, dedupe.Held},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			c.leave(r)
			b := r.assign("b")
			for b.m.phase != proving {
				if len(b.logq) > 0 {
					b.logq[0].landLog()
					_ = b.logq[0].answerLog()
				} else {
					b.readSome(100)
				}
			}
			b.m.Revoke(r.now)
			b.carry()
			equal(t, "let go", b.drained, true)
			b.settleDown()
			equal(t, "release", r.release(), c.want)
			r.p = r.runs("c")
			equal(t, "the release that c found", r.p.m.before.release, c.want)
		})
	}
}
