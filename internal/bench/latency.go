package bench

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
	"github.com/waybill-dev/waybill/producer"
)

var latencyCase = Case{
	Name:     "latency",
	Measures: "how long after it was enqueued a job starts when there is nothing else to do, beside produce and poll",
	run:      runLatency,
}

// latencyGap is how long nothing happens between two jobs, and up to half as much more by chance, so that no rhythm of
// ours meets one of theirs.
const latencyGap = 10 * time.Millisecond

// latencyWarm is how many jobs of each side come before those that count.
const latencyWarm = 50

type latencyParams struct {
	Raw     string  `json:"raw"` // topics
	Waybill string  `json:"waybill"`
	Group   string  `json:"group"`
	Seconds float64 `json:"seconds"` // of both sides together
}

// latencies are those of one round in nanoseconds, sorted.
type latencies struct {
	Raw     []int64 `json:"raw"`
	Waybill []int64 `json:"waybill"`
}

func runLatency(ctx context.Context, e *env) error {
	var rounds []latencies
	for i := range e.Rounds {
		var err error
		p := latencyParams{Group: e.name("latency"), Seconds: 2 * e.Seconds}
		for _, topic := range []*string{&p.Raw, &p.Waybill} {
			if *topic, err = e.load(ctx, Load{}); err != nil {
				return err
			}
		}
		var l latencies
		if err := e.side(ctx, "latency", p, &l); err != nil {
			return err
		}
		ms := func(of []int64, q float64) float64 { return quantile(of, q) / 1e6 }
		e.say("round %d of %d: %d jobs a side, p50 %.2f and p99 %.2f ms, raw %.2f and %.2f ms", i+1, e.Rounds, len(l.Raw), ms(l.Waybill, 0.5), ms(l.Waybill, 0.99),
			ms(l.Raw, 0.5), ms(l.Raw, 0.99))
		rounds = append(rounds, l)
	}
	r := e.row("", atMost("p99_above_ms", 5))
	for _, q := range []struct {
		name string
		q    float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		ours := func(l latencies) float64 { return quantile(l.Waybill, q.q) / 1e6 }
		theirs := func(l latencies) float64 { return quantile(l.Raw, q.q) / 1e6 }
		r.addSpread(q.name+"_ms", each(rounds, ours))
		r.addSpread("raw_"+q.name+"_ms", each(rounds, theirs))
		r.addSpread(q.name+"_above_ms", each(rounds, func(l latencies) float64 { return ours(l) - theirs(l) }))
	}
	r.addSpread("jobs_a_side", each(rounds, func(l latencies) float64 { return float64(len(l.Raw)) }))
	r.Seconds = e.Seconds
	return e.Report(r)
}

// latency is the role of both sides: they take turns in one process, a job in the one, a job in the other.
func latency(ctx context.Context, s *side) (any, error) {
	var p latencyParams
	if err := s.read(&p); err != nil {
		return nil, err
	}
	arrived := make(chan time.Time, 1)
	raw, err := s.rawLatency(ctx, p, arrived)
	if err != nil {
		return nil, err
	}
	defer raw.close()
	q, err := producer.New(producer.Config{Brokers: s.connection.Brokers, ClientID: s.connection.ClientID, TLS: s.connection.TLS, SASL: s.connection.SASL, Topic: p.Waybill})
	if err != nil {
		return nil, err
	}
	defer func() { _ = q.Close(ctx) }() // every job has been acked
	mux := processor.NewMux()
	processor.Register(mux, processor.Kind[blob]{Codec: job.Bytes, Handle: func(context.Context, *job.Job[blob]) error {
		arrived <- time.Now()
		return nil
	}})
	enqueue := func(ctx context.Context, r *kgo.Record) error {
		_, err := q.EnqueueRaw(ctx, KindRaw, r.Value, job.Bytes.ContentType(), &job.Options{Key: r.Key})
		return err
	}
	var out latencies
	err = s.instance(ctx, consumer.Config{Group: p.Group, Topics: []string{p.Waybill}, Mux: mux}, func(ctx context.Context) error {
		return alternate(ctx, p.Seconds, arrived, []turn{{raw.produce, &out.Raw}, {enqueue, &out.Waybill}})
	})
	slices.Sort(out.Raw)
	slices.Sort(out.Waybill)
	return out, err
}

// turn is one of the sides that take turns.
type turn struct {
	send func(ctx context.Context, r *kgo.Record) error // returns when the record is acked
	into *[]int64
}

// alternate sends a record from each side in turn and notes how long each took to arrive.
func alternate(ctx context.Context, seconds float64, arrived <-chan time.Time, turns []turn) error {
	payloads := newValues(Load{ValueBytes: valueBytes})
	chance := rand.New(rand.NewSource(seed))
	var began time.Time
	for n := 0; ; n++ {
		if n == latencyWarm {
			began = time.Now()
		}
		if n > latencyWarm && time.Since(began).Seconds() >= seconds {
			return nil
		}
		for _, t := range turns {
			payload, err := payloads.of(n)
			if err != nil {
				return err
			}
			sent := time.Now()
			if err := t.send(ctx, &kgo.Record{Key: strconv.AppendInt([]byte("key-"), int64(n), 10), Value: payload}); err != nil {
				return err
			}
			select {
			case at := <-arrived:
				if n >= latencyWarm {
					*t.into = append(*t.into, int64(at.Sub(sent)))
				}
			case <-ctx.Done():
				return fmt.Errorf("record %d has not arrived: %w", n, ctx.Err())
			}
			if !sleep(ctx, latencyGap+time.Duration(chance.Int63n(int64(latencyGap/2)))) {
				return ctx.Err()
			}
		}
	}
}

// rawLatency is produce and poll: a group loop of one member, and a client that produces without waiting for more.
type rawLatency struct {
	consumer, producer *kgo.Client
	topic              string
	ended              chan struct{}
}

func (s *side) rawLatency(ctx context.Context, p latencyParams, arrived chan<- time.Time) (*rawLatency, error) {
	r := &rawLatency{topic: p.Raw, ended: make(chan struct{})}
	opts := s.opts[:len(s.opts):len(s.opts)]
	var err error
	if r.consumer, err = kgo.NewClient(append(opts, kgo.ConsumerGroup(p.Group+"-raw"), kgo.ConsumeTopics(p.Raw),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...); err != nil {
		return nil, err
	}
	if r.producer, err = kgo.NewClient(append(opts, kgo.RecordPartitioner(producer.Partitioner()), kgo.ProducerLinger(0))...); err != nil {
		r.consumer.Close()
		return nil, err
	}
	go func() {
		defer close(r.ended)
		for {
			fetches := r.consumer.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			for range fetches.NumRecords() {
				arrived <- time.Now()
			}
		}
	}()
	return r, nil
}

func (r *rawLatency) produce(ctx context.Context, rec *kgo.Record) error {
	rec.Topic = r.topic
	return r.producer.ProduceSync(ctx, rec).FirstErr()
}

func (r *rawLatency) close() {
	r.consumer.Close()
	r.producer.Close()
	<-r.ended
}
