package peers

import (
	"context"

	"github.com/IBM/sarama"
	"github.com/lovoo/goka"
	"github.com/lovoo/goka/codec"
)

var gokaProcessor = Peer{
	ID: "goka", Name: "goka, processor", Modules: []string{"github.com/lovoo/goka"},
	Settings:    "a processor with one input and no table, nothing logged; begins at the oldest offset instead of the newest; sarama as above",
	Concurrency: "one a partition",
	Lacks:       "a failing callback ends the processor; no retries, delays or dead letters, no keys in parallel within a partition; dedupe is the callback's, in a table",
	Run:         runGoka,
}

func runGoka(ctx context.Context, w Work) error {
	c := goka.DefaultConfig()
	c.Version = saramaVersion
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	p, err := goka.NewProcessor(w.Brokers, goka.DefineGroup(goka.Group(w.Group),
		goka.Input(goka.Stream(w.Topic), new(codec.Bytes), func(_ goka.Context, m any) { w.Handle(m.([]byte)) })),
		goka.WithConsumerGroupBuilder(goka.ConsumerGroupBuilderWithConfig(c)), goka.WithLogger(silent{}))
	if err != nil {
		return err
	}
	return p.Run(ctx)
}

// silent is a goka.Logger.
type silent struct{}

// Print is part of goka.Logger.
func (silent) Print(...any) {}

// Println is part of goka.Logger.
func (silent) Println(...any) {}

// Printf is part of goka.Logger.
func (silent) Printf(string, ...any) {}
