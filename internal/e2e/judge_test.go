package e2e

import (
	"context"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/retrytopics"
)

// judge asks the checker what a story comes to, from the ledgers of all processes and the topics, once all have ended.
func (s *story) judge(jobs int) {
	s.t.Helper()
	s.endReading()
	if s.lost != nil {
		s.t.Logf("while the story went on some reads failed, and were done again: %v", s.lost)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	s.finish(s.reader.Read(ctx))
	committed, err := s.reader.Committed(ctx, s.group)
	s.finish(err)
	in := checker.Input{Committed: committed, Jobs: []checker.JobTopic{roles(s.topic, s.group)}, Kinds: known, Quiesced: true,
		Timing: checker.Timing{RerunWindow: 3 * time.Second, Lease: session + rebalance, Drain: drain, Session: session}}
	s.reader.Fill(&in)
	for _, path := range s.books {
		events, err := ledger.ReadFile(path)
		s.finish(err)
		in.Ledger = append(in.Ledger, events...)
	}
	began := time.Now()
	res := checker.Check(in)
	s.mark("%d events judged in %v", len(in.Ledger), time.Since(began).Round(time.Millisecond))
	if !res.OK() {
		s.t.Errorf("the checker:\n%v", res)
		return
	}
	s.t.Logf("the checker:\n%v", res)
	s.reached(res, jobs)
}

// roles are the topics of a job topic and its group.
func roles(topic, group string) checker.JobTopic {
	jt := checker.JobTopic{Topic: topic, DeadLetters: retrytopics.DeadLetterTopic(topic, group), Receipts: retrytopics.ReceiptTopic(topic, group)}
	for _, d := range tiers {
		jt.Tiers = append(jt.Tiers, checker.Tier{Topic: retrytopics.TierTopic(topic, group, d), Delay: d})
	}
	return jt
}

// reached sees that the story was one: whatever it is to show happened at least once.
func (s *story) reached(res *checker.Result, jobs int) {
	s.t.Helper()
	of := res.Account.Jobs.Classes
	for what, n := range map[string]int{
		"done": of[checker.Done], "dead": of[checker.Dead], "discarded": of[checker.Discarded], "expired": of[checker.Expired],
		"duplicate": of[checker.Duplicate], "conflict": of[checker.Conflict], "copies": res.Stats.Copies, "redrives": res.Stats.Redrives,
		"retried": res.Stats.Results[ledger.Retry], "snoozed": res.Stats.Results[ledger.Snooze], "panics": res.Stats.Results[ledger.Panic],
	} {
		if n == 0 {
			s.t.Errorf("%s: none in %d jobs: the story shows nothing of it", what, jobs)
		}
	}
	if res.Stats.Records != jobs || res.Stats.Unannounced != 0 {
		s.t.Errorf("%d records in the job topic, %d of them unannounced; %d were enqueued", res.Stats.Records, res.Stats.Unannounced, jobs)
	}
}
