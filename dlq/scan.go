package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// scan hands the records of one range to each, in order. An error of each ends it and is returned as it is.
//
// It reads what is committed, with a client of its own that never resets an offset: a range whose start retention took
// meanwhile is an error, not a silent jump. Transaction markers are kept, because one may stand at the very end, which
// would else never be seen to be reached.
func (c *Client) scan(ctx context.Context, topic string, r span, each func(*kgo.Record) error) error {
	if r.from >= r.to {
		return nil
	}
	client, err := kgo.NewClient(append(slices.Clone(c.opts),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {r.partition: kgo.NewOffset().At(r.from)}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetchError(fetches); err != nil {
			return fmt.Errorf("reading %s/%d: %w", topic, r.partition, err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			rec := records.Next()
			if rec.Offset < r.to && !rec.Attrs.IsControl() {
				if err := each(rec); err != nil {
					return err
				}
			}
			if rec.Offset >= r.to-1 {
				return nil
			}
		}
	}
}

func fetchError(fetches kgo.Fetches) error {
	var errs []error
	for _, e := range fetches.Errors() {
		errs = append(errs, e.Err)
	}
	return errors.Join(errs...)
}
