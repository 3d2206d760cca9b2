package dedupe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/internal/partition"
)

const fetchBytes = 4 << 20 // of one fetch; the first batch comes whole, however large

// ErrTruncated says that the log ends before the offset up to which it was to be read: it lost its tail, or the caller's
// position belongs to another log. Nothing may be decided from what is left without an operator.
var ErrTruncated = errors.New("the receipt log is truncated")

// ErrRecreated says that the log's topic was deleted and made again while it was being read.
var ErrRecreated = partition.ErrRecreated

// LogReader reads receipt logs. It keeps no state between reads; all methods may be called concurrently.
type LogReader struct {
	// Turn is taken while what was fetched is opened, decoded and handed over; each may give it back and take it again. It is set before the
	// first Read, or nil.
	Turn Turn

	opts   []kgo.Opt
	making sync.Mutex // kgo.NewClient writes into the codecs of a compression option: clients of the same options are made in turn
}

// NewLogReader returns a reader that connects with these options: seeds, dialer, TLS, SASL, client id, logger. Options
// that consume (groups, topics) do not belong here.
func NewLogReader(opts []kgo.Opt) *LogReader { return &LogReader{opts: opts} }

// Read hands the entries with offsets in [from, to) to each, in offset order, committed by transactions or not. to < 0
// stands for the end of the log when Read began; from is raised to the log's start, since what retention took has no
// meaning any more. Read returns nil once to is reached, whether records, gaps or transaction markers lie before it.
//
// An entry is each's to keep; results of receipts share memory with the other entries of a fetched batch. An error of each
// ends the read and is returned unchanged. Other errors name topic, partition and, where there is one, offset:
//   - ErrTruncated: the log ends before to. Nothing was read, or all up to the new end.
//   - ErrRecreated: see there.
//   - a *VersionError or ErrMalformed for a record that does not decode. Nothing after it was handed over.
//   - the context's error, or the broker's after some seconds of retries. A later Read may succeed.
//
// Read blocks for as long as it takes to fetch and fold the range, with a client of its own that it closes. It never waits
// for records that are not written yet, and never moves to another offset by itself.
func (r *LogReader) Read(ctx context.Context, topic string, number int32, from, to int64, each func(*Entry) error) error {
	// One retry loop is enough: the one of package partition, which looks the leader up again each time.
	r.making.Lock()
	cl, err := kgo.NewClient(append(slices.Clone(r.opts), kgo.RequestRetries(0))...)
	r.making.Unlock()
	if err != nil {
		return fmt.Errorf("dedupe: receipt log %s/%d: %w", topic, number, err)
	}
	defer cl.Close()
	s := scan{log: partition.Reader{Client: cl, Topic: topic, Partition: number, Bytes: fetchBytes}, next: from, to: to, each: each}
	if r.Turn != nil {
		s.turn = r.Turn
		s.log.Opening = func() { s.turn.Take(); s.taken = true }
	}
	return s.run(ctx)
}

// scan is one Read.
type scan struct {
	log  partition.Reader
	next int64 // offset to fetch next
	to   int64
	each func(*Entry) error

	turn  Turn // nil: none
	taken bool
}

func (s *scan) named(err error) error {
	return fmt.Errorf("dedupe: receipt log %s/%d: %w", s.log.Topic, s.log.Partition, err)
}

func (s *scan) run(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	for idle := 0; s.next < s.to; {
		before := s.next
		switch err := s.step(ctx); {
		case errors.Is(err, kerr.OffsetOutOfRange): // retention overtook us, or the tail was lost
			if err := s.enter(ctx); err != nil {
				return err
			}
		case err != nil:
			return err
		}
		if s.next > before {
			idle = 0
			continue
		}
		if idle++; idle == partition.Patience {
			return s.named(fmt.Errorf("nothing can be fetched at offset %d although the log is said to go on", s.next))
		}
		if err := partition.Wait(ctx, idle); err != nil {
			return s.named(err)
		}
	}
	return nil
}

// enter compares the range with the log as it is now.
func (s *scan) enter(ctx context.Context) error {
	start, end, err := s.log.Bounds(ctx)
	if err != nil {
		return s.named(err)
	}
	if s.to < 0 {
		s.to = end
	}
	if s.to > end {
		return s.named(fmt.Errorf("%w: it ends at offset %d, before %d", ErrTruncated, end, s.to))
	}
	s.next = max(s.next, start)
	return nil
}

// step fetches once and hands over what came.
func (s *scan) step(ctx context.Context) error {
	got, next, err := s.log.Fetch(ctx, s.next)
	if s.taken {
		s.taken = false
		defer s.turn.Give()
	}
	if err != nil {
		return s.named(err)
	}
	for _, rec := range got.Records {
		if rec.Offset >= s.to {
			s.next = s.to
			return nil
		}
		e, err := Decode(rec.Value)
		if err == nil && e.Owner != nil {
			e.Owner.Of, err = placeOf(rec)
		}
		if err != nil {
			if errors.Is(err, ErrMalformed) {
				err = fmt.Errorf("%w; only Waybill may write there. To go on without the receipts up to here, stop the group and delete the "+
					"partition's records below offset %d (kafka-delete-records): what it then does not remember may run twice", err, rec.Offset+1)
			}
			return s.named(fmt.Errorf("offset %d: %w", rec.Offset, err))
		}
		e.Offset, e.Time = rec.Offset, rec.Timestamp
		if err := s.each(&e); err != nil {
			return err
		}
	}
	s.next = next
	if got.Err != nil { // damage found by the client; what came before it was handed over
		return s.named(fmt.Errorf("offset %d: %w", next, got.Err))
	}
	if err := ctx.Err(); err != nil {
		return s.named(err)
	}
	return nil
}

// placeOf is what an ownership record says its log is of, zero when it does not say.
func placeOf(rec *kgo.Record) (Place, error) {
	for i := range rec.Headers {
		if rec.Headers[i].Key == PlaceHeader {
			return ReadPlace(rec.Headers[i].Value)
		}
	}
	return Place{}, nil
}
