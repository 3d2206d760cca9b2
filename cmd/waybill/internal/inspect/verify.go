package inspect

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/disk/asis"
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

// VerifyDir holds what a directory of an instance (Config.Dir) has of a task against the log, folded by other code up to where the
// directory has read it. None of the store's code is in it. A task that the directory does not have is nil.
//
// What the log no longer has cannot be compared, and what the store has let expire is no difference. When a receipt was appended is
// compared by the hour: an instance knows that of its own by its own clock.
func (r *Reader) VerifyDir(ctx context.Context, d *asis.Dir, topic string, p int32) (*Verdict, error) {
	log := retrytopics.ReceiptTopic(topic, r.group)
	found, err := r.admin.ListTopics(ctx, topic, log)
	if err == nil {
		err = errors.Join(found[topic].Err, found[log].Err)
	}
	if err != nil {
		return nil, err
	}
	has, err := d.Task(dedupe.TopicID(found[topic].ID), dedupe.TopicID(found[log].ID), p)
	if has == nil || err != nil {
		return nil, err
	}
	v := &Verdict{Topic: topic, Partition: p, Differences: []string{}}
	end := int64(0)
	if v.From, end, err = r.bounds(ctx, log, p); err != nil {
		return nil, err
	}
	if v.To = has.Position.Next; v.To > end {
		v.differs("the directory has read the log up to %d, and it ends at %d: the log lost its end. The instance reads it anew at its next start", v.To, end)
		return v, nil
	}
	plain := refold.New()
	if v.To > v.From { // else retention has taken all that the directory has read
		err = r.log(ctx, log, p, v.From, v.To, func(e *dedupe.Entry) {
			v.count(e)
			plain.Apply(e)
		})
	}
	v.Jobs = len(has.Jobs)
	v.compareDir(has, plain)
	return v, err
}

func (v *Verdict) compareDir(has *asis.Task, plain *refold.Fold) {
	want := plain.Position()
	switch got := has.Position; {
	case want.Epoch < 0 && v.From > 0: // the ownership record is gone from the log, and with it what was in force
	case want.FrontierEpoch < 0 && v.From > 0 && got.Epoch == want.Epoch:
	case !reflect.DeepEqual(got, want):
		v.differs("position: the directory says %+v, the log %+v", got, want)
	}
	for id := range plain.Jobs() {
		want, _ := plain.Get(id)
		got, ok := has.Jobs[id]
		switch early := plain.Last(id).Before(has.Expired.Add(time.Hour)); {
		case !ok && early:
		case !ok:
			v.differs("job %s: the directory knows nothing, the log says %s", id, short(want))
		case v.From > 0 && refold.Compare(got, want) > 0: // an earlier receipt, which retention took, said more
		default:
			if near(got.At, want.At) {
				got.At = want.At
			}
			if !reflect.DeepEqual(got, want) {
				v.differs("job %s: the directory says %s, the log %s", id, short(got), short(want))
			}
		}
	}
	if v.From > 0 {
		return
	}
	for id, got := range has.Jobs {
		if _, ok := plain.Get(id); !ok {
			v.differs("job %s: the directory says %s, the log nothing", id, short(got))
		}
	}
}

// near reports whether two stamps are within an hour.
func near(a, b uint32) bool { return max(a, b)-min(a, b) <= 3600 }

// short is a receipt on one line.
func short(r dedupe.Receipt) string {
	return fmt.Sprintf("%s generation %d hop %d attempt %d origin %d digest %016x code %s at %d, %d bytes of result", r.State, r.Gen, r.Hop, r.Attempt, r.Origin,
		r.Digest, r.Code, r.At, len(r.Result))
}
