package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
)

// config is what file, environment and flags say, in rising order of precedence.
func (a *app) config() (consumer.Config, error) {
	c, err := consumer.Load(a.file)
	if err != nil {
		return c, err
	}
	if len(a.brokers) > 0 {
		c.Brokers = a.brokers
	}
	if a.group != "" {
		c.Group = a.group
	}
	if a.topic != "" {
		c.Topics, c.Foreign = []string{a.topic}, nil
	}
	a.secure(&c)
	return c, nil
}

// secure lays the flags about TLS and SASL over c.
func (a *app) secure(c *consumer.Config) {
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	if a.tls != (connect.TLS{}) {
		c.TLS.Enabled = true // naming a certificate asks for it
	}
	set(&c.TLS.CAFile, a.tls.CAFile)
	set(&c.TLS.CertFile, a.tls.CertFile)
	set(&c.TLS.KeyFile, a.tls.KeyFile)
	set(&c.TLS.ServerName, a.tls.ServerName)
	set(&c.SASL.Mechanism, a.sasl.Mechanism)
	set(&c.SASL.Username, a.sasl.Username)
	if a.sasl.PasswordFile != "" {
		c.SASL.Password, c.SASL.PasswordFile = "", a.sasl.PasswordFile
	}
}

func settings(c consumer.Config) connect.Settings {
	return connect.Settings{Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, SASL: c.SASL}
}

// target is what a command works on.
type target struct {
	cfg    consumer.Config
	group  string
	topics []string // of --topic or of the settings; may be empty
	opts   []kgo.Opt
}

// needs says what a command cannot do without.
type needs struct{ group, topic bool }

// target finds out where the cluster, the group and the topics are; everything that is missing comes at once.
func (a *app) target(n needs) (target, error) {
	c, err := a.config()
	if err != nil {
		return target{}, err
	}
	t := target{cfg: c, group: c.Group, topics: slices.Clone(c.Topics)}
	for _, f := range c.Foreign {
		t.topics = append(t.topics, f.Name)
	}
	var errs []error
	conn := settings(c)
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("no broker is named: give --brokers host:port, or set WAYBILL_BROKERS"))
		conn.Brokers = []string{"localhost:9092"} // the rest of the settings is looked at all the same
	}
	if t.opts, err = conn.Opts(); err != nil {
		errs = append(errs, err)
	}
	if n.group && t.group == "" {
		errs = append(errs, errors.New("no group is named: give --group, or set WAYBILL_CONSUMER_GROUP"))
	}
	if n.topic && len(t.topics) == 0 {
		errs = append(errs, errors.New("no job topic is named: give --topic, or set WAYBILL_CONSUMER_TOPICS"))
	}
	t.opts = append(t.opts,
		kgo.MetadataMinAge(100*time.Millisecond), // what was just created is to be seen
		kgo.RequestRetries(5), kgo.DialTimeout(5*time.Second), kgo.RetryTimeout(15*time.Second))
	return t, errors.Join(errs...)
}

// unreached explains the error of a cluster that does not answer.
func (t target) unreached(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if strings.Contains(text, "unable to dial") || strings.Contains(text, "connection refused") {
		return fmt.Errorf("%w; is %s a broker, and reachable from here?", err, strings.Join(t.cfg.Brokers, ","))
	}
	return err
}

// look opens the group for reading.
func (a *app) look(ctx context.Context) (target, *inspect.Reader, error) {
	t, err := a.target(needs{group: true})
	if err != nil {
		return t, nil, err
	}
	r, err := inspect.Open(ctx, t.opts, t.group)
	if err != nil {
		return t, nil, t.unreached(err)
	}
	if len(r.Topics()) == 0 {
		r.Close()
		return t, nil, fmt.Errorf("group %s has no layout on this cluster: its workers have not been set up, or the name is wrong (waybill setup apply --group %s --topic NAME)", t.group, t.group)
	}
	for _, name := range t.topics {
		if a.topic != "" && !slices.Contains(r.Topics(), name) {
			r.Close()
			return t, nil, fmt.Errorf("topic %s is no job topic of group %s, which has %s", name, t.group, strings.Join(r.Topics(), ", "))
		}
	}
	return t, r, nil
}

// chosen are the job topics a listing is about: the one of --topic, else all the group has.
func (a *app) chosen(r *inspect.Reader) []string {
	if a.topic != "" {
		return []string{a.topic}
	}
	return r.Topics()
}

// only is the one job topic a command is about.
func (a *app) only(r *inspect.Reader, group string) (string, error) {
	all := a.chosen(r)
	if len(all) != 1 {
		return "", fmt.Errorf("group %s has the job topics %s: choose one with --topic", group, strings.Join(all, ", "))
	}
	return all[0], nil
}
