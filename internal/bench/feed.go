package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// feed encodes jobs as package producer does and produces them without waiting for each ack. It belongs to one goroutine.
type feed struct {
	l           Load
	cl          *kgo.Client
	encode      *producer.Producer
	payloads    *values
	kind        string
	contentType string

	ctx  context.Context // ends with the first job that is refused
	stop context.CancelCauseFunc
	acks sync.WaitGroup
}

// newFeed creates the topic, unless it exists, and begins to produce to it; close must be called.
func newFeed(ctx context.Context, connection connect.Settings, l Load) (*feed, error) {
	opts, err := connection.Opts()
	if err != nil {
		return nil, err
	}
	f := &feed{l: l.withDefaults(), kind: KindRaw, contentType: job.Bytes.ContentType()}
	if l.JSON {
		f.kind, f.contentType = KindJSON, job.JSON.ContentType()
	}
	opts = append(opts, kgo.RecordPartitioner(producer.Partitioner()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(100_000),
		kgo.MaxBufferedBytes(256<<20), kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(50))
	if l.BatchBytes > 0 { // and time to fill them, however many there are
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(l.BatchBytes)), kgo.ProducerLinger(500*time.Millisecond))
	}
	if l.Zeros {
		opts = append(opts, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	}
	f.payloads = newValues(f.l)
	f.encode, err = producer.New(producer.Config{Brokers: connection.Brokers, ClientID: connection.ClientID, TLS: connection.TLS, SASL: connection.SASL, Topic: l.Topic})
	if err != nil {
		return nil, err
	}
	if f.cl, err = kgo.NewClient(opts...); err != nil {
		return nil, errors.Join(err, f.encode.Close(ctx))
	}
	f.ctx, f.stop = context.WithCancelCause(ctx)
	_, err = kadm.NewClient(f.cl).CreateTopic(ctx, int32(f.l.Partitions), -1, nil, l.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, errors.Join(fmt.Errorf("create topic %s: %w", l.Topic, err), f.close())
	}
	return f, nil
}

// send produces the job of that number and key. It waits while too much is on its way.
func (f *feed) send(seq, key int) error {
	payload, err := f.payloads.of(seq)
	if err != nil {
		return err
	}
	o := job.Options{Key: keyOf(key)}
	if f.l.known(seq) {
		o.ID = knownID(seq)
	}
	r, _, err := f.encode.EncodeRaw(f.kind, payload, f.contentType, &o)
	if err != nil {
		return err
	}
	f.acks.Add(1)
	f.cl.Produce(f.ctx, r, func(_ *kgo.Record, err error) {
		if err != nil {
			f.stop(fmt.Errorf("load topic %s: %w", f.l.Topic, err))
		}
		f.acks.Done()
	})
	return context.Cause(f.ctx)
}

// close waits for the acks of all that was sent and returns what went wrong.
func (f *feed) close() error {
	err := f.cl.Flush(f.ctx)
	f.acks.Wait()
	if cause := context.Cause(f.ctx); cause != nil {
		err = cause
	}
	f.stop(nil)
	f.cl.Close()
	return errors.Join(err, f.encode.Close(context.WithoutCancel(f.ctx)))
}

// visible waits until the brokers know a new topic; who produces to it waits anyway.
func visible(ctx context.Context, cl *kgo.Client, topic string) error {
	for {
		topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
		if err != nil {
			return fmt.Errorf("look at topic %s: %w", topic, err)
		}
		if err = topics.Error(); err == nil {
			return nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return fmt.Errorf("topic %s did not appear: %w", topic, err)
		}
	}
}
