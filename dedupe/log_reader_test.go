package dedupe_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/dedupe"
)

func TestReadRanges(t *testing.T) {
	onBoth(t, func(r *logRig) {
		r.expect(0, -1)
		r.expect(0, 0)
		r.expectError(0, 1, dedupe.ErrTruncated)
		if at := r.put(r.cl, dedupe.AppendOwner(nil, &dedupe.Owner{Instance: "a"})); at != 0 {
			r.t.Fatal(at)
		}
		r.segments(1, 6)
		r.expect(-1, 6, 0, 1, 2, 3, 4, 5)
		r.expect(0, -1, 0, 1, 2, 3, 4, 5)
		r.expect(2, 5, 2, 3, 4)
		r.expect(5, 6, 5)
		r.expect(3, 3)
		r.expect(4, 2)
		r.expect(6, 6)
		r.expectError(2, 7, dedupe.ErrTruncated)
		r.expectError(9, 9, dedupe.ErrTruncated)
	})
}

func TestReadAfterRetention(t *testing.T) {
	onBoth(t, func(r *logRig) {
		r.segments(0, 8)
		r.deleteBelow(5)
		r.expect(-1, 8, 5, 6, 7)
		r.expect(2, 8, 5, 6, 7)
		r.expect(6, 7, 6)
		r.expect(0, 5)
		r.expect(0, 3)
		r.deleteBelow(8)
		r.expect(0, 8)
		r.expectError(0, 9, dedupe.ErrTruncated)
	})
}

func (r *logRig) deleteBelow(offset int64) {
	r.t.Helper()
	os := make(kadm.Offsets)
	os.AddOffset(r.topic, logPartition, offset, -1)
	resp, err := r.adm.DeleteRecords(r.ctx, os)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// A log with transactions has markers between, before and after its entries, and segments that were aborted. All are facts.
func TestReadOverTransactions(t *testing.T) {
	onBoth(t, func(r *logRig) {
		txn := r.client(kgo.TransactionalID("t-" + r.topic))
		inTxn := func(end kgo.TransactionEndTry, n int64) {
			if err := txn.BeginTransaction(); err != nil {
				r.t.Fatal(err)
			}
			at := r.segment(txn, n)
			if err := txn.EndTransaction(r.ctx, end); err != nil {
				r.t.Fatal(err)
			}
			r.awaitEnd(at + 2)
		}
		inTxn(kgo.TryCommit, 100)
		plain := r.segment(r.cl, 101)
		inTxn(kgo.TryAbort, 102)
		inTxn(kgo.TryCommit, 103)
		if plain != 2 {
			r.t.Fatalf("offset %d: there are no markers in this log", plain)
		}
		r.expect(0, -1, 100, 101, 102, 103)
		r.expect(0, 7, 100, 101, 102, 103) // up to the last marker
		r.expect(1, 2)                     // a marker only
		r.expect(6, 7)
		r.expect(1, 5, 101, 102)
		r.expectError(0, 8, dedupe.ErrTruncated)

		if err := txn.BeginTransaction(); err != nil { // still open
			r.t.Fatal(err)
		}
		open := r.segment(txn, 104)
		r.expect(6, open+1, 104)
		if err := txn.EndTransaction(r.ctx, kgo.TryAbort); err != nil {
			r.t.Fatal(err)
		}
	})
}

// awaitEnd asks until the log ends there: Kafka answers the end of a transaction before its marker is in the log, and what
// is produced in between comes before the marker.
func (r *logRig) awaitEnd(want int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	for {
		ends, err := r.adm.ListEndOffsets(ctx, r.topic)
		if err != nil {
			r.t.Fatalf("waiting for the log to end at %d: %v", want, err)
		}
		if end, ok := ends.Lookup(r.topic, logPartition); ok && end.Err == nil && end.Offset >= want {
			return
		}
	}
}

func TestReadStopsAtWhatItCannotRead(t *testing.T) {
	onBoth(t, func(r *logRig) {
		r.segments(0, 2)
		bad := r.put(r.cl, []byte("not an entry"))
		r.segments(3, 4)
		r.expectError(0, 4, dedupe.ErrMalformed, 0, 1)
		_, err := r.read(0, 4)
		if where := fmt.Sprintf("%s/%d: offset %d", r.topic, logPartition, bad); err == nil || !strings.Contains(err.Error(), where) {
			r.t.Errorf("%v does not say %s", err, where)
		}
		r.expect(0, bad, 0, 1)
		r.expect(bad+1, 4, 3)
		none := r.put(r.cl, nil)
		r.expectError(none, none+1, dedupe.ErrMalformed)
		newer := r.put(r.cl, []byte{9, 0x9d, 0x88, 0xcf, 0x2a})
		_, err = r.read(newer, newer+1)
		if v := (*dedupe.VersionError)(nil); !errors.As(err, &v) || v.Version != 9 || !strings.Contains(err.Error(), fmt.Sprint("offset ", newer)) {
			r.t.Errorf("a newer entry: %v", err)
		}
	})
}

func TestReadReturnsTheCallersError(t *testing.T) {
	onFake(t, func(r *logRig) {
		r.segments(0, 3)
		stop := errors.New("enough")
		calls := 0
		err := r.reader.Read(r.ctx, r.topic, logPartition, 0, 3, func(*dedupe.Entry) error { calls++; return stop })
		if err != stop || calls != 1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

func TestReadEndsWithItsContext(t *testing.T) {
	onFake(t, func(r *logRig) {
		r.segments(0, 3)
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		if err := r.reader.Read(ctx, r.topic, logPartition, 0, 3, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		ctx, cancel = context.WithTimeout(r.ctx, 2*time.Second)
		defer cancel()
		r.fake.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
			r.fake.KeepControl()
			r.fake.SleepControl(func() { <-ctx.Done() })
			return nil, nil, false
		})
		// The broker's answer is let go by the same deadline: it may still arrive, and its entries may be handed over.
		ignore := func(*dedupe.Entry) error { return nil }
		if err := r.reader.Read(ctx, r.topic, logPartition, 0, 3, ignore); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancelled in between: %v", err)
		}
	})
}

// More than one fetch, with the leader moving, retention overtaking the reader, and brokers that fail for a while.
func TestReadManyFetches(t *testing.T) {
	onFake(t, func(r *logRig) {
		const n = 60
		receipts := make([]dedupe.Receipt, 1000)
		for i := range receipts {
			receipts[i] = dedupe.Receipt{Identity: identityOf(i), State: dedupe.Done, Result: bytes.Repeat([]byte{byte(i)}, 256)}
		}
		for i := range int64(n) {
			receipts[0].Origin = i
			r.put(r.cl, dedupe.AppendSegment(nil, &dedupe.Segment{Receipts: receipts}))
		}
		var all []int64
		for i := range int64(n) {
			all = append(all, i)
		}
		r.expect(0, n, all...)

		r.during(n, all, func(at int64) {
			if at%7 == 0 {
				if err := r.fake.MoveTopicPartition(r.topic, logPartition, int32(at/7)%3); err != nil {
					r.t.Fatal(err)
				}
			}
		})
		h := r.fake.Fault(faultOf(kmsg.Fetch, kerr.NotLeaderForPartition, 3), faultOf(kmsg.ListOffsets, kerr.OffsetNotAvailable, 4),
			faultOf(kmsg.Metadata, kerr.LeaderNotAvailable, 2))
		r.expect(0, n, all...)
		if h.Hits() != 9 {
			r.t.Errorf("%d of 9 faults were met", h.Hits())
		}
		// Retention takes more than the batch at hand: what the reader has is handed over, then it goes on at the new start.
		got := r.during(n, nil, func(at int64) {
			if at == 0 {
				r.deleteBelow(50)
			}
		})
		if len(got) >= n || !slices.Equal(got[len(got)-10:], all[50:]) || !slices.Equal(got[:len(got)-10], all[:len(got)-10]) {
			r.t.Errorf("read %v", got)
		}
	})
}

// during reads all and calls f at each entry.
func (r *logRig) during(to int64, want []int64, f func(at int64)) (got []int64) {
	r.t.Helper()
	err := r.reader.Read(r.ctx, r.topic, logPartition, 0, to, func(e *dedupe.Entry) error {
		got = append(got, e.Segment.Receipts[0].Origin)
		f(e.Offset)
		return nil
	})
	if err != nil || want != nil && !slices.Equal(got, want) {
		r.t.Errorf("read %v, %v", got, err)
	}
	return got
}

func TestReadGivesUp(t *testing.T) {
	onFake(t, func(r *logRig) {
		r.segments(0, 1)
		start := time.Now() // virtual
		h := r.fake.Fault(faultOf(kmsg.Fetch, kerr.KafkaStorageError, -1))
		r.expectError(0, 1, kerr.KafkaStorageError)
		if took := time.Since(start); took > time.Minute {
			r.t.Errorf("it took %v to give up", took)
		}
		h.Remove()
		r.fake.Fault(faultOf(kmsg.Fetch, kerr.TopicAuthorizationFailed, 1)) // passes only by an operator
		r.expectError(0, 1, kerr.TopicAuthorizationFailed)
		r.expect(0, 1, 0)
	})
}

func TestReadOfAMissingLog(t *testing.T) {
	onBoth(t, func(r *logRig) {
		for topic, partition := range map[string]int32{r.topic: 7, "no." + r.topic: 0} {
			err := r.reader.Read(r.ctx, topic, partition, 0, -1, nil)
			if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), fmt.Sprintf("%s/%d", topic, partition)) {
				r.t.Errorf("%s/%d: %v", topic, partition, err)
			}
		}
	})
}

// A log made anew under its name is another log, even if it has an entry at the next offset.
func TestReadOfARecreatedLog(t *testing.T) {
	onFake(t, func(r *logRig) {
		big := bytes.Repeat([]byte{1}, 256)
		write := func() {
			for range 30 {
				var s dedupe.Segment
				for i := range 1000 {
					s.Receipts = append(s.Receipts, dedupe.Receipt{Identity: identityOf(i), State: dedupe.Done, Result: big})
				}
				r.put(r.cl, dedupe.AppendSegment(nil, &s))
			}
		}
		write()
		n := 0
		err := r.reader.Read(r.ctx, r.topic, logPartition, 0, 30, func(*dedupe.Entry) error {
			if n++; n > 1 {
				return nil
			}
			if err := errors.Join(r.fake.DeleteTopic(r.topic), r.fake.CreateTopic(r.topic, logPartition+1, nil)); err != nil {
				return err
			}
			r.cl = r.client()
			write()
			return nil
		})
		if !errors.Is(err, dedupe.ErrRecreated) || n >= 30 {
			r.t.Errorf("%v after %d entries", err, n)
		}
	})
}

func TestConcurrentReads(t *testing.T) {
	onBoth(t, func(r *logRig) {
		r.segments(0, 20)
		var wg sync.WaitGroup
		for i := range int64(8) {
			wg.Go(func() {
				var want []int64
				for n := i; n < 20; n++ {
					want = append(want, n)
				}
				r.expect(i, 20, want...)
			})
		}
		wg.Wait()
	})
}

// The whole way: what was written is folded from the broker as it is from memory (I13).
func TestRestore(t *testing.T) {
	onBoth(t, func(r *logRig) {
		here, there := dedupe.NewMemory(time.Hour), dedupe.NewMemory(time.Hour)
		topic := dedupe.TopicID{1}
		for i := range 12 {
			e := dedupe.Entry{Time: time.Now()}
			if i%5 == 0 {
				e.Owner = &dedupe.Owner{Instance: fmt.Sprint("i", i), Generation: int32(i)}
				e.Offset = r.put(r.cl, dedupe.AppendOwner(nil, e.Owner))
			} else {
				e.Segment = &dedupe.Segment{Epoch: int64(i / 5 * 5), Frontiers: []dedupe.Frontier{{Topic: topic, Offset: int64(i)}},
					Receipts: []dedupe.Receipt{{Identity: identityOf(i), State: dedupe.Done, Attempt: 1, Result: []byte{byte(i)}}},
					Marks:    []dedupe.Receipt{{Identity: identityOf(i + 1), State: dedupe.Started}}}
				e.Offset = r.put(r.cl, dedupe.AppendSegment(nil, e.Segment))
			}
			if err := here.Apply(&e); err != nil {
				r.t.Fatal(err)
			}
		}
		if err := r.reader.Read(r.ctx, r.topic, logPartition, there.Position().Next, -1, there.Apply); err != nil {
			r.t.Fatal(err)
		}
		if a, b := fmt.Sprint(here.Position(), here.Len()), fmt.Sprint(there.Position(), there.Len()); a != b {
			r.t.Errorf("restored %s\n    from %s", b, a)
		}
		for i := range 14 {
			a, _ := here.Get(identityOf(i))
			b, _ := there.Get(identityOf(i))
			if fmt.Sprint(a) != fmt.Sprint(b) {
				r.t.Errorf("job %d: restored %+v from %+v", i, b, a)
			}
		}
	})
}

// What an ownership record says that its log is of stands in a header; a header that does not read is damage.
func TestReadPlaces(t *testing.T) {
	onFake(t, func(r *logRig) {
		of := dedupe.Place{Cluster: "c", Topic: dedupe.TopicID{5}}
		own := func(place []byte) {
			rec := &kgo.Record{Partition: logPartition, Value: dedupe.AppendOwner(nil, &dedupe.Owner{Instance: "i"})}
			if place != nil {
				rec.Headers = []kgo.RecordHeader{{Key: "other", Value: []byte("x")}, {Key: dedupe.PlaceHeader, Value: place}}
			}
			if err := r.cl.ProduceSync(r.ctx, rec).FirstErr(); err != nil {
				r.t.Fatal(err)
			}
		}
		own(nil)
		own(dedupe.AppendPlace(nil, of))
		own([]byte("nowhere"))
		var got []dedupe.Place
		err := r.reader.Read(r.ctx, r.topic, logPartition, 0, 3, func(e *dedupe.Entry) error { got = append(got, e.Owner.Of); return nil })
		if !errors.Is(err, dedupe.ErrMalformed) || len(got) != 2 || got[0] != (dedupe.Place{}) || got[1] != of {
			r.t.Errorf("read %+v, %v", got, err)
		}
	})
}
