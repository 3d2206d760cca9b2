package task

import (
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/dedupe"
)

// A log that was mirrored, or restored from a copy, tells of another cluster: nothing starts before an operator says where.
func TestLogOfAnotherCluster(t *testing.T) {
	in := func(cluster string) func(w *world) { return func(w *world) { w.cluster = cluster } }
	for _, c := range []struct {
		name   string
		before string // what the owner before said, in the log; empty: an older one, which said nothing
		now    string // what this one is told; empty: nothing
		change func(w *world)
		want   string
		pauses string
	}{
		{"the same", "a", "a", func(*world) {}, "start main at 10", ""},
		{"an older owner did not say", "", "a", func(*world) {}, "start main at 10", ""},
		{"this cluster has no id", "a", "", func(*world) {}, "start main at 10", ""},
		{"another, with the ids of its topics", "a", "b", func(*world) {}, "the receipt log is of cluster a, and this is cluster b", "foreign"},
		{"another, with topics of its own", "a", "b", func(w *world) { w.main().id = dedupe.TopicID{99} }, "the receipt log is of cluster a, and this is cluster b", "foreign"},
		{"another, and an operator has said where", "a", "b", func(w *world) { w.committed["main"] = place{3, false} }, "start main at 3", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, in(c.before), many(10))
			r.unchecked = c.now == "b" // what the log says is settled is another cluster's
			r.p.crash()
			r.cluster = c.now
			c.change(r.world)
			for range 2 { // starting again is no way around it
				r.p = r.assign("b")
				r.p.settleDown()
				equal(t, "pauses", r.p.m.main.pauses.String(), c.pauses)
				if c.pauses != "" {
					equal(t, "of a tier", r.p.m.sources[1].pauses.String(), c.pauses)
					r.p.tick(true)
					r.p.settleDown()
					if r.p.started["main"] || r.p.started["retry.10s"] {
						t.Error("it was started")
					}
					if got := r.p.m.Status().Sources[0].Pauses[0].Text; !strings.Contains(got, c.want) {
						t.Errorf("the reason says %q", got)
					}
				}
				r.said(c.want)
				if c.pauses == "" {
					break
				}
				r.p.crash()
			}
		})
	}
}

// Once an operator has said where, the tiers begin at their logs' start, and the receipts of the other cluster hold.
func TestOrderInAnotherCluster(t *testing.T) {
	r := newRig(t, func(w *world) { w.cluster = "a" }, many(10))
	r.unchecked = true
	r.p.crash()
	r.cluster = "b"
	r.p = r.assign("b")
	r.p.settleDown()
	r.p.crash()
	r.committed["main"], r.rewound = place{0, false}, true
	r.p = r.runs("b")
	r.said("start main at 0", "start retry.10s at 0")
	r.p.fetchAll()
	equal(t, "run again", len(r.p.pool), 0)
	r.p.tick(true)
	r.p.settleDown()
	r.p.crash()
	r.p = r.runs("b")
	equal(t, "pauses", r.p.m.main.pauses.String(), "")
	equal(t, "the log is of", r.p.m.cfg.Store.Position().Of.Cluster, "b")
}
