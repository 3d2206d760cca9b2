package task

import (
	"testing"

	"github.com/waybill-dev/waybill/job"
)

// A record whose key belongs in another partition runs like any other, is counted, and told of once.
func TestMisrouted(t *testing.T) {
	const width = 4
	var here, there []string
	for _, key := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"} {
		if job.PartitionOf([]byte(key), width) == 0 {
			here = append(here, key)
		} else {
			there = append(there, key)
		}
	}
	if len(here) == 0 || len(there) < 2 {
		t.Fatal("the keys do not spread")
	}
	for _, c := range []struct {
		name  string
		width int32
		jobs  []job.Message
		want  int64
	}{
		{"at home", width, []job.Message{msg("keyed", "1", here[0]), msg("free", "2", here[0])}, 0},
		{"a nil key is at home everywhere", width, []job.Message{msg("keyed", "1", "")}, 0},
		{"astray", width, []job.Message{msg("keyed", "1", there[0]), msg("keyed", "2", here[0]), msg("free", "3", there[1]), msg("nobody", "4", there[0])}, 3},
		{"a topic of one partition", 1, []job.Message{msg("keyed", "1", there[0])}, 0},
		{"partitions not known", 0, []job.Message{msg("keyed", "1", there[0])}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(w *world) { w.width = c.width })
			r.give(c.jobs...)
			st := r.p.m.Status().Stats
			equal(t, "misrouted", st.Misrouted, c.want)
			equal(t, "read", st.Read, int64(len(c.jobs)))
			if c.want == 0 {
				r.said("!misrouted")
				return
			}
			r.said("misrouted")
			r.give(c.jobs[0])
			r.said("!misrouted")
			for len(r.p.pool) > 0 { // a failure's copy is in the tier of this partition, and is no second stray
				r.p.end([]*Entry{r.p.pool[0]}, failure)
			}
			r.p.settleDown()
			equal(t, "misrouted, after the copies were read too", r.p.m.Status().Stats.Misrouted, c.want+1)
		})
	}
}
