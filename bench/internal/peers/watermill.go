package peers

import (
	"context"
	"errors"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

var watermillRouter = Peer{
	ID: "watermill", Name: "Watermill, router", Modules: []string{"github.com/ThreeDotsLabs/watermill", "github.com/ThreeDotsLabs/watermill-kafka/v3"},
	Settings:    "a Router with one consumer handler, no middleware, no logging; sarama as above",
	Concurrency: "one a partition (the next message comes after the ack)",
	Lacks:       "the retry middleware holds the partition; no durable dedupe, no keys in parallel within a partition",
	Run:         runWatermill,
}

func runWatermill(ctx context.Context, w Work) (err error) {
	c := kafka.DefaultSaramaSubscriberConfig()
	c.Version = saramaVersion
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	subscriber, err := kafka.NewSubscriber(kafka.SubscriberConfig{Brokers: w.Brokers, Unmarshaler: kafka.DefaultMarshaler{}, OverwriteSaramaConfig: c,
		ConsumerGroup: w.Group}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, subscriber.Close()) }()
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return err
	}
	router.AddConsumerHandler("bench", w.Topic, subscriber, func(m *message.Message) error {
		w.Handle(m.Payload)
		return nil
	})
	return router.Run(ctx)
}
