package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// item is one record to be enqueued and what is to become of it.
type item struct {
	args   job.Args
	opts   job.Options
	in     time.Duration // scheduled that long after it is enqueued; 0: not
	intent string
	raw    *kgo.Record // what no producer of Waybill writes, in place of args
	id     string      // of raw, empty where it bears none
}

// items makes n records that follow from a seed: every order, nil keys, failures of every kind, schedules, duplicates,
// conflicts, and records that are not well-formed. From calm on no handler waits for its deadline, which would hold the
// committed offset for that long.
func items(seed uint64, n, calm int) []item {
	r := rand.New(rand.NewPCG(seed, 0x9E3779B97F4A7C15))
	out := make([]item, 0, n)
	for i := 0; len(out) < n; i++ {
		if r.IntN(40) == 0 {
			out = append(out, strange(r, i))
			continue
		}
		it := ordinary(r, i, len(out) >= calm)
		out = append(out, it)
		switch r.IntN(500) {
		case 0, 1, 2, 3, 4, 5, 6, 7: // the same again, at once or later
			it.intent = string(ledger.OutcomeDuplicate)
			out = append(out, it)
		case 8:
			if it.intent == string(ledger.OutcomeDone) && it.in == 0 {
				it.args, it.intent = withN(it.args, -i-1), string(ledger.OutcomeConflict)
				out = append(out, it)
			}
		}
	}
	return out[:n]
}

func withN(a job.Args, n int) job.Args {
	switch a := a.(type) {
	case keyed:
		a.N = n
		return a
	case parted:
		a.N = n
		return a
	case batched:
		a.N = n
		return a
	}
	f := a.(free)
	f.N = n
	return f
}

func ordinary(r *rand.Rand, i int, calm bool) item {
	s := script{N: i}
	it := item{intent: string(ledger.OutcomeDone)}
	kind := r.IntN(20)
	slowable := kind < 18
	switch b := r.IntN(1000); {
	case b < 30:
		s.Fails = 1
	case b < 40:
		s.Fails = 2 + r.IntN(2)
	case b < 44:
		s.Fails, s.How, s.After = 1, "after", time.Duration(r.IntN(4000))*time.Millisecond
	case b < 48:
		s.How, s.After = "snooze", time.Duration(100+r.IntN(2000))*time.Millisecond
	case b < 52 && slowable:
		s.Fails, s.How = 1, "panic"
	case b < 53 && slowable && !calm:
		s.Fails, s.How = 1, "timeout"
	case b < 57:
		s.End, it.intent = "dead", string(ledger.OutcomeDead)
	case b < 59:
		s.Fails, it.intent = maxAttempts, string(ledger.OutcomeDead)
	case b < 64:
		s.End, it.intent = "discard", string(ledger.OutcomeDiscarded)
	case b < 70 && slowable:
		s.Slow = time.Duration(r.IntN(200)) * time.Millisecond
	}
	it.opts.ID = fmt.Sprintf("job-%d", i)
	it.opts.Key = fmt.Appendf(nil, "key-%d", r.IntN(500))
	switch {
	case kind < 13:
		it.args = keyed{s}
		if it.intent == string(ledger.OutcomeDead) {
			it.intent = string(ledger.OutcomeDone) // letters of this kind are redriven, and succeed then
		}
	case kind < 18:
		it.args = free{s}
		if r.IntN(4) == 0 {
			it.opts.Key = nil // the id
		}
	case kind < 19:
		s.How, s.Slow = notPanic(s.How), 0
		it.args = parted{s}
	default:
		it.args = batched{s}
	}
	if r.IntN(100) == 0 {
		it.in = time.Duration(500+r.IntN(6000)) * time.Millisecond
	}
	return it
}

func notPanic(how string) string {
	if how == "panic" || how == "timeout" {
		return ""
	}
	return how
}

// strange is a record no producer of Waybill makes: most have a nil key, some are broken.
func strange(r *rand.Rand, i int) item {
	value, _ := json.Marshal(script{N: i})
	it := item{raw: &kgo.Record{Value: value}, intent: string(ledger.OutcomeDone)}
	set := func(k, v string) { it.raw.Headers = append(it.raw.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)}) }
	kind := "e2e.keyed"
	switch b := r.IntN(200); {
	case b < 150: // a nil key: ordered with nothing
	case b < 175: // foreign: no headers, the topic's default kind
		return it
	case b < 190:
		set(job.HeaderExpires, job.FormatTime(time.Now().Add(-time.Hour)))
		it.raw.Key, it.intent = fmt.Appendf(nil, "key-%d", r.IntN(500)), string(ledger.OutcomeExpired)
	case b < 194:
		it.raw.Value, it.intent = []byte("{"), string(ledger.OutcomeDead)
		kind = "e2e.free" // so that nobody redrives it
	case b < 197:
		kind, it.intent = "e2e.nobody", string(ledger.OutcomeDead)
	default:
		it.id, it.intent = fmt.Sprintf("\x01strange-%d", i), string(ledger.OutcomeDead) // malformed
	}
	if it.id == "" {
		it.id = fmt.Sprintf("strange-%d", i)
	}
	set(job.HeaderKind, kind)
	set(job.HeaderID, it.id)
	return it
}

// load enqueues items at a pace, or as fast as it goes, and notes what was acked.
type load struct {
	items  []item
	sink   ledger.Sink
	topic  string
	prod   *producer.Producer
	client *kgo.Client
	sent   atomic.Int64
	rush   atomic.Int64 // items up to which no pace is kept
	pace   int          // items each 50 ms
	stop   chan struct{}
	joined sync.WaitGroup
	failed error // to be read after wait
}

// run enqueues from start on until limit items are sent or halt is called.
func (l *load) run(ctx context.Context, limit int) {
	l.stop = make(chan struct{})
	l.joined.Go(func() { l.failed = l.feed(ctx, limit) })
}

func (l *load) feed(ctx context.Context, limit int) error {
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	for l.sent.Load() < int64(limit) {
		at := int(l.sent.Load())
		n := l.pace
		if rush := int(l.rush.Load()); rush > at {
			n = min(1000, rush-at)
		} else {
			select {
			case <-every.C:
			case <-l.stop:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		n = min(n, limit-at)
		if err := l.enqueue(ctx, l.items[at:at+n]); err != nil {
			return err
		}
		l.sent.Add(int64(n))
	}
	return nil
}

// halt ends the pacing and joins it.
func (l *load) halt() error {
	close(l.stop)
	l.joined.Wait()
	return l.failed
}

func (l *load) enqueue(ctx context.Context, all []item) error {
	var many []producer.Item
	var made []*item
	for i := range all {
		it := &all[i]
		if it.raw == nil {
			if it.in > 0 {
				it.opts.At = time.Now().Add(it.in)
			}
			many, made = append(many, producer.Item{Args: it.args, Options: &it.opts}), append(made, it)
			continue
		}
		it.raw.Topic = l.topic
		if err := l.client.ProduceSync(ctx, it.raw).FirstErr(); err != nil {
			return err
		}
		l.strange(it)
	}
	acked, err := l.prod.EnqueueMany(ctx, many)
	if err != nil {
		return err
	}
	for i, e := range acked {
		payload, err := job.JSON.Marshal(many[i].Args)
		if err != nil {
			return err
		}
		key := many[i].Options.Key
		if key == nil {
			key = []byte(e.ID)
		}
		l.sink.Record(ledger.Event{Type: ledger.Produced, Record: ledger.Pos{Topic: e.Topic, Partition: e.Partition, Offset: e.Offset},
			Kind: many[i].Args.Kind(), Key: string(key), ID: e.ID, Digest: ledger.DigestOf(payload), Intent: made[i].intent, At: made[i].opts.At})
	}
	return nil
}

// strange notes a record that was not made by the producer.
func (l *load) strange(it *item) {
	e := ledger.Event{Type: ledger.Produced, Record: ledger.Pos{Topic: l.topic, Partition: it.raw.Partition, Offset: it.raw.Offset},
		Kind: "e2e.free", Key: string(it.raw.Key), ID: it.id, Digest: ledger.DigestOf(it.raw.Value), Intent: it.intent}
	for _, h := range it.raw.Headers {
		if h.Key == job.HeaderKind {
			e.Kind = string(h.Value)
		}
	}
	l.sink.Record(e)
}
