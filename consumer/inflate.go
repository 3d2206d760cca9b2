package consumer

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
)

// inflater opens compressed batches that stay within bounds, so that a few kilobytes written by anybody cannot take the
// memory of an instance: neither by their size, nor by millions of records of a few bytes, each of which costs some
// hundred bytes once it is a record.
type inflater struct {
	inner   kgo.Decompressor // bounded in bytes
	records int
}

// recordWorth is half of what a record costs in memory: the client's and the machine's view of it. fewRecords are never too
// many: a batch of a megabyte, which needs no compression to pass a broker, holds about as many of the smallest.
const (
	recordWorth = 512
	fewRecords  = 1 << 17
)

// smallest is the least a record takes in a batch (record format version 2): length, attributes, time and offset deltas,
// key and value lengths, header count.
const smallest = 7

func newInflater(limit int) (*inflater, error) {
	// The client bounds its own decompressor only: it is taken from one that connects to nothing.
	cl, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(limit))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	inner, _ := cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	return &inflater{inner, max(limit/recordWorth, fewRecords)}, nil
}

// Decompress implements kgo.Decompressor; kgo.ErrMaxDecompress says that a bound was passed.
func (f *inflater) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	out, err := f.inner.Decompress(src, codec)
	if err == nil && len(out)/smallest > f.records && crowded(out, f.records) {
		return nil, kgo.ErrMaxDecompress
	}
	return out, err
}

// crowded reports whether a batch holds more than limit records. It stops at what is no record: the client will too.
func crowded(b []byte, limit int) bool {
	for n := 0; ; n++ {
		size, skip := binary.Varint(b)
		if skip <= 0 || size < 0 || size > int64(len(b)-skip) {
			return false
		}
		if n == limit {
			return true
		}
		b = b[skip+int(size):]
	}
}
