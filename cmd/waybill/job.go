package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

func jobCommand(a *app) *cobra.Command {
	return noun("job", "Enqueue jobs, and find out what became of one", enqueueCommand(a), jobShowCommand(a), jobWhyCommand(a))
}

// enqueueFlags are those of job enqueue.
type enqueueFlags struct {
	payload, contentType, id, key, at, expires, correlation string
	version                                                 int
	deterministic, keyed                                    bool
	headers                                                 []string
}

func enqueueCommand(a *app) *cobra.Command {
	var e enqueueFlags
	c := &cobra.Command{
		Use:   "enqueue KIND",
		Short: "Enqueue one job",
		Long: `enqueue writes one job to the job topic and prints where it is, once every in-sync replica has it.

The payload is the text of --payload, a file (@FILE), or standard input (-). With content type application/json it must be
JSON. Two jobs with the same kind, key and id are one job.`,
		Example: `  waybill job enqueue email.welcome --topic emails --payload '{"user_id": "u1"}'
  waybill job enqueue report.build --topic reports --payload @report.json --key north --at 2026-01-31T09:00:00Z
  generate | waybill job enqueue image.resize --topic images --payload - --content-type application/octet-stream --at 10m`,
		Args: one("kind", "email.welcome"),
		RunE: func(c *cobra.Command, args []string) error {
			e.keyed = c.Flags().Changed("key")
			return a.enqueue(c.Context(), args[0], e)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&e.payload, "payload", "{}", "the payload: text, @FILE, or - for standard input")
	f.StringVar(&e.contentType, "content-type", "application/json", "of the payload")
	f.StringVar(&e.id, "id", "", "names the job (default: a new UUIDv7)")
	f.BoolVar(&e.deterministic, "deterministic-id", false, "make the id of kind, key and payload: the same job enqueued twice is one")
	f.StringVar(&e.key, "key", "", "orders the job and chooses its partition (default: the id)")
	f.StringVar(&e.at, "at", "", "not before: a time, or a duration from now")
	f.StringVar(&e.expires, "expires", "", "not after: a time, or a duration from now")
	f.StringArrayVar(&e.headers, "header", nil, "name=value, carried to the handler; repeatable")
	f.StringVar(&e.correlation, "correlation", "", "ties jobs of one business transaction together")
	f.IntVar(&e.version, "payload-version", 0, "version of the payload's shape")
	return c
}

func (a *app) enqueue(ctx context.Context, kind string, e enqueueFlags) error {
	t, err := a.target(needs{topic: true})
	if err != nil {
		return err
	}
	if len(t.topics) != 1 {
		return fmt.Errorf("the settings name the job topics %s: choose one with --topic", strings.Join(t.topics, ", "))
	}
	payload, err := a.payload(e.payload)
	if err != nil {
		return err
	}
	if e.contentType == "application/json" && !json.Valid(payload) {
		return errors.New("--payload is not JSON; mend it, or name what it is with --content-type")
	}
	o, err := e.options(time.Now())
	if err != nil {
		return err
	}
	p, err := producer.New(producer.Config{Brokers: t.cfg.Brokers, ClientID: t.cfg.ClientID, TLS: t.cfg.TLS, SASL: t.cfg.SASL, Topic: t.topics[0]})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	at, err := p.EnqueueRaw(ctx, kind, payload, e.contentType, o)
	over, end := context.WithTimeout(context.Background(), time.Second)
	defer end()
	if cerr := p.Close(over); err == nil {
		err = cerr
	}
	if err != nil {
		return t.unreached(err)
	}
	if a.json {
		return a.printJSON(enqueued{at.ID, kind, at.Topic, at.Partition, at.Offset})
	}
	_, err = fmt.Fprintf(a.out, "%s %s at %s/%d/%d\n", kind, at.ID, at.Topic, at.Partition, at.Offset)
	return err
}

// enqueued is what --json prints.
type enqueued struct {
	ID        string `json:"id"`
	Kind      string `json:"kind"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// payload reads the text of a flag, a file or standard input.
func (a *app) payload(from string) ([]byte, error) {
	if from == "-" {
		return io.ReadAll(a.in)
	}
	if path, ok := strings.CutPrefix(from, "@"); ok {
		return os.ReadFile(path)
	}
	return []byte(from), nil
}

func (e enqueueFlags) options(now time.Time) (*job.Options, error) {
	o := &job.Options{ID: e.id, DeterministicID: e.deterministic, Correlation: e.correlation, Version: e.version}
	if e.keyed {
		o.Key = []byte(e.key)
	}
	var errs [2]error
	o.At, errs[0] = parseWhen("at", e.at, now, 1)
	o.Expires, errs[1] = parseWhen("expires", e.expires, now, 1)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	for _, h := range e.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--header %q is not name=value", h)
		}
		o.Headers = append(o.Headers, job.Header{Key: name, Value: []byte(value)})
	}
	return o, nil
}
