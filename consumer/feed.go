package consumer

import (
	"context"
	"fmt"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
)

// What is read goes to the shard in pieces of so much, whichever comes first: about a quarter of a millisecond of the shard's time, which
// tasks that work wait for.
const (
	handEntries  = 128
	handReceipts = 512
)

// feed is one read of a log on its way into a task's store. The read's goroutine owns it, and holds Consumer.turns while it calls add.
type feed struct {
	c   *Consumer
	ctx context.Context
	h   *handle
	// direct: the store is on disk, and the machine asks it for nothing before the read has ended. Then receipts do not go through the
	// shard: it has tasks that work.
	direct bool

	batch    []*dedupe.Entry
	receipts int
	failed   error
}

func (f *feed) add(e *dedupe.Entry) error {
	if e.Segment != nil {
		f.receipts += len(e.Segment.Receipts) + len(e.Segment.Marks)
	}
	if f.batch = append(f.batch, e); len(f.batch) == handEntries || f.receipts >= handReceipts {
		f.hand()
	}
	return f.failed
}

// end hands over what is left.
func (f *feed) end() error {
	f.c.turns.Take()
	defer f.c.turns.Give()
	f.hand()
	return f.failed
}

// hand gives others their turn, waits until the store has room, and hands over.
func (f *feed) hand() {
	entries := f.batch
	f.batch, f.receipts = nil, 0
	if f.failed != nil || len(entries) == 0 {
		return
	}
	f.c.turns.Give()
	if f.h.shelf != nil {
		f.failed = f.h.shelf.db.Room(f.ctx)
	}
	f.c.turns.Take()
	for from := 0; from < len(entries) && f.failed == nil; {
		to := from
		for f.direct && to < len(entries) && receiptsOnly(entries[to]) {
			to++
		}
		if to > from {
			f.apply(entries[from:to])
			from = to
			continue
		}
		for to < len(entries) && !(f.direct && receiptsOnly(entries[to])) {
			to++
		}
		f.tell(entries[from:to])
		from = to
	}
}

// receiptsOnly reports whether an entry matters to the store alone: the machine has nothing to learn of it.
func receiptsOnly(e *dedupe.Entry) bool { return e.Segment != nil && len(e.Segment.Forget) == 0 }

func (f *feed) apply(entries []*dedupe.Entry) {
	for _, e := range entries {
		if f.failed == nil {
			f.fail(f.h.shelf.Apply(e))
		}
	}
}

// tell has the machine fold entries.
func (f *feed) tell(entries []*dedupe.Entry) {
	f.h.shard.ask(f.h, func(m *task.Machine, _ int64) { f.fail(m.Entries(entries)) })
}

func (f *feed) fail(err error) {
	if err != nil {
		f.failed = fmt.Errorf("%w: %w", errStore, err)
	}
}
