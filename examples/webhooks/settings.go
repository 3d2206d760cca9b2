package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/examples/webhooks/relay"
	"github.com/waybill-dev/waybill/producer"
)

// settings is what the service adds to Waybill's own: the map app.webhooks of the settings file, WAYBILL_APP_WEBHOOKS_* of
// the environment. How to reach Kafka, and what else Waybill can be told, stands beside it; see webhooks.example.yaml.
type settings struct {
	// Topic holds the deliveries. Defaults to "webhooks".
	Topic string
	// Secret is what senders sign with, as GitHub does. Defaults to none: everybody may send.
	Secret string
	// MaxBody is the largest delivery, in bytes; AckTimeout how long Kafka may take. See intake.Server for the defaults.
	MaxBody    int64
	AckTimeout time.Duration

	// SigningSecret signs for subscribers without a secret of their own.
	SigningSecret string
	// Subscribers, Timeout and MaxAttempts are the relay's; see relay.Config.
	Subscribers []relay.Subscriber
	Timeout     time.Duration
	MaxAttempts int
}

// common are the flags of every command that speaks to Kafka. A flag wins over the environment, the environment over the file.
type common struct{ file, brokers, topic string }

func (c *common) register(flags *flag.FlagSet) {
	flags.StringVar(&c.file, "config", os.Getenv(connect.EnvFile), "settings `file` (YAML)")
	flags.StringVar(&c.brokers, "brokers", "", "Kafka `addresses`, host:port, separated by commas")
	flags.StringVar(&c.topic, "topic", "", "job `topic` of the deliveries (default webhooks)")
}

func (c *common) settings() (settings, error) {
	var s settings
	err := connect.Load(c.file, "app.webhooks", &s)
	if c.topic != "" {
		s.Topic = c.topic
	}
	if s.Topic == "" {
		s.Topic = "webhooks"
	}
	return s, err
}

func (c *common) producer(topic string) (producer.Config, error) {
	cfg := producer.Config{Topic: topic}
	err := connect.Load(c.file, "producer", &cfg)
	if c.brokers != "" {
		cfg.Brokers = strings.Split(c.brokers, ",")
	}
	return cfg, err
}

func (c *common) consumer(topic string) (consumer.Config, error) {
	cfg, err := consumer.Load(c.file)
	if c.brokers != "" {
		cfg.Brokers = strings.Split(c.brokers, ",")
	}
	cfg.Topics = []string{topic}
	if cfg.Group == "" {
		cfg.Group = "webhooks"
	}
	return cfg, err
}

// subscribers is the flag -subscriber name=url, once for each.
type subscribers []relay.Subscriber

func (s *subscribers) String() string { return "" }

func (s *subscribers) Set(text string) error {
	name, url, ok := strings.Cut(text, "=")
	if !ok {
		return errors.New("want name=url")
	}
	*s = append(*s, relay.Subscriber{Name: name, URL: url})
	return nil
}

// signed gives subscribers without a secret the common one.
func signed(all []relay.Subscriber, secret string) ([]relay.Subscriber, error) {
	var errs []error
	for i := range all {
		if all[i].Secret == "" {
			all[i].Secret = secret
		}
		if all[i].Secret == "" {
			errs = append(errs, fmt.Errorf("subscriber %s has no secret; give it one, or set %s for all", all[i].Name, secretVar))
		}
	}
	return all, errors.Join(errs...)
}

const secretVar = "WAYBILL_APP_WEBHOOKS_SIGNING_SECRET"
