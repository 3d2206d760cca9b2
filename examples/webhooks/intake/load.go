package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/waybill-dev/waybill/examples/webhooks/hook"
	"github.com/waybill-dev/waybill/producer"
)

// BatchEnqueuer is what Load needs of a *producer.Producer.
type BatchEnqueuer interface {
	EnqueueMany(ctx context.Context, items []producer.Item) ([]producer.Enqueued, error)
}

const (
	batch   = 100      // lines on their way at once
	maxLine = 16 << 20 // bytes
)

// Load enqueues the deliveries of an NDJSON stream, {"event": name, "payload": object} a line, in order. The id of each is
// prefix and its line number: loading a file again enqueues nothing new, and two files need two prefixes. acked, which may
// be nil, is told of each job that is durable.
//
// It stops at the first line that is wrong or was not acked, having waited for those before it; the error names the line.
func Load(ctx context.Context, jobs BatchEnqueuer, r io.Reader, prefix string, acked func(line int, e producer.Enqueued)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	l := loader{jobs: jobs, acked: acked}
	n := 0
	for lines.Scan() {
		n++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		item, err := parse(text, prefix+strconv.Itoa(n))
		if err != nil {
			return errors.Join(l.flush(ctx), fmt.Errorf("line %d: %w", n, err))
		}
		if err := l.add(ctx, n, item); err != nil {
			return err
		}
	}
	err := lines.Err()
	if err != nil {
		err = fmt.Errorf("line %d: %w", n+1, err)
	}
	return errors.Join(l.flush(ctx), err)
}

func parse(text []byte, id string) (producer.Item, error) {
	var d struct {
		Event   string
		Payload json.RawMessage // verbatim, and a copy
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return producer.Item{}, err
	}
	opts, err := hook.Options(d.Event, id, hook.Delivery(d.Payload))
	return producer.Item{Args: hook.Delivery(d.Payload), Options: opts}, err
}

// loader gathers a batch.
type loader struct {
	jobs    BatchEnqueuer
	acked   func(int, producer.Enqueued)
	items   []producer.Item
	numbers []int // the line of each item
}

func (l *loader) add(ctx context.Context, n int, item producer.Item) error {
	l.items, l.numbers = append(l.items, item), append(l.numbers, n)
	if len(l.items) < batch {
		return nil
	}
	return l.flush(ctx)
}

func (l *loader) flush(ctx context.Context) error {
	if len(l.items) == 0 {
		return nil
	}
	done, err := l.jobs.EnqueueMany(ctx, l.items)
	for i, e := range done {
		if e.Offset >= 0 && l.acked != nil {
			l.acked(l.numbers[i], e)
		}
	}
	var failed *producer.BatchError
	if errors.As(err, &failed) && len(failed.Failed) > 0 {
		err = fmt.Errorf("line %d: %w", l.numbers[failed.Failed[0].Index], err)
	}
	l.items, l.numbers = nil, nil
	return err
}
