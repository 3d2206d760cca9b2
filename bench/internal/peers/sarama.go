package peers

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

var saramaGroup = Peer{
	ID: "sarama", Name: "sarama, consumer group", Modules: []string{"github.com/IBM/sarama"},
	Settings:    "MarkMessage after each message, commits every second (its default); Version 3.6 instead of its older default",
	Concurrency: "one a partition",
	Lacks:       "a client, no framework: no retries, delays, dead letters or dedupe; a slow job holds its whole partition",
	Run:         runSarama,
}

// saramaVersion is the protocol asked for by both peers on top of sarama.
var saramaVersion = sarama.V3_6_0_0

func runSarama(ctx context.Context, w Work) (err error) {
	c := sarama.NewConfig()
	c.Version = saramaVersion
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	g, err := sarama.NewConsumerGroup(w.Brokers, w.Group, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	for ctx.Err() == nil { // a session ends with each rebalance
		if err := g.Consume(ctx, []string{w.Topic}, saramaHandler{w.Handle}); err != nil && ctx.Err() == nil {
			return fmt.Errorf("consume: %w", err)
		}
	}
	return nil
}

type saramaHandler struct{ handle func([]byte) }

// Setup is part of sarama.ConsumerGroupHandler.
func (saramaHandler) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is part of sarama.ConsumerGroupHandler.
func (saramaHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim is called on a goroutine for each partition.
func (h saramaHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			h.handle(m.Value)
			session.MarkMessage(m, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
