package inspect

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/refold"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// maxDifferences is how many a Verdict names.
const maxDifferences = 20

// Verdict is what a comparison of one task came to.
type Verdict struct {
	Topic       string   `json:"topic"`
	Partition   int32    `json:"partition"`
	From        int64    `json:"from"` // offsets of the log that were folded, without the last
	To          int64    `json:"to"`
	Owners      int      `json:"owners"` // ownership records among them
	Segments    int      `json:"segments"`
	Receipts    int      `json:"receipts"`
	Marks       int      `json:"marks"`
	Orders      int      `json:"orders"` // to forget a job
	Jobs        int      `json:"jobs"`   // of which something is known
	Differences []string `json:"differences"`
	More        int      `json:"more,omitempty"` // differences that are not named
}

// OK reports whether nothing differs.
func (v *Verdict) OK() bool { return len(v.Differences) == 0 }

func (v *Verdict) differs(format string, a ...any) {
	if len(v.Differences) == maxDifferences {
		v.More++
		return
	}
	v.Differences = append(v.Differences, fmt.Sprintf(format, a...))
}

// Engine is the engine's fold of nothing.
func Engine() dedupe.Store { return dedupe.NewMemory(time.Hour) }

// Verify folds the log of a task twice, by the engine's code (what Engine returns) and by other code, and compares (I13). It
// closes the store. It takes some 350 bytes a job.
func (r *Reader) Verify(ctx context.Context, topic string, p int32, store dedupe.Store) (*Verdict, error) {
	defer func() { _ = store.Close() }()
	log := retrytopics.ReceiptTopic(topic, r.group)
	v := &Verdict{Topic: topic, Partition: p, Differences: []string{}}
	var err error
	if v.From, v.To, err = r.bounds(ctx, log, p); err != nil {
		return nil, err
	}
	plain := refold.New()
	var failed error
	err = r.log(ctx, log, p, v.From, v.To, func(e *dedupe.Entry) {
		v.count(e)
		plain.Apply(e)
		if failed == nil {
			failed = store.Apply(e)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return nil, err
	}
	v.Jobs = plain.Len()
	v.compare(store, plain)
	return v, nil
}

func (v *Verdict) count(e *dedupe.Entry) {
	if e.Owner != nil {
		v.Owners++
		return
	}
	v.Segments++
	v.Receipts += len(e.Segment.Receipts)
	v.Marks += len(e.Segment.Marks)
	v.Orders += len(e.Segment.Forget)
}

// compare holds a store against the plain fold of the same entries.
func (v *Verdict) compare(store dedupe.Store, plain *refold.Fold) {
	if got, want := store.Position(), plain.Position(); !reflect.DeepEqual(got, want) {
		v.differs("position: the store says %+v, the log %+v", got, want)
	}
	if got, want := store.Len(), plain.Len(); got != want {
		v.differs("the store knows %d jobs, the log %d", got, want)
	}
	for id := range plain.Jobs() {
		v.compareJob(id, store, plain)
	}
}

func (v *Verdict) compareJob(id job.Identity, store dedupe.Store, plain *refold.Fold) {
	got, ok := store.Get(id)
	want, _ := plain.Get(id)
	switch {
	case !ok:
		v.differs("job %s: the store knows nothing, the log says %s", id, short(want))
	case !reflect.DeepEqual(got, want):
		v.differs("job %s: the store says %s, the log %s", id, short(got), short(want))
	}
}

// short is a receipt on one line.
func short(r dedupe.Receipt) string {
	return fmt.Sprintf("%s generation %d hop %d attempt %d origin %d digest %016x code %s at %d, %d bytes of result", r.State, r.Gen, r.Hop, r.Attempt, r.Origin,
		r.Digest, r.Code, r.At, len(r.Result))
}
