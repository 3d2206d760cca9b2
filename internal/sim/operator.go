package sim

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// redriveAll sends all letters back.
func (w *world) redriveAll() error {
	return w.redrive(dlq.Request{Filter: dlq.Filter{Dispositions: wellFormed()}})
}

func (w *world) redrive(r dlq.Request) error {
	c, err := dlq.Open(w.opts(), topicName, groupName)
	if err != nil {
		return err
	}
	defer c.Close()
	tap := w.rec.For("operator")
	r.Tier, r.Reason, r.By, r.Rate = retrytopics.TierTopic(topicName, groupName, tiers[0]), "the simulation says so", "sim", -1
	r.Each = func(l *dlq.Letter, refusal string) {
		if refusal == "" {
			tap.Record(ledger.Event{Type: ledger.Redriven, Kind: l.Kind, Key: string(l.Key), ID: l.ID, Generation: int(l.Generation) + 1, Origin: origin(l)})
		}
	}
	rep, err := c.Redrive(context.Background(), r)
	w.counts["redriven"] += rep.Redriven
	return err
}

func origin(l *dlq.Letter) ledger.Pos {
	return ledger.Pos{Topic: l.Origin.Topic, Partition: l.Origin.Partition, Offset: l.Origin.Offset}
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

// release frees the keys that dead jobs hold (job.Block): it redrives these, or has them forgotten.
func (w *world) release() error {
	c, err := dlq.Open(w.opts(), topicName, groupName)
	if err != nil {
		return err
	}
	defer c.Close()
	var held []dlq.Letter
	filter := dlq.Filter{Kinds: []string{holding{}.Kind()}, Dispositions: wellFormed(), Pending: true}
	if _, err = c.List(context.Background(), filter, func(l *dlq.Letter) error {
		if l.Disposition != dlq.Conflict {
			held = append(held, dlq.Letter{Partition: l.Partition, Offset: l.Offset, Kind: l.Kind, Key: l.Key, ID: l.ID, Generation: l.Generation, Origin: l.Origin})
		}
		return nil
	}); err != nil || len(held) == 0 {
		return err
	}
	var refs []string
	for i := range held {
		if l := &held[i]; l.Generation == 0 && l.Origin.Offset%2 == 0 {
			err = errors.Join(err, w.forget(l))
		} else {
			refs = append(refs, l.Ref())
		}
	}
	if len(refs) > 0 {
		w.counts["release by redrive"]++
		err = errors.Join(err, w.redrive(dlq.Request{Refs: refs}))
	}
	return err
}

// forget orders a dead job to be forgotten, as `waybill receipt forget` does.
func (w *world) forget(l *dlq.Letter) error {
	if w.forgotten[origin(l)] {
		return nil
	}
	w.forgotten[origin(l)] = true
	w.counts["release by forget"]++
	order := dedupe.Segment{Epoch: -1, Forget: []job.Identity{job.IdentityOf(l.Kind, l.Key, l.ID)}}
	cl, err := kgo.NewClient(append(w.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Forget, Record: origin(l)})
	r := &kgo.Record{Topic: retrytopics.ReceiptTopic(topicName, groupName), Partition: l.Origin.Partition, Value: dedupe.AppendSegment(nil, &order)}
	return cl.ProduceSync(context.Background(), r).FirstErr()
}
