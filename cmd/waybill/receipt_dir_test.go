package main

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/disk"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// entries are a log of five entries, an hour apart as transcript.log writes it, in which a, b and c are done and d waits for a retry.
func entries() []*dedupe.Entry {
	retrying := receipt("d", dedupe.Retrying, func(r *dedupe.Receipt) { r.Hop, r.Code, r.Result = 1, job.CodeHandlerError, []byte("kept") })
	all := []*dedupe.Entry{
		{Owner: &dedupe.Owner{Instance: "worker-1", Intake: 20_000}},
		{Segment: &dedupe.Segment{Receipts: []dedupe.Receipt{receipt("a", dedupe.Done, nil), receipt("b", dedupe.Retrying, nil)}}},
		{Segment: &dedupe.Segment{Receipts: []dedupe.Receipt{receipt("b", dedupe.Done, func(r *dedupe.Receipt) { r.Attempt = 2 })}, Frontiers: []dedupe.Frontier{{Offset: 7}}}},
		{Segment: &dedupe.Segment{Receipts: []dedupe.Receipt{retrying}, Forget: []job.Identity{receipt("a", dedupe.Done, nil).Identity}}},
		{Segment: &dedupe.Segment{Receipts: []dedupe.Receipt{receipt("c", dedupe.Done, nil), receipt("a", dedupe.Done, nil)}}},
	}
	for i, e := range all {
		e.Offset, e.Time = int64(i), then.Add(time.Duration(i)*time.Hour)
	}
	return all
}

// What a stopped instance keeps on its disk is held against the log, and a directory that is not what the log says is found out.
func TestVerifyADirectory(t *testing.T) {
	s := newTranscript(t)
	if o := s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "2", "--tiers", "5s,1m"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	var log []any
	for _, e := range entries() {
		if log = append(log, e.Segment); e.Owner != nil {
			log[len(log)-1] = e.Owner
		}
	}
	s.log(log...)
	receipts := retrytopics.ReceiptTopic("emails", "mailer")
	topics, err := kadm.NewClient(s.client()).ListTopics(t.Context(), "emails", receipts)
	if err != nil {
		t.Fatal(err)
	}
	key := disk.Key{Job: dedupe.TopicID(topics["emails"].ID), Log: dedupe.TopicID(topics[receipts].ID), Partition: 1}
	for _, c := range []struct {
		name   string
		change func([]*dedupe.Entry) []*dedupe.Entry
		then   func(*disk.DB)
		code   int
		want   string
	}{
		{"as the log says", nil, nil, 0, "emails/1"},
		{"behind the log", func(all []*dedupe.Entry) []*dedupe.Entry { return all[:3] }, nil, 0, "emails/1"},
		{"expired", nil, func(db *disk.DB) { db.Task(key).Expire(then.Add(150 * time.Minute)) }, 0, "emails/1"},
		{"a receipt is lost", func(all []*dedupe.Entry) []*dedupe.Entry {
			all[4].Segment.Receipts = all[4].Segment.Receipts[:1]
			return all
		}, nil, 1, receipt("a", dedupe.Done, nil).Identity.String() + ": the directory knows nothing"},
		{"a receipt is wrong", func(all []*dedupe.Entry) []*dedupe.Entry {
			all[2].Segment.Receipts[0].Attempt = 3
			return all
		}, nil, 1, receipt("b", dedupe.Done, nil).Identity.String() + ": the directory says done"},
		{"a job is not forgotten", func(all []*dedupe.Entry) []*dedupe.Entry {
			all[1].Segment.Receipts = append(all[1].Segment.Receipts, receipt("z", dedupe.Done, nil))
			return all
		}, nil, 1, receipt("z", dedupe.Done, nil).Identity.String() + ": the directory says done"},
		{"the frontier is wrong", func(all []*dedupe.Entry) []*dedupe.Entry {
			all[2].Segment.Frontiers[0].Offset = 8
			return all
		}, nil, 1, "position: the directory says"},
		{"ahead of the log", func(all []*dedupe.Entry) []*dedupe.Entry {
			all[4].Offset = 9
			return all
		}, nil, 1, "the log lost its end"},
		{"of another task", func([]*dedupe.Entry) []*dedupe.Entry { return nil }, nil, 1, "has nothing of these tasks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, all := t.TempDir(), entries()
			if c.change != nil {
				all = c.change(all)
			}
			db, err := disk.Open(disk.Config{Dir: dir, FlushAt: 1})
			if err != nil {
				t.Fatal(err)
			}
			store := db.Task(key)
			for _, e := range all {
				if err := store.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
			if c.then != nil {
				c.then(db)
			}
			if o := s.run("receipt", "verify", "--group", "mailer", "--dir", dir); o.code != 1 || !strings.Contains(o.stderr, "in use by an instance: stop it first") {
				t.Errorf("beside an instance: %+v", o)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it changes nothing
				o := s.run("receipt", "verify", "--group", "mailer", "--dir", dir)
				if o.code != c.code || !strings.Contains(o.stdout+o.stderr, c.want) {
					t.Errorf("%+v", o)
				}
			}
		})
	}
	if o := s.run("receipt", "verify", "--group", "mailer", "--dir", t.TempDir()); o.code != 1 || !strings.Contains(o.stderr, "it is no directory of receipts") {
		t.Errorf("an empty directory: %+v", o)
	}
}
