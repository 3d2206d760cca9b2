package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/checker/topics"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Run plays one seed inside a synctest bubble and returns the checker's verdict. err is about the run itself: it did not
// come to rest, or a step of the driver failed.
func Run(seed uint64, log *zap.Logger) (res *checker.Result, counts Counts, err error) {
	w, err := newWorld(seed, log)
	if err != nil {
		return nil, nil, err
	}
	defer w.close()
	if err := w.begin(); err != nil {
		return nil, nil, err
	}
	redrive := w.rand.IntN(2) == 0
	jobs := workload(w.rand, 40+w.rand.IntN(80), redrive)
	if err := w.produce(jobs, time.Duration(10+w.rand.IntN(50))*time.Second); err != nil {
		return nil, nil, err
	}
	for range 3 + w.rand.IntN(6) {
		time.Sleep(time.Duration(w.rand.IntN(15000)) * time.Millisecond)
		if err := w.attack(); err != nil {
			return nil, w.counts, err
		}
		if err := w.check("during the run", false); err != nil {
			return nil, w.counts, err
		}
	}
	w.producing.Wait()
	for len(w.workers) < 2 {
		if err := w.start(); err != nil {
			return nil, w.counts, err
		}
	}
	if err := w.rest(redrive); err != nil {
		return nil, w.counts, err
	}
	if res, err = w.judge(true); err == nil {
		w.tally(res)
	}
	return res, w.counts, errors.Join(append(w.errs, err)...)
}

// tally adds what the checker saw to the counts.
func (w *world) tally(res *checker.Result) {
	w.counts["log entry"] += res.Stats.Entries
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

// begin starts the first workers and waits for the topics they make.
func (w *world) begin() error {
	for range 1 + w.rand.IntN(3) {
		if err := w.start(); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second)
	names := []string{topicName, retrytopics.DeadLetterTopic(topicName, groupName), retrytopics.ReceiptTopic(topicName, groupName)}
	for _, d := range tiers {
		names = append(names, retrytopics.TierTopic(topicName, groupName, d))
	}
	var err error
	w.reader, err = topics.NewReader(w.opts(), names...)
	return err
}

// rest lets everything finish, redrives what is dead, and lets that finish.
func (w *world) rest(redrive bool) error {
	if err := w.quiesce(20 * time.Minute); err != nil {
		return err
	}
	if !redrive {
		return nil
	}
	if err := w.redrive(); err != nil {
		return err
	}
	return w.quiesce(20 * time.Minute)
}

// attack is one random step of the driver.
func (w *world) attack() error {
	if len(w.workers) == 0 {
		return w.start()
	}
	switch w.rand.IntN(14) {
	case 0, 1:
		w.kill()
		if w.rand.IntN(3) > 0 {
			return w.start()
		}
	case 2:
		if len(w.workers) < 4 {
			w.counts["join"]++
			return w.start()
		}
	case 3:
		w.stop()
	case 4:
		w.zombie(time.Duration(500+w.rand.IntN(5000)) * time.Millisecond)
	case 5:
		w.zombie(session + time.Duration(w.rand.IntN(20000))*time.Millisecond)
	case 6:
		w.refuse()
	case 7:
		w.counts["leader_move"]++
		return w.cluster.MoveTopicPartition(topicName, int32(w.rand.IntN(partitions)), int32(w.rand.IntN(2)))
	case 8:
		return w.offsets(false)
	case 9:
		return w.offsets(true)
	case 10:
		return w.duplicate()
	case 11, 12, 13:
		w.killAt(1 + w.rand.IntN(60))
		return w.start()
	}
	return nil
}

// refuse makes brokers answer some produces or commits with an error for a while.
func (w *world) refuse() {
	w.counts["refuse"]++
	errs := []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.TopicAuthorizationFailed}
	f := kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 1 + w.rand.IntN(6), Err: errs[w.rand.IntN(len(errs))]}
	switch w.rand.IntN(4) {
	case 0:
		f.Topic = retrytopics.ReceiptTopic(topicName, groupName)
	case 1:
		f.Topic = retrytopics.TierTopic(topicName, groupName, tiers[w.rand.IntN(len(tiers))])
	case 2:
		f.Topic = retrytopics.DeadLetterTopic(topicName, groupName)
	default:
		f.Keys, f.Err = []kmsg.Key{kmsg.OffsetCommit}, kerr.CoordinatorLoadInProgress
	}
	w.cluster.Fault(f)
}

// duplicate makes a copy in a tier land a second time, as a zombie's producer would.
func (w *world) duplicate() error {
	if err := w.reader.Read(context.Background()); err != nil {
		return err
	}
	var in checker.Input
	w.reader.Fill(&in)
	for _, d := range tiers {
		name := retrytopics.TierTopic(topicName, groupName, d)
		if rs := in.Topics[name]; len(rs) > 0 {
			src := rs[w.rand.IntN(len(rs))]
			r := &kgo.Record{Topic: name, Partition: src.Partition, Key: src.Key, Value: src.Value}
			for _, h := range src.Headers {
				r.Headers = append(r.Headers, kgo.RecordHeader(h))
			}
			cl, err := kgo.NewClient(append(w.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
			if err != nil {
				return err
			}
			defer cl.Close()
			w.fault(ledger.Duplicate, "", name)
			return cl.ProduceSync(context.Background(), r).FirstErr()
		}
	}
	return nil
}

// redrive sends all letters back.
func (w *world) redrive() error {
	c, err := dlq.Open(w.opts(), topicName, groupName)
	if err != nil {
		return err
	}
	defer c.Close()
	tap := w.rec.For("operator")
	rep, err := c.Redrive(context.Background(), dlq.Request{Tier: retrytopics.TierTopic(topicName, groupName, tiers[0]), Filter: dlq.Filter{Dispositions: wellFormed()}, Reason: "the simulation says so", By: "sim",
		Rate: -1, Each: func(l *dlq.Letter, refusal string) {
			if refusal == "" {
				tap.Record(ledger.Event{Type: ledger.Redriven, Kind: l.Kind, Key: string(l.Key), ID: l.ID, Generation: int(l.Generation) + 1,
					Origin: ledger.Pos{Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset}})
			}
		}})
	w.counts["redriven"] += rep.Redriven
	return err
}

// wellFormed is every disposition but Malformed: such a record's letter bears an id made from its place, which the checker,
// who reads headers for itself, cannot know.
func wellFormed() (out []dlq.Disposition) {
	for _, d := range dlq.Dispositions() {
		if d != dlq.Malformed {
			out = append(out, d)
		}
	}
	return out
}

// check has the checker look at a run in progress.
func (w *world) check(when string, quiesced bool) error {
	res, err := w.judge(quiesced)
	if err != nil {
		return err
	}
	if !res.OK() {
		return fmt.Errorf("%s: %v", when, res)
	}
	return nil
}
