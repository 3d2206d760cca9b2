package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/retrytopics"
)

// The titles of the two generations of workers.
const (
	oldWorker = "old"
	newWorker = "new"
)

// A group of three is rolled from workers of an earlier commit to those of this one, and back, under load with retries,
// letters and duplicates. The checker judges it as any story: nothing is lost, and what ran twice may have. And each
// generation is seen to take over what the other wrote: its copies, its receipts, its commits, its letters.
func TestRealRollingUpgrade(t *testing.T) {
	c := realkafka.Shared(t)
	program, _ := earlier(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const jobs = 24_000 // a minute of them at this pace: longer than the rolls take
	s := newStory(t, place{c.Addrs(), c.ClientOpts()})
	old := func() *worker { return s.hireAs(oldWorker, program) }
	three := []*worker{old(), old(), old()}
	s.settled(three...)
	s.mark("three workers of the earlier commit share %d tasks", partitions)
	s.open(items(7, jobs, jobs))
	s.load.pace = 20
	s.load.run(t.Context(), jobs)
	s.sent(1000)

	for i, w := range three {
		s.dismiss(w)
		three[i] = s.hireAs(newWorker, self)
		s.settled(three...)
		s.onCourse(3)
	}
	s.mark("all are of this commit")
	s.again(0, 300) // what the earlier one has done
	upgraded := int(s.load.sent.Load())
	s.sent(upgraded + 1500)

	for i, w := range three {
		if i == 0 {
			s.kill(w) // what it had not flushed, and what it had, is for the earlier one to find out
		} else {
			s.dismiss(w)
		}
		three[i] = old()
		s.settled(three...)
		s.onCourse(3)
	}
	s.mark("all are of the earlier commit again")
	s.again(upgraded, 300) // what this one has done
	s.load.rush.Store(int64(len(s.load.items)))
	s.sent(len(s.load.items))
	s.finish(s.load.halt())
	s.idle(3 * time.Minute)
	s.redrive()
	s.idle(3 * time.Minute)
	s.mark("idle")
	for _, w := range three {
		s.dismiss(w)
	}
	s.judge(len(s.load.items))
	s.crossed()
}

// onCourse sees that the group rests with its own balancer, and that whatever it committed bears the mark by which both
// generations know it for their own.
func (s *story) onCourse(members int) {
	s.t.Helper()
	until(s.t, patience, func() string {
		groups, err := s.admin.DescribeGroups(s.t.Context(), s.group)
		if err != nil {
			return err.Error()
		}
		if g := groups[s.group]; g.State != "Stable" || !strings.HasPrefix(g.Protocol, "waybill-") || len(g.Members) != members {
			return "the group is " + g.State + ", balanced by " + g.Protocol
		}
		return ""
	})
	offsets, err := s.admin.FetchOffsets(s.t.Context(), s.group)
	s.finish(err)
	seen := 0
	offsets.Each(func(o kadm.OffsetResponse) {
		if seen++; o.Metadata != "wb1" {
			s.t.Errorf("offset %d of %s/%d is committed with metadata %q", o.At, o.Topic, o.Partition, o.Metadata)
		}
	})
	if seen == 0 {
		s.t.Error("nothing is committed")
	}
}

// again puts n jobs that were enqueued from place from on into the load once more, as the next: each was to succeed, and
// is a duplicate now.
func (s *story) again(from, n int) {
	s.t.Helper()
	s.finish(s.load.halt())
	sent := int(s.load.sent.Load())
	var more []item
	for _, it := range s.load.items[from:sent] {
		if len(more) < n && it.raw == nil && it.in == 0 && it.intent == string(ledger.OutcomeDone) {
			it.intent = string(ledger.OutcomeDuplicate)
			more = append(more, it)
		}
	}
	if len(more) < n {
		s.t.Errorf("only %d jobs of %d are there to be enqueued again", len(more), n)
	}
	s.load.items = slices.Insert(s.load.items, sent, more...)
	s.load.run(s.t.Context(), len(s.load.items))
	s.sent(sent + len(more))
}

// crossed sees that both generations worked with what the other wrote.
func (s *story) crossed() {
	s.t.Helper()
	title := func(process string) string { t, _, _ := strings.Cut(process, "-"); return t }
	last := map[string]ledger.Event{} // by job: its last attempt that ended in a hop
	hops := map[string]int{}
	events := s.events()
	for _, e := range events {
		if e.Type != ledger.Returned && e.Type != ledger.Called {
			continue
		}
		name := e.Kind + "/" + e.Key + "/" + e.ID
		if e.Type == ledger.Returned {
			last[name] = e
		} else if before, ok := last[name]; ok && e.Hop == before.Hop+1 && e.Generation == before.Generation {
			hops[title(before.Process)+" to "+title(e.Process)]++
		}
	}
	var in checker.Input
	s.reader.Fill(&in)
	letters := map[string]int{}
	for _, rec := range in.Topics[retrytopics.DeadLetterTopic(s.topic, s.group)] {
		for _, h := range rec.Headers {
			if h.Key == dlq.HeaderInstance {
				letters[title(string(h.Value))]++
			}
		}
	}
	r := &rig{t: s.t, opts: s.at.opts, admin: s.admin}
	owners := map[string]int{}
	for _, rec := range r.records(retrytopics.ReceiptTopic(s.topic, s.group)) {
		e, err := dedupe.Decode(rec.Value)
		if err != nil {
			s.t.Errorf("receipt log %d@%d: %v", rec.Partition, rec.Offset, err)
		} else if e.Owner != nil {
			owners[title(e.Owner.Instance)]++
		}
	}
	for _, rec := range r.records(retrytopics.AuditTopic(s.group)) {
		if e, err := audit.Decode(rec.Value); err != nil || e.What == audit.Rewind {
			s.t.Errorf("a commit of the other generation was taken for an operator's: %+v, %v", e, err)
		}
	}
	s.mark("copies: %v; letters: %v; ownerships: %v", hops, letters, owners)
	for _, way := range []string{oldWorker + " to " + newWorker, newWorker + " to " + oldWorker} {
		if hops[way] == 0 {
			s.t.Errorf("no job went from %s by a retry tier", way)
		}
	}
	for _, title := range []string{oldWorker, newWorker} {
		if letters[title] == 0 || owners[title] == 0 {
			s.t.Errorf("%s workers filed %d letters and took %d tasks", title, letters[title], owners[title])
		}
	}
}

// events are those of all processes in the order of their times.
func (s *story) events() (all []ledger.Event) {
	s.t.Helper()
	for _, path := range s.books {
		events, err := ledger.ReadFile(path)
		s.finish(err)
		all = append(all, events...)
	}
	slices.SortStableFunc(all, func(a, b ledger.Event) int { return a.Time.Compare(b.Time) })
	return all
}
