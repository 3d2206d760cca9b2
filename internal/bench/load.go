package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/producer"
)

// The figures of a topic where a Load says nothing.
const (
	partitions = 8
	keys       = 10_000
	valueBytes = 200
	seed       = 1
)

// The kinds of the jobs that are loaded.
const (
	KindRaw  = "bench.raw"  // the payload is bytes, which begin with the job's number
	KindJSON = "bench.json" // {"seq":…,"text":"…"}
)

// blob is the job of nearly every case.
type blob []byte

// Kind is KindRaw.
func (blob) Kind() string { return KindRaw }

// seq is the job's number, counted from 0 in the order of loading.
func (b blob) seq() int {
	if len(b) < 8 {
		return -1
	}
	return int(binary.LittleEndian.Uint64(b))
}

// text is the job of rows about JSON.
type text struct {
	Seq  int    `json:"seq"`
	Text string `json:"text"`
}

// Kind is KindJSON.
func (text) Kind() string { return KindJSON }

// Load says what a topic is loaded with. The zero value of every field but Topic and Jobs is the method's. The first eight
// bytes of a raw value are the job's number, little-endian.
type Load struct {
	Topic      string
	Jobs       int
	Partitions int // 8
	Keys       int // 10,000
	Even       bool
	ValueBytes int  // 200
	BatchBytes int  // the most a batch may have; 0: franz-go's default, 1 MB
	JSON       bool // the kind is KindJSON
	// Hot adds a job of one further key after each of the Jobs. They come in a number of their own, from Jobs on.
	Hot bool
}

func (l Load) withDefaults() Load {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.Partitions, partitions}, {&l.Keys, keys}, {&l.ValueBytes, valueBytes}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return l
}

// Total is how many records the topic has.
func (l Load) Total() int {
	if l.Hot {
		return 2 * l.Jobs
	}
	return l.Jobs
}

// hotKey is the key of the jobs that Hot adds.
const hotKey = -1

// order calls yield with number and key of each job in the order of loading: Zipf, or each key in turn.
func (l Load) order(yield func(seq, key int) bool) {
	l = l.withDefaults()
	source := rand.New(rand.NewSource(seed))
	zipf := rand.NewZipf(source, 1.1, 1, uint64(l.Keys-1))
	for i := range l.Jobs {
		key := i % l.Keys
		if !l.Even {
			key = int(zipf.Uint64())
		}
		if !yield(i, key) || l.Hot && !yield(l.Jobs+i, hotKey) {
			return
		}
	}
}

// values makes payloads that no codec compresses: they are slices of a large block of random text.
type values struct {
	block []byte
	load  Load
}

const blockBytes = 1 << 20

func newValues(l Load) *values {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	v := &values{load: l, block: make([]byte, blockBytes+l.ValueBytes)}
	source := rand.New(rand.NewSource(seed))
	for i := range v.block {
		v.block[i] = letters[source.Intn(len(letters))]
	}
	return v
}

// of is the payload of a job; the slice is new.
func (v *values) of(seq int) ([]byte, error) {
	at := seq * 7919 % blockBytes
	if v.load.JSON {
		const frame = len(`{"seq":12345678,"text":""}`)
		return json.Marshal(text{Seq: seq, Text: string(v.block[at : at+max(0, v.load.ValueBytes-frame)])})
	}
	b := make([]byte, max(8, v.load.ValueBytes))
	copy(b, v.block[at:])
	binary.LittleEndian.PutUint64(b, uint64(seq))
	return b, nil
}

// Fill creates the topic and loads it; it returns when all is acked. Nothing but the topic is touched.
func Fill(ctx context.Context, connection connect.Settings, l Load) (err error) {
	l = l.withDefaults()
	opts, err := connection.Opts()
	if err != nil {
		return err
	}
	opts = append(opts, kgo.RecordPartitioner(producer.Partitioner()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(100_000),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(50))
	if l.BatchBytes > 0 { // and time to fill them, however many there are
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(l.BatchBytes)), kgo.ProducerLinger(500*time.Millisecond))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(ctx, int32(l.Partitions), -1, nil, l.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", l.Topic, err)
	}
	p, err := producer.New(producer.Config{Brokers: connection.Brokers, ClientID: connection.ClientID, TLS: connection.TLS, SASL: connection.SASL, Topic: l.Topic})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(ctx)) }()
	if l.Jobs == 0 {
		return visible(ctx, cl, l.Topic)
	}
	return produceAll(ctx, cl, p, l)
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

// produceAll encodes as p would and produces with cl, which does not wait for each ack.
func produceAll(ctx context.Context, cl *kgo.Client, p *producer.Producer, l Load) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var acks sync.WaitGroup
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			stop(fmt.Errorf("load topic %s: %w", l.Topic, err))
		}
		acks.Done()
	}
	payloads := newValues(l)
	kind, contentType := KindRaw, job.Bytes.ContentType()
	if l.JSON {
		kind, contentType = KindJSON, job.JSON.ContentType()
	}
	var failed error
	l.order(func(seq, key int) bool {
		payload, err := payloads.of(seq)
		if err != nil {
			failed = err
			return false
		}
		r, _, err := p.EncodeRaw(kind, payload, contentType, &job.Options{Key: strconv.AppendInt([]byte("key-"), int64(key), 10)})
		if err != nil {
			failed = err
			return false
		}
		acks.Add(1)
		cl.Produce(ctx, r, promise)
		return ctx.Err() == nil
	})
	if err := cl.Flush(ctx); err != nil && failed == nil {
		failed = fmt.Errorf("load topic %s: %w", l.Topic, err)
	}
	acks.Wait()
	if cause := context.Cause(ctx); cause != nil {
		failed = cause
	}
	return failed
}

// load fills a topic for the case and returns its name.
func (e *env) load(ctx context.Context, l Load) (string, error) {
	l.Topic = e.name("jobs")
	began := time.Now()
	e.say("loading %d jobs into %s", l.Total(), l.Topic)
	if err := Fill(ctx, e.Connection, l); err != nil {
		return "", err
	}
	e.say("loaded in %.1f s", time.Since(began).Seconds())
	return l.Topic, nil
}
