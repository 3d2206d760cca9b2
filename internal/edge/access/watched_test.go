package access_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/setup"
)

// watched is a worker with two job topics: one in trouble, and one that has nothing to do with it.
type watched struct {
	*part
	other    string
	instance *edge.Instance
	meter    meter
	n        int // jobs of the other topic
	needy    int
}

func watch(p *part) *watched {
	w := &watched{part: p, other: p.rig.Topic + "-other"}
	p.want.Topics = append(p.want.Topics, setup.TopicWant{Name: w.other, Partitions: 1})
	p.make()
	p.rig.Kinds = needyKind(p.rig)
	p.grant("worker", p.rights(setup.Worker)...)
	w.instance = p.rig.Start("a", verify, func(c *consumer.Config) {
		c.Topics = append(c.Topics, w.other)
		c.Opts = append(c.Opts, kgo.WithHooks(&w.meter))
	})
	return w
}

// put writes jobs, one of which ends as it says.
func (w *watched) put(end string) {
	w.rig.Good(2)
	for p := range w.rig.Partitions {
		w.needy++
		w.rig.Put(w.rig.Job(p, "needy", fmt.Sprint("needy-", w.needy), fmt.Sprintf(`{"End":%q}`, end)))
	}
	w.rig.Good(2)
}

// trouble waits until the status tells of it.
func (w *watched) trouble(i *edge.Instance, what string, right setup.Right) {
	w.g.t.Helper()
	w.rig.Until(func() string {
		all := i.Status().Troubles
		for _, x := range all {
			if x.What == what && x.On == right.Name && x.Do == fmt.Sprintf("grant this user %s on topic %s", right.Op, right.Name) && x.Error != "" {
				return ""
			}
		}
		return fmt.Sprintf("no trouble of %s on %s, but %+v", what, right, all)
	})
}

// paused waits until the status says that something is paused for that reason.
func (w *watched) paused(pause string) {
	w.g.t.Helper()
	w.rig.Until(func() string {
		if !slices.ContainsFunc(w.instance.Pauses(), func(p string) bool { return strings.HasSuffix(p, ": "+pause) }) {
			return fmt.Sprintf("nothing is paused (%s), but %v", pause, w.instance.Pauses())
		}
		return ""
	})
}

func (w *watched) groupTrouble() {
	w.g.t.Helper()
	w.rig.Until(func() string {
		err := w.instance.Ready()
		if err == nil || !strings.Contains(err.Error(), "grant this user READ on group "+w.rig.Group) {
			return fmt.Sprintf("ready: %v; troubles %+v", err, w.instance.Status().Troubles)
		}
		return ""
	})
}

// calm counts requests for a while: the trouble must not make the worker ask in a loop. A worker that is fed asks for data
// and commits a few times a second; the loops this is about ask thousands of times.
func (w *watched) calm() {
	w.g.t.Helper()
	const most = 150
	w.meter.take()
	time.Sleep(time.Second) // not to wait for something: the span over which is counted
	for key, n := range w.meter.take() {
		if n > most {
			w.g.t.Errorf("%d %s requests in a second", n, kmsg.NameForKey(key))
		}
	}
}

// othersGoOn sends jobs to the topic that has no trouble, and waits until they ran.
func (w *watched) othersGoOn() {
	w.g.t.Helper()
	for range 3 {
		r := w.rig.Job(0, "good", fmt.Sprint("other-", w.n), `{"n":1}`)
		r.Topic = w.other
		w.rig.Put(r)
		w.n++
	}
	w.rig.Until(func() string {
		ran := map[string]bool{}
		for _, x := range w.rig.Runs("other-") {
			ran[x.Message.ID] = true
		}
		if len(ran) < w.n {
			return fmt.Sprintf("of the other topic's jobs ran %v", slices.Collect(maps.Keys(ran)))
		}
		return ""
	})
}

// healed waits until everything written is settled and committed.
func (w *watched) healed(i *edge.Instance) {
	w.g.t.Helper()
	w.rig.Finished()
	w.rig.Until(func() string {
		if err := i.Ready(); err != nil {
			return err.Error()
		}
		for _, p := range i.Pauses() {
			return p
		}
		return ""
	})
	for i := range w.needy {
		if len(w.rig.Runs(fmt.Sprint("needy-", i+1))) == 0 {
			w.g.t.Errorf("needy-%d did not run", i+1)
		}
	}
}
