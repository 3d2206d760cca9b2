package inspect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// follows tells of a job of a strict kind that followed others of its key through the tiers which of them it waits for, and
// what that one waits for. It says nothing when none of them is left: then the job only waits for its copy to be due.
func (r *Reader) follows(ctx context.Context, w *Why, j Job, own *dedupe.Receipt, now time.Time) error {
	store := dedupe.NewMemory(time.Hour)
	defer func() { _ = store.Close() }()
	if _, err := r.foldAll(ctx, j, store); err != nil {
		return err
	}
	var head dedupe.Receipt
	store.Unfinished(func(x dedupe.Receipt) {
		holds := x.KeyHash == job.KeyHash(j.Key) && x.Origin < own.Origin && x.Blocks()
		if holds && (w.Behind == 0 || x.Origin < head.Origin) {
			head = x
		}
		if holds {
			w.Behind++
		}
	})
	if w.Behind == 0 {
		return nil
	}
	name, err := r.nameOf(ctx, j, &head)
	if err != nil {
		return err
	}
	if name == nil {
		w.say("follows", "it follows the job of its key that entered at offset %d of %s, which is %s; retention took that record, and its name with it", head.Origin, w.Task, head.State)
		return nil
	}
	if w.Head, err = r.Why(ctx, *name, now); err != nil {
		return err
	}
	w.First = name.Kind + "/" + name.ID
	w.say("follows", "it follows %s of its key, which entered before it and has not ended: %s", w.First, strings.TrimPrefix(w.Head.Text, "nothing: "))
	return nil
}

// nameOf reads the name of the job of a receipt where it entered the job topic; nil where that record is gone.
func (r *Reader) nameOf(ctx context.Context, j Job, x *dedupe.Receipt) (name *Job, err error) {
	found, err := r.extents(ctx, []string{j.Topic})
	if err != nil {
		return nil, err
	}
	if e := found[j.Topic][j.Partition]; x.Origin < e.start || x.Origin >= e.end {
		return nil, nil
	}
	err = r.scan(ctx, j.Topic, j.Partition, x.Origin, x.Origin+1, func(rec *kgo.Record) error {
		if d := decoded(rec, job.TrustJob); d.Identity == x.Identity {
			name = named(j, d)
		}
		return ErrEnough
	})
	if err != nil && !errors.Is(err, ErrEnough) {
		return nil, fmt.Errorf("%s/%d at %d: %w", j.Topic, j.Partition, x.Origin, err)
	}
	return name, nil
}
