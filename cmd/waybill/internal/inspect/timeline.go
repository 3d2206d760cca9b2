package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Event is one thing that happened to a job, as the log or a topic tells it.
type Event struct {
	Time       time.Time `json:"time"`  // of the append, by the broker's clock; of an audit entry, its own
	What       string    `json:"what"`  // enqueued, hop, letter, redriven, discarded, expired, or the state of a receipt
	Where      string    `json:"where"` // topic/partition/offset
	Generation uint32    `json:"generation"`
	Hop        uint32    `json:"hop"`
	Attempts   uint32    `json:"attempts"`
	Due        time.Time `json:"due,omitzero"`        // of a hop, when it is looked at next; of an enqueued job, before when it does not run
	NotBefore  time.Time `json:"not_before,omitzero"` // of a hop whose job runs later than at the next look
	Delay      string    `json:"delay,omitempty"`
	Waits      bool      `json:"waits,omitempty"` // the record is not settled for good
	Code       string    `json:"code,omitempty"`
	Text       string    `json:"text,omitempty"`
	Who        string    `json:"who,omitempty"` // an instance, or who gave an order
	Epoch      *int64    `json:"epoch,omitempty"`
	Why        string    `json:"why,omitempty"` // of an order
	Digest     string    `json:"digest,omitempty"`
}

// Timeline is what happened to a job, in order, and what was read to know it.
type Timeline struct {
	*History
	Events  []Event  `json:"events"`
	Scanned []string `json:"scanned"` // topic/partition, from and to
}

// Timeline gathers what is told of a placed job: its receipts, the records they name in the job topic and what is not
// settled there, and the partitions of its tiers, letters and audit lines. From since on (zero: the committed offset) the
// job topic is read too, to find records that no receipt names.
func (r *Reader) Timeline(ctx context.Context, j Job, since time.Time) (*Timeline, error) {
	h, err := r.History(ctx, j)
	if err != nil {
		return nil, err
	}
	t := &Timeline{History: h, Events: []Event{}, Scanned: []string{}}
	t.scanned(h.Log, h.Partition, h.From, h.To)
	for i := range h.Facts {
		f := &h.Facts[i]
		if f.State != "forgotten" { // the audit topic says by whom; without it the log says that much
			t.Events = append(t.Events, Event{Time: f.Time, What: f.State, Where: place(h.Log, h.Partition, f.Offset), Generation: f.Generation, Hop: f.Hop,
				Attempts: f.Attempts, Code: f.Code, Who: f.Instance, Epoch: &f.Epoch, Text: voidText(f.Void)})
		} else {
			t.Events = append(t.Events, Event{Time: f.Time, What: "forgotten", Where: place(h.Log, h.Partition, f.Offset), Epoch: &f.Epoch})
		}
	}
	for _, read := range []func(context.Context, *Timeline, time.Time) error{r.enqueues, r.hops, r.letters, r.audits} {
		if err := read(ctx, t, since); err != nil {
			return nil, err
		}
	}
	for i := range t.Events { // what a receipt makes stale waits for nothing, wherever the committed offset stands
		e := &t.Events[i]
		e.Waits = e.Waits && !(t.Known && t.folded.Stale(e.Generation, e.Hop))
	}
	slices.SortStableFunc(t.Events, func(a, b Event) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(order(a.What), order(b.What))) })
	return t, nil
}

func voidText(void bool) string {
	if void {
		return "void: its writer owned the task no more"
	}
	return ""
}

// order places what has one time: a record stands before the receipt that tells of it.
func order(what string) int {
	return slices.Index([]string{"enqueued", "redriven", "hop", "letter"}, what) & 0xff
}

func place(topic string, p int32, offset int64) string {
	return topic + "/" + strconv.Itoa(int(p)) + "/" + strconv.FormatInt(offset, 10)
}

func (t *Timeline) scanned(topic string, p int32, from, to int64) {
	t.Scanned = append(t.Scanned, fmt.Sprintf("%s/%d %d to %d", topic, p, from, to))
}

// decoded reads a record with what the group's topics say of it.
func decoded(rec *kgo.Record, trust job.Trust) *job.Envelope {
	var e job.Envelope
	raw := job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}
	job.Decode(&e, &raw, rec.Headers, trust, "")
	e.Identify(e.WireKind, e.WireKind)
	return &e
}

// enqueues are the records of the job topic.
func (r *Reader) enqueues(ctx context.Context, t *Timeline, since time.Time) error {
	found, err := r.extents(ctx, []string{t.Topic})
	if err != nil {
		return err
	}
	e := found[t.Topic][t.Partition]
	from := max(e.start, e.committed)
	if !since.IsZero() {
		if from, err = r.offsetAt(ctx, t.Topic, t.Partition, since, e.end); err != nil {
			return err
		}
	}
	take := func(rec *kgo.Record) error {
		if x := decoded(rec, job.TrustJob); x.Identity == t.id {
			t.Events = append(t.Events, Event{Time: rec.Timestamp.UTC(), What: "enqueued", Where: place(rec.Topic, rec.Partition, rec.Offset), Due: x.At,
				Digest: fmt.Sprintf("%016x", job.DigestOf(x.Payload)), Waits: rec.Offset >= e.committed})
		}
		return nil
	}
	origins := map[int64]bool{}
	for i := range t.Facts {
		if o := t.Facts[i].receipt.Origin; t.Facts[i].State != "forgotten" && o >= e.start && o < from {
			origins[o] = true
		}
	}
	for _, o := range slices.Sorted(func(yield func(int64) bool) {
		for o := range origins {
			if !yield(o) {
				return
			}
		}
	}) {
		if err := r.scan(ctx, t.Topic, t.Partition, o, o+1, take); err != nil {
			return err
		}
	}
	t.scanned(t.Topic, t.Partition, from, e.end)
	return r.scan(ctx, t.Topic, t.Partition, from, e.end, take)
}

func (r *Reader) offsetAt(ctx context.Context, topic string, p int32, since time.Time, end int64) (int64, error) {
	at, err := r.admin.ListOffsetsAfterMilli(ctx, since.UnixMilli(), topic)
	if err != nil {
		return 0, err
	}
	o, ok := at.Lookup(topic, p)
	if !ok || o.Err != nil {
		return 0, fmt.Errorf("%s/%d: %w", topic, p, errors.Join(o.Err, errNotThere))
	}
	return min(o.Offset, end), nil
}

// hops are the copies in the tiers that are still there: the owner trims what is settled.
func (r *Reader) hops(ctx context.Context, t *Timeline, _ time.Time) error {
	tiers, found, err := r.tiers(ctx, t.Topic)
	if err != nil {
		return err
	}
	for _, s := range tiers {
		e, ok := found[s.topic][t.Partition]
		if !ok {
			continue
		}
		t.scanned(s.topic, t.Partition, e.start, e.end)
		err := r.scan(ctx, s.topic, t.Partition, e.start, e.end, func(rec *kgo.Record) error {
			x := decoded(rec, job.TrustCopy)
			if x.Identity != t.id || x.Fault != "" {
				return nil
			}
			hop := Event{Time: rec.Timestamp.UTC(), What: "hop", Where: place(rec.Topic, rec.Partition, rec.Offset), Generation: x.Generation, Hop: x.Hop,
				Attempts: uint32(max(0, x.Attempt-1)), Due: rec.Timestamp.Add(x.Delay).UTC(), Delay: retrytopics.FormatTier(x.Delay), Waits: rec.Offset >= e.committed,
				Code: codeText(x.LastCode), Text: x.LastError}
			if x.At.After(hop.Due) {
				hop.NotBefore = x.At.UTC()
			}
			t.Events = append(t.Events, hop)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// letters are the dead letters of the job.
func (r *Reader) letters(ctx context.Context, t *Timeline, _ time.Time) error {
	topic := retrytopics.DeadLetterTopic(t.Topic, r.group)
	n, err := r.partitions(ctx, topic)
	if err != nil {
		return err
	}
	p := t.Partition % max(1, n)
	from, to, err := r.bounds(ctx, topic, p)
	if err != nil {
		return err
	}
	t.scanned(topic, p, from, to)
	return r.scan(ctx, topic, p, from, to, func(rec *kgo.Record) error {
		l, err := dlq.Decode(&job.Raw{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, Time: rec.Timestamp, Key: rec.Key, Value: rec.Value}, rec.Headers)
		if err != nil || l.Identity != t.id { // what is no letter is none of this job's
			return nil //nolint:nilerr // see above
		}
		t.Events = append(t.Events, Event{Time: l.Filed.UTC(), What: "letter", Where: place(rec.Topic, rec.Partition, rec.Offset), Generation: l.Generation, Hop: l.Hop,
			Attempts: uint32(l.Attempts), Code: codeText(l.Code), Text: l.Text, Who: l.Instance, Why: l.Disposition.String(), Digest: fmt.Sprintf("%016x", l.Digest)})
		return nil
	})
}

// audits are what was ordered or noted about the job.
func (r *Reader) audits(ctx context.Context, t *Timeline, _ time.Time) error {
	topic := retrytopics.AuditTopic(r.group)
	n, err := r.partitions(ctx, topic)
	if err != nil {
		return err
	}
	for p := range n {
		from, to, err := r.bounds(ctx, topic, p)
		if err != nil {
			return err
		}
		t.scanned(topic, p, from, to)
		err = r.scan(ctx, topic, p, from, to, func(rec *kgo.Record) error {
			t.audit(rec)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *Timeline) audit(rec *kgo.Record) {
	var line struct {
		Time           time.Time
		Who, What, Why string
		Details        struct {
			Identity, Code string
			Letters        []struct {
				Identity   string
				Generation uint32
				NewID      string `json:"new_id"`
				Edited     bool
			}
		}
	}
	if json.Unmarshal(rec.Value, &line) != nil {
		return
	}
	e := Event{Time: line.Time, Where: place(rec.Topic, rec.Partition, rec.Offset), Who: line.Who, Why: line.Why, Code: line.Details.Code}
	for _, l := range line.Details.Letters {
		if l.Identity != t.Identity || line.What != audit.Redrive {
			continue
		}
		e.What, e.Generation = "redriven", l.Generation+1
		switch {
		case l.NewID != "":
			e.Text = "as a new job " + l.NewID
		case l.Edited:
			e.Text = "with another payload"
		}
		t.Events = append(t.Events, e)
	}
	if line.Details.Identity != t.Identity {
		return
	}
	switch line.What {
	case audit.Forget:
		e.What = "ordered to be forgotten"
	case audit.Discard:
		e.What = "discarded: " + line.Why
		e.Why = ""
	case "job.expire":
		e.What = "expired unstarted"
	default:
		e.What = line.What
	}
	t.Events = append(t.Events, e)
}
