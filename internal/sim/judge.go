package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// quiesce waits until everything is consumed: the committed offset of each partition is its end.
func (w *world) quiesce(limit time.Duration) error {
	end := time.Now().Add(limit)
	owned := time.Now()
	for n := 1; ; n++ {
		w.expire(false)
		if n%10 == 0 { // brokers may have refusals left
			_ = w.release()
		}
		if w.owned() {
			owned = time.Now()
		} else if time.Since(owned) > time.Minute { // the broker waits for a member that is no more
			w.counts["group stuck"]++
			w.expire(true)
			owned = time.Now()
		}
		left, err := w.left()
		if err == nil && left == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("not idle after %v: %s %w", limit, left, errors.Join(err, w.stuck()))
		}
		time.Sleep(2 * time.Second)
	}
}

// owned reports whether any worker has a task, and counts what tasks have set aside.
func (w *world) owned() (any bool) {
	for _, k := range w.workers {
		for _, t := range k.c.Status().Tasks {
			any = true
			if t.Stats.Aside > 0 {
				w.counts["set aside"]++
			}
			if t.Stats.Again > 0 {
				w.counts["read again"]++
			}
		}
	}
	return any
}

// stuck describes what the workers do, for a run that does not come to rest.
func (w *world) stuck() error {
	var errs []error
	for _, k := range w.workers {
		for _, t := range k.c.Status().Tasks {
			errs = append(errs, fmt.Errorf("%s: %+v", k.name, t))
		}
	}
	return errors.Join(errs...)
}

func (w *world) left() (string, error) {
	ctx := context.Background()
	names := []string{topicName}
	for _, d := range tiers {
		names = append(names, retrytopics.TierTopic(topicName, groupName, d))
	}
	// The ends last: a record that comes between the two looks unfinished, never finished.
	committed, err := w.admin.FetchOffsets(ctx, groupName)
	if err != nil {
		return "", err
	}
	ends, err := w.admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return "", err
	}
	left := ""
	ends.Each(func(o kadm.ListedOffset) {
		if c, _ := committed.Lookup(o.Topic, o.Partition); o.Offset > 0 && c.At < o.Offset {
			left += fmt.Sprintf("%s/%d at %d of %d; ", o.Topic, o.Partition, c.At, o.Offset)
		}
	})
	return left, nil
}

// judge reads the topics and asks the checker.
func (w *world) judge(quiesced bool) (*checker.Result, error) {
	jt := checker.JobTopic{Topic: topicName, DeadLetters: retrytopics.DeadLetterTopic(topicName, groupName), Receipts: retrytopics.ReceiptTopic(topicName, groupName)}
	for _, d := range tiers {
		jt.Tiers = append(jt.Tiers, checker.Tier{Topic: retrytopics.TierTopic(topicName, groupName, d), Delay: d})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// In this order: what is committed rests on what the ledger says by then, and that on what the topics hold by then.
	committed, err := w.reader.Committed(ctx, groupName)
	if err != nil {
		return nil, err
	}
	seen := w.commits.seen()
	events := w.rec.Events()
	if err := w.reader.Read(ctx); err != nil {
		return nil, err
	}
	in := checker.Input{Ledger: events, Committed: committed, Jobs: []checker.JobTopic{jt}, Quiesced: quiesced, Ended: time.Now(),
		Kinds: map[string]checker.Kind{}, Timing: checker.Timing{RerunWindow: 3 * time.Second, Lease: session + 90*time.Second, Drain: drain, Session: session}}
	for _, k := range []job.Args{keyed{}, parted{}, unordered{}, batched{}, again{}, once{}, asked{}, strictly{}, holding{}, soon{}, until{}} {
		in.Kinds[k.Kind()] = checker.Kind{MaxAttempts: maxAttempts, Guarantee: guarantees[k.Kind()],
			UntilDone: k == job.Args(until{}), Strict: orders[k.Kind()] == job.ByKeyStrict, Holds: k == job.Args(holding{})}
	}
	in.Kinds[soon{}.Kind()] = checker.Kind{MaxAttempts: maxAttempts, Window: soonWindow}
	w.reader.Fill(&in)
	in.Commits = map[string][]checker.Commit{jt.Receipts: seen}
	return checker.Check(in), nil
}

// reconcile is the downstream's answer about an effect.
func (w *world) reconcile(idempotencyKey string) bool {
	w.asked.Add(1)
	return w.rec.Applied(idempotencyKey)
}

// Reason is a line that says what broke first, and for which job, and then all of the verdict.
func Reason(res *checker.Result) string {
	v := &res.Violations[0]
	return fmt.Sprintf("%s: %s %s\n%v", v.Rule, v.Job, v.Text, res)
}

// check has the checker look at a run in progress.
func (w *world) check(when string, quiesced bool) error {
	w.owned()
	res, err := w.judge(quiesced)
	if err != nil {
		return err
	}
	if !res.OK() {
		return fmt.Errorf("%s: %s", when, Reason(res))
	}
	return nil
}

// tally adds what the checker saw to the counts.
func (w *world) tally(res *checker.Result) {
	w.counts["log entry"] += res.Stats.Entries
	w.counts["reconciled"] += int(w.asked.Load())
	w.counts["commit seen"] += res.Stats.Commits
	w.counts["emitted"] += res.Stats.Unannounced
	w.counts["hop"] += res.Stats.Copies
	w.counts["letter"] += res.Stats.Letters
	w.counts["rerun"] += res.Stats.Reruns
	w.counts["takeover"] += w.counts["kill"] + w.counts["zombie"]
	for class, n := range res.Account.Jobs.Classes {
		name := string(class)
		if name == "duplicate" || name == "stale" {
			name += " record"
		}
		w.counts[name] += n
	}
	for _, row := range res.Account.Rows[1:] {
		w.counts["stale record"] += row.Classes[checker.Stale]
	}
}
