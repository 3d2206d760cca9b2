package consumer_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Records without headers are jobs of the topic's default kind, the topic's name where none is given.
func TestForeignTopic(t *testing.T) {
	within(t, func(r *rig) {
		if _, err := r.admin.CreateTopic(r.t.Context(), 2, 1, nil, "note"); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var seen []string
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, j.Topic+" "+j.Kind+" "+j.Args.Text)
			return nil
		}
		a := r.start("a", func(c *consumer.Config) {
			c.Topics, c.Foreign = []string{"note"}, []consumer.Topic{{Name: topicName, DefaultKind: "note"}}
		})
		r.produce(&kgo.Record{Topic: topicName, Value: []byte(`{"text":"x"}`)})
		r.produce(&kgo.Record{Topic: "note", Partition: 1, Key: []byte("k"), Value: []byte(`{"text":"y"}`)})
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(seen)
		if want := []string{"jobs note x", "note note y"}; !slices.Equal(seen, want) {
			t.Errorf("ran %q, want %q", seen, want)
		}
		a.clean()
	})
}

// An instance that brings a tier: the others' tasks go on, and stay where they are; its own tasks use the tier at once.
func TestNewTierStopsNobody(t *testing.T) {
	for _, oldLeads := range []bool{true, false} {
		t.Run(fmt.Sprint("the old one leads=", oldLeads), func(t *testing.T) {
			within(t, func(r *rig) {
				short := []time.Duration{10 * time.Second, 2 * time.Minute}
				long := append(slices.Clone(short), 5*time.Minute)
				r.handle = func(_ context.Context, j *job.Job[note]) error {
					if j.Args.Text == "far" && j.Hop == 0 {
						return job.Snooze(5 * time.Minute)
					}
					return nil
				}
				static := func(tiers []time.Duration, id string) func(*consumer.Config) {
					return func(c *consumer.Config) { c.Tiers, c.StaticID = tiers, id }
				}
				var a, b *instance
				if oldLeads {
					a, b = r.start("a", static(short, "a")), r.start("b", static(short, "b"))
				} else {
					b, a = r.start("b", static(short, "b")), r.start("a", static(short, "a"))
				}
				time.Sleep(time.Minute)
				before := a.epochs()
				if len(before) != 2 || len(b.epochs()) != 2 {
					t.Fatalf("a has %v, b has %v", before, b.epochs())
				}
				theirs := slices.Sorted(maps.Keys(b.epochs()))
				b.clean()
				b = r.start("b", static(long, "b"))
				for n := range 60 {
					for p := range int32(4) {
						r.put(p, fmt.Sprintf("job-%d-%d", n, p), "")
					}
					time.Sleep(time.Second)
				}
				r.expectRuns("job-", 240)
				for _, x := range r.attempts("job-") {
					var n, p int
					if _, err := fmt.Sscanf(x.id, "job-%d-%d", &n, &p); err != nil {
						t.Fatal(err)
					}
					if _, hisOwn := before[int32(p)]; hisOwn != (x.who == "a") {
						t.Errorf("%s ran on %s", x.id, x.who)
					}
				}
				if got := a.epochs(); !maps.Equal(got, before) {
					t.Errorf("a's tasks were owned anew: %v, then %v", before, got)
				}
				if got := slices.Sorted(maps.Keys(b.epochs())); !slices.Equal(got, theirs) {
					t.Errorf("b's tasks are %v, were %v", got, theirs)
				}
				at := theirs[0]
				r.put(at, "far", "far")
				time.Sleep(6 * time.Minute)
				r.expectRuns("far", 2)
				tier := retrytopics.TierTopic(topicName, groupName, 5*time.Minute)
				ends, err := r.admin.ListEndOffsets(r.t.Context(), tier)
				if err != nil {
					t.Fatal(err)
				}
				if o, _ := ends.Lookup(tier, at); o.Offset != 1 { // the copy itself is trimmed by now
					t.Errorf("%d copies went to the new tier, want 1", o.Offset)
				}
				a.clean()
				b.clean()

				// It is in the layout: an old configuration reads it until it is drained.
				r.produce(&kgo.Record{Topic: tier, Partition: slices.Min(slices.Collect(maps.Keys(before))), Key: []byte("k"),
					Value: []byte(`{}`), Headers: copyHeaders("left")})
				c := r.start("c", static(short, "c"))
				time.Sleep(7 * time.Minute)
				r.expectRuns("left", 1)
				c.clean()
			})
		})
	}
}

// copyHeaders are those of a copy that hopped once.
func copyHeaders(id string) []kgo.RecordHeader {
	var out []kgo.RecordHeader
	for _, kv := range [][2]string{{job.HeaderKind, "note"}, {job.HeaderID, id}, {job.HeaderHop, "1"}, {job.HeaderGen, "0"}, {job.HeaderAttempt, "1"},
		{job.HeaderDelay, "1000"}, {job.HeaderOrigin, topicName + "/0/0/0"}} {
		out = append(out, kgo.RecordHeader{Key: kv[0], Value: []byte(kv[1])})
	}
	return out
}

// A static member that restarts within its session finds its tasks where it left them, and nobody else's move.
func TestStaticRestart(t *testing.T) {
	within(t, func(r *rig) {
		static := func(id string) func(*consumer.Config) { return func(c *consumer.Config) { c.StaticID = id } }
		a, b := r.start("a", static("a")), r.start("b", static("b"))
		time.Sleep(30 * time.Second)
		before, theirs := a.epochs(), slices.Sorted(maps.Keys(b.epochs()))
		b.clean()
		for p := range int32(4) {
			r.put(p, fmt.Sprint("job-", p), "")
		}
		time.Sleep(15 * time.Second)
		r.expectRuns("job-", 2)
		b = r.start("b", static("b"))
		r.expectRuns("job-", 4)
		if got := a.epochs(); !maps.Equal(got, before) {
			t.Errorf("a's tasks were owned anew: %v, then %v", before, got)
		}
		if got := slices.Sorted(maps.Keys(b.epochs())); !slices.Equal(got, theirs) {
			t.Errorf("b's tasks are %v, were %v", got, theirs)
		}
		a.clean()
		b.clean()
	})
}

// order commits an offset as an operator does, without our metadata.
func (r *rig) order(partition int32, at int64) {
	r.t.Helper()
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: topicName, Partition: partition, At: at, LeaderEpoch: -1})
	resp, err := r.admin.CommitOffsets(r.t.Context(), groupName, o)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// An operator's offset is obeyed and audited, back and forth; receipts hold: what is done is not done again.
func TestOperatorsOrder(t *testing.T) {
	within(t, func(r *rig) {
		a := r.start("a")
		for i := range 5 {
			r.put(0, fmt.Sprint("job-", i), "")
		}
		time.Sleep(time.Second)
		r.expectRuns("job-", 5)
		a.clean()
		r.order(0, 2)
		for i := range 5 {
			r.put(1, fmt.Sprint("skip-", i), "")
		}
		r.order(1, 3)
		b := r.start("b")
		time.Sleep(time.Second)
		r.expectRuns("job-", 5)
		r.expectRuns("skip-", 2)
		if s := b.tasks()[0].Stats; s.Duplicate != 3 || s.Read != 3 {
			t.Errorf("task 0: %+v", s)
		}
		for p := range int32(2) {
			if at, meta := r.committed(topicName, p); at != 5 || meta != "wb1" {
				t.Errorf("partition %d is committed at %d (%q)", p, at, meta)
			}
		}
		var audited []string
		for _, x := range r.values(groupName + ".audit") {
			audited = append(audited, string(x.Value))
		}
		if len(audited) != 2 || !strings.Contains(strings.Join(audited, ""), `"offset":2`) || !strings.Contains(strings.Join(audited, ""), `"offset":3`) {
			t.Errorf("audited: %v", audited)
		}
		if len(b.logged("an operator set the group's offset to 2")) != 1 {
			t.Errorf("logged: %v", b.logged(""))
		}
		b.clean()
		c := r.start("c") // an order is obeyed once
		time.Sleep(time.Second)
		r.expectRuns("skip-", 2)
		if n := len(r.values(groupName + ".audit")); n != 2 {
			t.Errorf("%d audit entries", n)
		}
		c.clean()
	})
}

// A start beyond the end of the log stops that partition, says why, and no other.
func TestTruncated(t *testing.T) {
	within(t, func(r *rig) {
		r.order(2, 100)
		a := r.start("a")
		for p := range int32(4) {
			r.put(p, fmt.Sprint("job-", p), "")
		}
		time.Sleep(time.Minute)
		r.expectRuns("job-", 3)
		if s := a.tasks()[2].Sources[0]; len(s.Pauses) != 1 || s.Pauses[0].Reason.String() != "truncated" {
			t.Errorf("partition 2: %+v", s)
		}
		a.clean()
	})
}

// Without a place a group begins as declared.
func TestStart(t *testing.T) {
	for at, want := range map[consumer.StartAt]int{consumer.Earliest: 8, consumer.Latest: 4} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			within(t, func(r *rig) {
				for p := range int32(4) {
					r.put(p, fmt.Sprint("job-before-", p), "")
				}
				a := r.start("a", func(c *consumer.Config) { c.Start = at })
				for p := range int32(4) {
					r.put(p, fmt.Sprint("job-after-", p), "")
				}
				time.Sleep(time.Second)
				r.expectRuns("job-", want)
				a.clean()
				b := r.start("b", func(c *consumer.Config) { c.Start = consumer.Earliest })
				time.Sleep(time.Second)
				r.expectRuns("job-", want) // it has a place by now
				b.clean()
			})
		})
	}
}

// A receipt log that cannot be read holds its task, reason stopped, and no other; the instance still ends.
func TestUnreadableLog(t *testing.T) {
	for name, value := range map[string][]byte{"garbage": []byte("not an entry"), "of a newer version": {9, 0x9d, 0x88, 0xcf, 0x2a}} {
		t.Run(name, func(t *testing.T) {
			within(t, func(r *rig) {
				r.start("a").clean()
				r.produce(&kgo.Record{Topic: topicName + "." + groupName + ".receipts", Partition: 1, Value: value})
				b := r.start("b")
				for p := range int32(4) {
					r.put(p, fmt.Sprint("job-", p), "")
				}
				time.Sleep(time.Minute)
				r.expectRuns("job-", 3)
				s := b.tasks()[1]
				reasons := fmt.Sprint(s.Sources[0].Pauses)
				if s.Phase == "running" || !strings.Contains(reasons, "stopped") {
					t.Errorf("task 1 is %s, paused: %s", s.Phase, reasons)
				}
				if n := len(b.logged("cannot be read")); n != 1 {
					t.Errorf("said %d times that the log cannot be read", n)
				}
				start := time.Now()
				b.clean()
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("Run returned after %v", took)
				}
			})
		})
	}
}

// The log is the truth: offsets that are lost are found in it.
func TestLostOffsets(t *testing.T) {
	within(t, func(r *rig) {
		a := r.start("a")
		at := r.put(0, "job", "")
		time.Sleep(time.Second)
		a.clean()
		if s := r.receipts(0)[at]; s != dedupe.Done {
			t.Fatalf("the receipt is %v", s)
		}
		if _, err := r.admin.DeleteGroup(r.t.Context(), groupName); err != nil {
			t.Fatal(err)
		}
		b := r.start("b")
		r.expectRuns("job", 1)
		if s := b.tasks()[0].Stats; s.Read != 0 {
			t.Errorf("%+v: read again what the log knows", s)
		}
		if at, _ := r.committed(topicName, 0); at != 1 {
			t.Errorf("committed at %d", at)
		}
		b.clean()
	})
}

// Partitions that a topic has beyond the group's layout stay unread.
func TestGrownTopic(t *testing.T) {
	within(t, func(r *rig) {
		r.start("a").clean()
		if _, err := r.admin.CreatePartitions(r.t.Context(), 2, topicName); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		b := r.start("b")
		for p := range int32(6) {
			r.put(p, fmt.Sprint("job-", p), "")
		}
		time.Sleep(time.Minute)
		r.expectRuns("job-", 4)
		if n := len(b.logged("stays paused (layout)")); n != 2 {
			t.Errorf("%d partitions are said to be beyond the layout: %v", n, b.logged(""))
		}
		b.clean()
	})
}

// Old copies are trimmed from the tiers once the group is past them.
func TestTrim(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			if j.Hop == 0 {
				return job.Snooze(time.Second)
			}
			return nil
		}
		a := r.start("a")
		for i := range 10 {
			r.put(0, fmt.Sprint("job-", i), "")
		}
		time.Sleep(2 * time.Minute)
		r.expectRuns("job-", 20)
		tier := retrytopics.TierTopic(topicName, groupName, 10*time.Second)
		starts, err := r.admin.ListStartOffsets(r.t.Context(), tier)
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := starts.Lookup(tier, 0); o.Offset != 10 {
			t.Errorf("the tier begins at %d, want 10", o.Offset)
		}
		a.clean()
	})
}
