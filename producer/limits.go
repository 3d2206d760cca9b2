package producer

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// defaultLimit is the bytes of a batch where the topic does not say: the client's own default, below every broker's.
const defaultLimit = 1_000_012

// The bounds the client sets to a batch's limit.
const (
	minLimit = 512
	maxLimit = 1 << 30
)

// limits knows how many bytes each topic takes in a batch (max.message.bytes). It must be known before the first job of a
// topic: a broker refuses a batch as a whole, so one large job, or many small ones in one large batch, would take innocents
// along. The brokers are asked once for each topic.
//
// What else must be known before the first job is asked with it: whether this user may write at all. The client asks for its
// producer id with the first record, and keeps a refusal for good, so that a right granted later would help nobody who has
// that client. So it is asked in its place, until it is granted.
type limits struct {
	cl      *kgo.Client
	adm     *kadm.Client
	fixed   func(topic string) int32 // the user's own, in place of asking
	creates bool                     // brokers may create a topic that is written to
	topics  sync.Map                 // topic -> *topicLimit
	hasID   atomic.Bool              // the client has its producer id
}

type topicLimit struct {
	asking chan struct{} // holds one token: who has it asks
	bytes  atomic.Int32  // 0: not known

	// Guarded by the token.
	refusal error
	refused time.Time
}

// use sets the client that asks. Where the user's options set a limit of their own it holds, and nobody is asked.
func (l *limits) use(cl *kgo.Client) {
	l.cl, l.adm = cl, kadm.NewClient(cl)
	l.creates, _ = cl.OptValue(kgo.AllowAutoTopicCreation).(bool)
	if own, _ := cl.OptValue(kgo.ProducerBatchMaxBytesFn).(func(string) int32); own != nil && own(probe) != probeLimit {
		l.fixed = own
	}
}

// probe is no topic's name; batch answers it with probeLimit, by which our function is told from a user's.
const (
	probe      = "\x00"
	probeLimit = minLimit
)

// batch is the client's question how large a batch for topic may be; it must not block.
func (l *limits) batch(topic string) int32 {
	if topic == probe {
		return probeLimit
	}
	if n, ok := l.known(topic); ok {
		return n
	}
	return defaultLimit
}

func (l *limits) known(topic string) (int32, bool) {
	if l.fixed != nil {
		return l.fixed(topic), l.hasID.Load()
	}
	v, ok := l.topics.Load(topic)
	if !ok {
		return 0, false
	}
	n := v.(*topicLimit).bytes.Load()
	return n, n > 0
}

// forget drops what is known of a topic that refused what it should have taken: its limit was lowered meanwhile.
func (l *limits) forget(topic string) {
	if l.fixed == nil {
		l.topics.Delete(topic)
	}
}

// learn returns a topic's limit, asking the brokers if need be: one caller asks, the others wait for it. A refusal (no such
// topic, a wrong password) is shared with all who have waited since before it came, as began says.
func (l *limits) learn(ctx context.Context, topic string, began time.Time) (int32, error) {
	if n, ok := l.known(topic); ok {
		return n, nil
	}
	v, _ := l.topics.LoadOrStore(topic, &topicLimit{asking: make(chan struct{}, 1)})
	t := v.(*topicLimit)
	select {
	case t.asking <- struct{}{}:
		defer func() { <-t.asking }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if n := t.bytes.Load(); n > 0 {
		return n, nil
	}
	if t.refused.After(began) {
		return 0, t.refusal
	}
	n, keep, err := l.ask(ctx, topic)
	switch {
	case err == nil && keep:
		t.bytes.Store(n)
	case err != nil && ctx.Err() == nil:
		t.refusal, t.refused = err, time.Now()
	}
	return n, err
}

// unknownAsks is how often a topic must be unknown to be taken for missing: brokers hear of a new one with a delay.
const unknownAsks = 5

// ask asks the brokers until one answers or ctx ends; the error is then what the last one said. keep is false for a topic
// that does not exist yet but may be created by being written to.
func (l *limits) ask(ctx context.Context, topic string) (n int32, keep bool, err error) {
	var last error
	unknown := 0
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		if n, keep, err = l.askOnce(ctx, topic); err == nil || final(err) {
			return n, keep, err
		}
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			if l.creates {
				return defaultLimit, false, nil
			}
			if unknown++; unknown == unknownAsks {
				return 0, false, err
			}
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, false, last
		}
	}
}

// final reports whether asking again is in vain, as with a wrong password.
func final(err error) bool {
	var code *kerr.Error
	return errors.Is(err, kgo.ErrClientClosed) || errors.As(err, &code) && !code.Retriable
}

// begin gives the client its producer id. A refusal is the brokers' answer to us, which the client does not keep.
func (l *limits) begin(ctx context.Context) error {
	if l.hasID.Load() {
		return nil
	}
	resp, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, l.cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil {
		_, _, err = l.cl.ProducerID(ctx)
	}
	l.hasID.Store(err == nil)
	return err
}

func (l *limits) askOnce(ctx context.Context, topic string) (n int32, keep bool, err error) {
	if err := l.begin(ctx); err != nil {
		return 0, false, err
	}
	if l.fixed != nil {
		return l.fixed(topic), true, nil
	}
	resources, err := l.adm.DescribeTopicConfigs(ctx, topic)
	var resource kadm.ResourceConfig
	if err == nil {
		resource, err = resources.On(topic, nil)
	}
	if err == nil {
		err = resource.Err
	}
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return defaultLimit, true, nil // few producers may describe topics, and the default suits nearly all
	case err != nil:
		return 0, false, err
	}
	for _, c := range resource.Configs {
		if c.Key == "max.message.bytes" && c.Value != nil {
			if v, err := strconv.ParseInt(*c.Value, 10, 64); err == nil {
				return int32(min(max(v, minLimit), maxLimit)), true, nil
			}
		}
	}
	return defaultLimit, true, nil
}

// batchOverhead is the bytes of a batch around its records. Kafka's record batch format version 2 has 61: base offset 8,
// length 4, leader epoch 4, magic 1, checksum 4, attributes 2, last offset delta 4, two timestamps 16, producer id 8, epoch 2,
// sequence 4, record count 4. The client counts the 4 bytes of the length that precedes the batch in the request too.
const batchOverhead = 61 + 4

// recordSize is the bytes of r as the only record of a batch, before compression (record format version 2).
func recordSize(r *kgo.Record) int {
	n := 1 + 1 + 1 + // attributes, timestamp delta 0, offset delta 0
		sized(len(r.Key)) + sized(len(r.Value)) + varint(len(r.Headers))
	for i := range r.Headers {
		n += sized(len(r.Headers[i].Key)) + sized(len(r.Headers[i].Value))
	}
	return n + varint(n)
}

func sized(n int) int { return varint(n) + n }

// varint is the length of n as a zigzag varint.
func varint(n int) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutVarint(b[:], int64(n))
}
