package peers

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

var franz = Peer{
	ID: "franz-go", Name: "franz-go, raw loop", Modules: []string{"github.com/twmb/franz-go"},
	Settings:    "AutoCommitMarks; a goroutine for each partition, as in its example goroutine_per_partition_consuming",
	Concurrency: "one a partition",
	Lacks:       "a client, no framework: no retries, delays, dead letters or dedupe; a slow job holds its whole partition",
	Run:         runFranz,
}

// perPartition is how many batches wait for the goroutine of a partition, as in the example.
const perPartition = 5

type franzLoop struct {
	client *kgo.Client
	handle func([]byte)
	queues map[int32]chan []*kgo.Record
	all    sync.WaitGroup
}

func runFranz(ctx context.Context, w Work) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.Brokers...), kgo.ConsumerGroup(w.Group), kgo.ConsumeTopics(w.Topic), kgo.AutoCommitMarks(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	l := &franzLoop{client: cl, handle: w.Handle, queues: map[int32]chan []*kgo.Record{}}
	err = l.poll(ctx)
	for _, q := range l.queues {
		close(q)
	}
	l.all.Wait()
	return errors.Join(err, cl.CommitMarkedOffsets(context.WithoutCancel(ctx)))
}

func (l *franzLoop) poll(ctx context.Context) error {
	for {
		fetches := l.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			q, ok := l.queues[p.Partition]
			if !ok {
				q = make(chan []*kgo.Record, perPartition)
				l.queues[p.Partition] = q
				l.all.Go(func() { l.work(ctx, q) })
			}
			select {
			case q <- p.Records:
			case <-ctx.Done():
			}
		})
	}
}

// work handles what its partition delivers until the queue is closed; when ctx has ended, it only empties it.
func (l *franzLoop) work(ctx context.Context, q <-chan []*kgo.Record) {
	for records := range q {
		done := 0
		for _, r := range records {
			if ctx.Err() != nil {
				break
			}
			l.handle(r.Value)
			done++
		}
		l.client.MarkCommitRecords(records[:done]...)
	}
}
