package side

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/bench/internal/peers"
	"github.com/waybill-dev/waybill/internal/bench"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

const (
	warm       = 50                    // jobs before those that count
	gap        = 10 * time.Millisecond // between two jobs, and up to half as much more by chance, so that no rhythms meet
	valueBytes = 200
	seed       = 1
)

// latency sends one job after the other, each when the one before has started, and notes how long it took to start.
func latency(ctx context.Context, p peers.Peer, t Task) (Sample, error) {
	work, stop := context.WithCancel(ctx)
	defer stop()
	arrived := make(chan arrival, 16)
	left := make(chan error, 1)
	go func() {
		left <- p.Run(work, peers.Work{Brokers: t.Brokers, Topic: t.Topic, Group: t.Group, Handle: func(value []byte) {
			select {
			case arrived <- arrival{binary.LittleEndian.Uint64(value), time.Now()}:
			case <-work.Done():
			}
		}})
	}()
	s, err := newSender(t)
	if err != nil {
		return Sample{}, err
	}
	defer s.client.Close()
	took, err := s.measure(ctx, t.Seconds, arrived, left)
	if err != nil {
		return Sample{}, err
	}
	stop()
	if err := <-left; err != nil {
		return Sample{}, err
	}
	slices.Sort(took)
	return Sample{Jobs: len(took), Passes: 1, Seconds: t.Seconds, P50: quantile(took, 0.5), P99: quantile(took, 0.99)}, nil
}

type arrival struct {
	seq uint64
	at  time.Time
}

// sender enqueues; it is the same for every peer.
type sender struct {
	client *kgo.Client
	encode *producer.Producer
	source *rand.Rand
}

func newSender(t Task) (*sender, error) {
	encode, err := producer.New(producer.Config{Brokers: t.Brokers, Topic: t.Topic})
	if err != nil {
		return nil, err
	}
	if err := encode.Close(context.Background()); err != nil { // it only encodes
		return nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(t.Brokers...), kgo.RecordPartitioner(producer.Partitioner()), kgo.ProducerLinger(0))
	return &sender{cl, encode, rand.New(rand.NewSource(seed))}, err
}

// measure returns milliseconds, in the order of sending.
func (s *sender) measure(ctx context.Context, seconds float64, arrived <-chan arrival, left <-chan error) ([]float64, error) {
	var took []float64
	var began time.Time
	for n := uint64(0); ; n++ {
		if n == warm {
			began = time.Now()
		}
		if n > warm && time.Since(began).Seconds() >= seconds {
			return took, nil
		}
		sent, err := s.send(ctx, n)
		if err != nil {
			return nil, err
		}
		for seen := false; !seen; {
			select {
			case a := <-arrived: // one that came again is not the one waited for
				if seen = a.seq == n; seen && n >= warm {
					took = append(took, float64(a.at.Sub(sent))/1e6)
				}
			case err := <-left:
				return nil, fmt.Errorf("the peer ended before job %d: %w", n, err)
			case <-ctx.Done():
				return nil, fmt.Errorf("job %d has not arrived: %w", n, ctx.Err())
			}
		}
		time.Sleep(gap + time.Duration(s.source.Int63n(int64(gap/2))))
	}
}

func (s *sender) send(ctx context.Context, n uint64) (time.Time, error) {
	value := make([]byte, valueBytes)
	s.source.Read(value)
	binary.LittleEndian.PutUint64(value, n)
	r, _, err := s.encode.EncodeRaw(bench.KindRaw, value, job.Bytes.ContentType(), &job.Options{Key: strconv.AppendUint([]byte("key-"), n, 10)})
	if err != nil {
		return time.Time{}, err
	}
	sent := time.Now()
	return sent, s.client.ProduceSync(ctx, r).FirstErr()
}

// quantile is the value that a share q of the sorted values does not exceed (nearest rank); 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted)))), 1)-1]
}
