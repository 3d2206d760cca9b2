package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/rand"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/connect"
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
	// OnePartition gives every job a key of its own, and all of them to partition 0.
	OnePartition bool
	// Known says that one job in so many has an id that says which it is (knownID), for who knows it before; 0: none.
	Known int
	// Zeros are values that compress to nearly nothing, and are compressed (zstd).
	Zeros bool
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
	next := 0
	for i := range l.Jobs {
		key := i % l.Keys
		switch {
		case l.OnePartition:
			for key = next; partitionOf(keyOf(key), l.Partitions) != 0; {
				key++
			}
			next = key + 1
		case !l.Even:
			key = int(zipf.Uint64())
		}
		if !yield(i, key) || l.Hot && !yield(l.Jobs+i, hotKey) {
			return
		}
	}
}

// keyOf is a key by its number.
func keyOf(key int) []byte { return strconv.AppendInt([]byte("key-"), int64(key), 10) }

// partitionOf is where the producer sends a key.
func partitionOf(key []byte, partitions int) int {
	return producer.Partitioner().ForTopic("").Partition(&kgo.Record{Key: key}, partitions)
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
	if !v.load.Zeros {
		copy(b, v.block[at:])
	}
	binary.LittleEndian.PutUint64(b, uint64(seq))
	return b, nil
}

// Fill creates the topic and loads it; it returns when all is acked. Nothing but the topic is touched.
func Fill(ctx context.Context, connection connect.Settings, l Load) error {
	f, err := newFeed(ctx, connection, l)
	if err != nil {
		return err
	}
	if l.Jobs == 0 {
		return errors.Join(visible(ctx, f.cl, l.Topic), f.close())
	}
	f.l.order(func(seq, key int) bool {
		err = f.send(seq, key)
		return err == nil
	})
	return errors.Join(err, f.close())
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
