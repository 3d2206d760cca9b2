// Package alone sends records one at a time, through a client of its own. A broker refuses a batch for its size as a whole,
// innocents and all, and a client refuses a record by its size before compression; so what came back as too large is sent
// once more where nothing can be batched with it and the broker alone decides. The answer then is about that record.
//
// The engine and the producer call it. It never decides what a refusal means, and never tries a second time.
package alone

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Sender sends records one at a time, in the order of the calls. Its goroutine and its client exist only once it was needed. Its
// methods may be called concurrently.
type Sender struct {
	opts []kgo.Opt
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	queue   []item
	running bool
	closed  bool
	wg      sync.WaitGroup
	cl      *kgo.Client // the goroutine's
}

type item struct {
	record *kgo.Record
	done   func(*kgo.Record, error)
}

// largest is the size of a batch that every client may send: the client's own bound of a request.
const largest = 90 << 20

// New returns a sender. opts say how to reach the cluster and how to write; records keep the partition they name, and the
// client's own limit of a batch is lifted.
func New(opts []kgo.Opt) *Sender {
	// The best compression first, where opts do not choose one: a payload that its compression made small enough for the job
	// topic must stay so.
	best := kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.Lz4Compression(), kgo.SnappyCompression(), kgo.NoCompression())
	s := &Sender{opts: append(append([]kgo.Opt{best}, opts...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 {
			if topic == "" { // what the client compares with BrokerMaxWriteBytes, by which it bounds the rest itself
				return 1 << 10
			}
			return largest
		}))}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Send queues a record that another client gave back; it does not wait for the broker. done is called once, with the record
// as written or the error; after Close that is kgo.ErrClientClosed, at once.
func (s *Sender) Send(r *kgo.Record, done func(*kgo.Record, error)) {
	again := &kgo.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value, Headers: r.Headers}
	if !s.enqueue(item{again, done}) {
		done(again, kgo.ErrClientClosed)
	}
}

func (s *Sender) enqueue(i item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.queue = append(s.queue, i)
	if !s.running {
		s.running = true
		s.wg.Go(s.work)
	}
	return true
}

// Close gives up what is not acked, and joins the goroutine. It may be called again.
func (s *Sender) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end()
	s.wg.Wait()
	if s.cl != nil {
		s.cl.Close()
	}
}

func (s *Sender) work() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.queue, s.running = nil, false
			s.mu.Unlock()
			return
		}
		next := s.queue[0]
		s.queue[0] = item{}
		s.queue = s.queue[1:]
		s.mu.Unlock()
		next.done(next.record, s.one(next.record))
	}
}

func (s *Sender) one(r *kgo.Record) error {
	if s.life.Err() != nil {
		return kgo.ErrClientClosed
	}
	if s.cl == nil {
		cl, err := kgo.NewClient(s.opts...)
		if err != nil {
			return err
		}
		s.cl = cl
	}
	err := s.cl.ProduceSync(s.life, r).FirstErr()
	if err != nil && s.life.Err() != nil {
		return kgo.ErrClientClosed
	}
	return err
}
