package peers

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

var kafkaGo = Peer{
	ID: "kafka-go", Name: "segmentio/kafka-go, Reader", Modules: []string{"github.com/segmentio/kafka-go"},
	Settings:    "FetchMessage and CommitMessages, CommitInterval 1 s and MaxBytes 10 MB as in its README",
	Concurrency: "one a Reader", Serial: true,
	Lacks: "a client, no framework: no retries, delays, dead letters or dedupe; one message at a time however many partitions",
	Run:   runKafkaGo,
}

func runKafkaGo(ctx context.Context, w Work) (err error) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: w.Brokers, GroupID: w.Group, Topic: w.Topic, MaxBytes: 10e6, CommitInterval: time.Second,
		StartOffset: kafka.FirstOffset})
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		m, err := r.FetchMessage(ctx)
		if err == nil {
			w.Handle(m.Value)
			err = r.CommitMessages(ctx, m)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
