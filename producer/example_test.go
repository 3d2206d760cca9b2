package producer_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// Welcome is a kind of job.
type Welcome struct {
	UserID string `json:"user_id"`
}

// Kind names it.
func (Welcome) Kind() string { return "email.welcome" }

// broker starts one in this process; a real program has addresses.
func broker() (addresses []string, stop func()) {
	c := kfake.MustCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "emails"))
	return c.ListenAddrs(), c.Close
}

func Example() {
	brokers, stop := broker()
	defer stop()
	ctx := context.Background()

	p, err := producer.New(producer.Config{Brokers: brokers, Topic: "emails"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() {
		if err := p.Close(ctx); err != nil { // an *UnsentError lists what was not written
			fmt.Println(err)
		}
	}()
	queued, err := p.Enqueue(ctx, Welcome{UserID: "u1"}, &job.Options{
		ID:  "signup-42",                      // enqueued twice it is one job
		Key: []byte("u1"),                     // jobs of one key run in order
		At:  time.Now().Add(10 * time.Minute), // not before
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(queued.ID, "is in", queued.Topic, "at offset", queued.Offset)
	// Output: signup-42 is in emails at offset 0
}

// When nobody can say whether a job was written, enqueue it again under the id it has: that is one job.
func ExampleProducer_Enqueue_retry() {
	brokers, stop := broker()
	defer stop()
	p, err := producer.New(producer.Config{Brokers: brokers, Topic: "emails"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer p.Close(ctx)

	enqueue := func(args job.Args, options *job.Options) (queued producer.Enqueued, err error) {
		for range 3 {
			attempt, cancel := context.WithTimeout(ctx, 10*time.Second)
			queued, err = p.Enqueue(attempt, args, options)
			cancel()
			if !errors.Is(err, producer.ErrUnknown) {
				break
			}
			options.ID = queued.ID
		}
		return queued, err
	}
	queued, err := enqueue(Welcome{UserID: "u1"}, &job.Options{Key: []byte("u1")})
	fmt.Println(queued.Offset, err)
	// Output: 0 <nil>
}

// All items are checked before one is sent.
func ExampleProducer_EnqueueMany() {
	brokers, stop := broker()
	defer stop()
	p, err := producer.New(producer.Config{Brokers: brokers, Topic: "emails"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	defer p.Close(ctx)

	_, err = p.EnqueueMany(ctx, []producer.Item{
		{Args: Welcome{UserID: "u1"}},
		{Args: Welcome{UserID: "u2"}, Options: &job.Options{ID: "j2", Headers: []job.Header{{Key: "waybill-hop"}}}},
	})
	var batch *producer.BatchError
	if errors.As(err, &batch) {
		for _, failed := range batch.Failed {
			fmt.Println(failed.Index, failed.Err)
		}
	}
	// Output:
	// 1 producer: job of kind email.welcome with id j2 for topic emails: Options.Headers[0]: waybill-hop: names beginning with "waybill-" are reserved
}

// A program with an outbox stores the record beside its own data and produces it later, with any client that partitions
// like producer.Partitioner.
func ExampleProducer_Encode() {
	p, err := producer.New(producer.Config{Brokers: []string{"kafka-1:9092"}, Topic: "emails"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close(context.Background())

	record, queued, err := p.Encode(Welcome{UserID: "u1"}, &job.Options{DeterministicID: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(queued.ID == string(record.Key), string(record.Value))
	for _, h := range record.Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	// Output:
	// true {"user_id":"u1"}
	// waybill-kind: email.welcome
	// waybill-id: ebbdb5d3-4ff9-8989-93e3-b355095cb6e5
	// content-type: application/json
}
