package peers

import (
	"context"
	"errors"
	"strings"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

var confluent = Peer{
	ID: "confluent-kafka-go", Name: "confluent-kafka-go, Poll", Modules: []string{"github.com/confluentinc/confluent-kafka-go/v2"},
	Bundled: func() string {
		_, v := kafka.LibraryVersion()
		return "librdkafka " + v
	},
	Settings:    "enable.auto.offset.store=false and StoreMessage after each message, as its documentation says for at least once; commits every 5 s (its default)",
	Concurrency: "one a Consumer", Serial: true,
	Lacks: "a client, no framework: no retries, delays, dead letters or dedupe; one message at a time however many partitions; cgo",
	Run:   runConfluent,
}

// pollMillis is how long a call of Poll waits.
const pollMillis = 100

func runConfluent(ctx context.Context, w Work) (err error) {
	c, err := kafka.NewConsumer(&kafka.ConfigMap{"bootstrap.servers": strings.Join(w.Brokers, ","), "group.id": w.Group,
		"auto.offset.reset": "earliest", "enable.auto.offset.store": false})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.SubscribeTopics([]string{w.Topic}, nil); err != nil {
		return err
	}
	for ctx.Err() == nil {
		switch e := c.Poll(pollMillis).(type) {
		case *kafka.Message:
			if e.TopicPartition.Error != nil {
				return e.TopicPartition.Error
			}
			w.Handle(e.Value)
			if _, err := c.StoreMessage(e); err != nil {
				return err
			}
		case kafka.Error:
			if e.IsFatal() {
				return e
			}
		}
	}
	return nil
}
