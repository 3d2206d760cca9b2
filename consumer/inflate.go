package consumer

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// inflater opens compressed batches within bounds, so that a few kilobytes written by anybody cannot take the memory of an
// instance: not one batch by its size, or by millions of records of a few bytes, each of which costs some hundred bytes once it
// is a record; nor many batches that come with one fetch, which the client opens at once, before anybody can pause anything.
type inflater struct {
	inner   kgo.Decompressor // bounded in bytes
	records int              // of one batch
	budget  int64            // of what is open and not yet with its task
	less    atomic.Int64     // the same while batches inflate; see careful
	opened  atomic.Int64     // since the last poll
	handed  atomic.Int64     // polled, on its way to the tasks
	room    chan struct{}    // receives when tasks have got what was handed

	packed   atomic.Int64 // bytes of the batches opened since the last poll
	unpacked atomic.Int64 // what became of them
	usual    atomic.Int64 // how many times their size batches became, of late
}

// errOpened is about a batch that was left closed because enough others are open. The client takes it for damage: it hands
// over what stands before and fetches the batch again.
var errOpened = errors.New("enough batches are open")

// recordWorth is half of what a record costs in memory: the client's and the machine's view of it. fewRecords are never too
// many: a batch of a megabyte, which needs no compression to pass a broker, holds about as many of the smallest.
const (
	recordWorth = 512
	fewRecords  = 1 << 17
)

// inflates is how many times its size a batch becomes that is no longer just text well compressed.
const inflates = 10

// newInflater bounds one batch by limit bytes, and what is open at once by budget bytes and one batch.
func newInflater(limit, budget int) (*inflater, error) {
	// The client bounds its own decompressor only: it is taken from one that connects to nothing.
	cl, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(limit))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	inner, _ := cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor)
	f := &inflater{inner: inner, records: max(limit/recordWorth, fewRecords), budget: int64(budget), room: make(chan struct{}, 1)}
	f.careful(budget)
	return f, nil
}

// careful bounds what is open at once while batches inflate. One fetch then brings a partition more than its task may hold,
// of which a pause comes too late to hold anything back; and the tasks get such fetches one after the other.
func (f *inflater) careful(budget int) { f.less.Store(min(int64(budget), f.budget)) }

// polled tells that what was open was polled. The caller calls done when its tasks have it: those have budgets of their own.
func (f *inflater) polled() (done func()) {
	n := f.opened.Swap(0)
	f.usual.Store(f.times())
	f.packed.Store(0)
	f.unpacked.Store(0)
	f.handed.Add(n)
	return func() {
		if f.handed.Add(-n); n == 0 {
			return
		}
		select {
		case f.room <- struct{}{}:
		default:
		}
	}
}

// times is how many times their size batches became of late: as many as those since the last poll, or, since one fetch of
// others proves little, a bit less than before.
func (f *inflater) times() int64 {
	usual, packed := f.usual.Load(), f.packed.Load()
	if packed == 0 {
		return usual
	}
	return max(f.unpacked.Load()/packed, usual-usual/8-1, 1)
}

// Decompress implements kgo.Decompressor; kgo.ErrMaxDecompress says that a bound was passed by this batch alone.
func (f *inflater) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	budget := f.budget
	if f.times() > inflates {
		budget = f.less.Load()
	}
	if f.opened.Load()+f.handed.Load() >= budget {
		return nil, errOpened
	}
	out, err := f.inner.Decompress(src, codec)
	if err != nil || codec == kgo.CodecNone {
		return out, err
	}
	n := count(out, f.records+1)
	if n > f.records {
		return nil, kgo.ErrMaxDecompress
	}
	f.opened.Add(int64(len(out) + n*recordWorth))
	f.packed.Add(int64(len(src)))
	f.unpacked.Add(int64(len(out)))
	return out, nil
}

// count is how many records a batch holds, but not more than limit. It ends at what is no record: the client will too.
func count(b []byte, limit int) (n int) {
	for ; n < limit; n++ {
		size, skip := binary.Varint(b)
		if skip <= 0 || size < 0 || size > int64(len(b)-skip) {
			break
		}
		b = b[skip+int(size):]
	}
	return n
}
