package inspect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Why is the one thing a job waits for.
type Why struct {
	Kind   string    `json:"kind"`
	ID     string    `json:"id"`
	Task   string    `json:"task"`   // topic/partition
	Reason string    `json:"reason"` // done, dead, discarded, expired, not_found, nothing_waits, no_owner, unknown_kind, not_due, behind_key, follows, running_or_held
	Text   string    `json:"text"`   // one sentence
	Since  time.Time `json:"since,omitzero"`
	Due    time.Time `json:"due,omitzero"`
	Record string    `json:"record,omitempty"` // the one that is to be worked on: topic/partition/offset
	Owner  string    `json:"owner,omitempty"`  // client id of the member that has the task
	Behind int       `json:"behind,omitempty"` // unsettled jobs of its key before it in the job topic
	First  string    `json:"first,omitempty"`  // KIND/ID of the first of those, or of the job that it follows
	Head   *Why      `json:"head,omitempty"`   // what the job that it follows waits for
	Copies *Copies   `json:"copies,omitempty"` // what else of its key waits in the tiers, where a key was asked about
}

// Why finds out what a placed job waits for, as far as the cluster tells: offsets, tiers, receipts and the group. Pause reasons
// of a partition are known to the instance alone.
func (r *Reader) Why(ctx context.Context, j Job, now time.Time) (*Why, error) {
	t, err := r.Timeline(ctx, j, time.Time{})
	if err != nil {
		return nil, err
	}
	w := &Why{Kind: j.Kind, ID: j.ID, Task: fmt.Sprintf("%s/%d", j.Topic, j.Partition)}
	live := t.live()
	if live == nil {
		w.ended(t)
		return w, nil
	}
	w.Record, w.Since = live.Where, live.Time
	if w.Owner, err = r.Owned(ctx, j.Topic, j.Partition); err != nil {
		return nil, err
	}
	if t.folded.Code == job.CodeFollows && !t.folded.State.Final() && w.Owner != "" {
		if err := r.follows(ctx, w, j, &t.folded, now); err != nil || w.Reason != "" {
			return w, err
		}
	}
	switch {
	case w.Owner == "":
		w.say("no_owner", "nobody owns task %s: the group has no member that was assigned it", w.Task)
	case live.Due.After(now) && (live.Code == job.CodeUnknownKind.String() || live.Code == job.CodeUnknownVersion.String()):
		w.Due = live.Due
		w.say("unknown_kind", "no worker knows its kind or the version of its payload; it is looked at again at %s: deploy one that does", w.Due.Format(time.RFC3339))
	case live.Due.After(now):
		w.Due = live.Due
		if !live.NotBefore.IsZero() { // its copy goes round until then
			w.Due = live.NotBefore
		}
		w.say("not_due", "it is due at %s, in %v", w.Due.Format(time.RFC3339), w.Due.Sub(now).Round(time.Second))
	case live.What == "hop":
		w.say("running_or_held", "it was due at %s: it runs now, waits for a worker, or its partition is paused; %s knows which (GET /status)", live.Due.Format(time.RFC3339), w.Owner)
	case live.What == "enqueued" && j.Key != nil:
		if err := r.behind(ctx, w, j, live); err != nil {
			return nil, err
		}
	}
	if w.Reason == "" {
		w.say("running_or_held", "it is the next of its key: it runs now, waits for a worker, or its partition is paused; %s knows which (GET /status)", w.Owner)
	}
	return w, nil
}

func (w *Why) say(reason, format string, a ...any) {
	w.Reason, w.Text = reason, fmt.Sprintf(format, a...)
}

// live is the last record of the job that is to be worked on, nil for none.
func (t *Timeline) live() (found *Event) {
	for i := range t.Events {
		e := &t.Events[i]
		if e.Waits {
			found = e
		}
	}
	return found
}

// ended tells what became of a job of which no record waits.
func (w *Why) ended(t *Timeline) {
	if !t.Known {
		w.say("not_found", "nothing waits and nothing is known of it in task %s: it was never enqueued there, or was settled and its receipt is past the window, or its kind writes none (AtLeastOnce)", w.Task)
		return
	}
	w.Since = t.Receipt.Appended
	at := w.Since.UTC().Format(time.RFC3339)
	switch s := t.folded.State; s {
	case dedupe.Done:
		w.say("done", "nothing: it is done since %s", at)
	case dedupe.Dead:
		text := fmt.Sprintf("nothing: it was filed as a dead letter at %s", at)
		for _, e := range t.Events {
			if e.What == "letter" && e.Generation == t.folded.Gen {
				text += fmt.Sprintf(" (%s, %s: %s)", e.Where, e.Code, e.Text)
				break
			}
		}
		if t.folded.Code == job.CodeHolding {
			text += "; later jobs of its key wait for it (Policy.OnDead): redrive the letter (waybill dlq redrive), or let them pass without it (waybill receipt forget)"
		}
		w.say("dead", "%s", text)
	case dedupe.Discarded, dedupe.Expired:
		w.say(s.String(), "nothing: it was %s at %s", s, at)
	default:
		w.say("running_or_held", "no record of it waits although it is %s since %s: it is being settled, or its receipt was not written again", s, at)
	}
}

// behind counts what stands before a record of the job topic in its key.
func (r *Reader) behind(ctx context.Context, w *Why, j Job, live *Event) error {
	store := dedupe.NewMemory(time.Hour)
	defer func() { _ = store.Close() }()
	p, err := r.foldAll(ctx, j, store)
	if err != nil {
		return err
	}
	err = r.scan(ctx, j.Topic, j.Partition, p.from, p.to, func(rec *kgo.Record) error {
		if place(rec.Topic, rec.Partition, rec.Offset) == live.Where {
			return ErrEnough
		}
		x := decoded(rec, job.TrustJob)
		if known, _ := store.Get(x.Identity); !bytes.Equal(rec.Key, j.Key) || known.Stale(0, 0) {
			return nil
		}
		if w.Behind++; w.First == "" {
			w.First = x.WireKind + "/" + x.ID
		}
		return nil
	})
	if err != nil && !errors.Is(err, ErrEnough) {
		return err
	}
	if w.Behind > 0 {
		jobs := fmt.Sprintf("%d jobs", w.Behind)
		if w.Behind == 1 {
			jobs = "a job"
		}
		w.say("behind_key", "it stands behind %s of its key, of which %s is the first (waybill job why %s)", jobs, w.First, w.First)
	}
	return nil
}

// pending is what of a job topic's partition is not settled for good.
type pending struct{ from, to int64 }

// foldAll folds the whole log of a job's task, and tells what to read of the job topic.
func (r *Reader) foldAll(ctx context.Context, j Job, store dedupe.Store) (pending, error) {
	log := retrytopics.ReceiptTopic(j.Topic, r.group)
	from, to, err := r.bounds(ctx, log, j.Partition)
	if err != nil {
		return pending{}, err
	}
	var failed error
	err = r.log(ctx, log, j.Partition, from, to, func(e *dedupe.Entry) {
		if failed == nil {
			failed = store.Apply(e)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return pending{}, err
	}
	found, err := r.extents(ctx, []string{j.Topic})
	if err != nil {
		return pending{}, err
	}
	e := found[j.Topic][j.Partition]
	return pending{max(e.start, e.committed), e.end}, nil
}
