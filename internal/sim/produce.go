package sim

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// produce enqueues the workload over a while, and notes what was acked.
func (w *world) produce(jobs []enqueue, over time.Duration) error {
	p, err := producer.New(producer.Config{Brokers: []string{"localhost:9092", "localhost:9093"}, Topic: topicName, Opts: []kgo.Opt{kgo.Dialer(w.net.DialContext)}})
	if err != nil {
		return err
	}
	gap := over / time.Duration(len(jobs)+1)
	w.producing.Add(1)
	go func() {
		defer w.producing.Done()
		for _, e := range jobs {
			time.Sleep(gap)
			w.produceOne(p, e)
		}
		_ = p.Close(context.Background())
	}()
	return nil
}

func (w *world) produceOne(p *producer.Producer, e enqueue) {
	r := &kgo.Record{Topic: topicName}
	if e.raw != nil {
		r.Key, r.Value = e.raw.key, e.raw.value
		for _, h := range e.raw.headers {
			r.Headers = append(r.Headers, kgo.RecordHeader(h))
		}
	} else {
		if e.life > 0 {
			e.opts.Expires = time.Now().Add(e.life)
		}
		var err error
		if r, _, err = p.Encode(e.args, &e.opts); err != nil {
			w.errs = append(w.errs, err)
			return
		}
	}
	if err := w.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
		return // not acked: may or may not be there
	}
	ev := ledger.Event{Type: ledger.Produced, Record: ledger.Pos{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset}, Kind: "sim.unordered", Key: string(r.Key),
		Digest: ledger.DigestOf(r.Value), Intent: e.intent, At: e.opts.At}
	for _, h := range r.Headers {
		switch h.Key {
		case job.HeaderKind:
			ev.Kind = string(h.Value)
		case job.HeaderID:
			ev.ID = string(h.Value)
		}
	}
	w.rec.For("producer").Record(ev)
}
