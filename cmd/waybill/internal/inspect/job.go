package inspect

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/refold"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// Job names a job as an operator does. The kind must be the first name it ever had: the identity is taken over that.
type Job struct {
	Topic     string
	Kind      string
	ID        string
	Key       []byte // nil for a record without a key
	Partition int32  // -1: where its key belongs
}

// Identity is the job's name in the receipt log.
func (j Job) Identity() job.Identity { return job.IdentityOf(j.Kind, j.Key, j.ID) }

// Place finds the partition of a job; a job without a key may be in any, so it must be named with one.
func (r *Reader) Place(ctx context.Context, j Job) (Job, error) {
	n, err := r.partitions(ctx, j.Topic)
	if err != nil {
		return j, err
	}
	switch {
	case j.Partition >= n:
		return j, fmt.Errorf("topic %s has %d partitions, none is %d", j.Topic, n, j.Partition)
	case j.Partition < 0 && j.Key == nil:
		return j, errors.New("a job without a key may be in any partition: name it with --partition")
	case j.Partition < 0:
		j.Partition = job.PartitionOf(j.Key, n)
	}
	return j, nil
}

func (r *Reader) partitions(ctx context.Context, topic string) (int32, error) {
	topics, err := r.admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	d := topics[topic]
	if d.Err != nil {
		return 0, fmt.Errorf("topic %s: %w", topic, d.Err)
	}
	return int32(len(d.Partitions)), nil
}

// Fact is what one entry of the receipt log says of a job.
type Fact struct {
	Offset     int64     `json:"offset"` // in the log
	Time       time.Time `json:"time"`   // of the append
	State      string    `json:"state"`  // or "forgotten": an order that withdraws what stands before it
	Generation uint32    `json:"generation"`
	Hop        uint32    `json:"hop"`      // the next expected one; of a started mark the one that runs
	Attempts   uint32    `json:"attempts"` // burnt
	Code       string    `json:"code,omitempty"`
	Epoch      int64     `json:"epoch"`              // that its writer rests on; -1 for an operator
	Instance   string    `json:"instance,omitempty"` // of that epoch, where the log still says it
	Void       bool      `json:"void,omitempty"`     // a started mark of an owner that owned no more

	receipt dedupe.Receipt
}

// History is what the receipt log of a task says of one job.
type History struct {
	Topic     string        `json:"topic"`
	Partition int32         `json:"partition"`
	Kind      string        `json:"kind"`
	ID        string        `json:"id"`
	Key       *string       `json:"key"` // null: the record has none
	Identity  string        `json:"identity"`
	Log       string        `json:"log"`
	From      int64         `json:"from"` // offsets that were read, without the last
	To        int64         `json:"to"`
	Known     bool          `json:"known"`
	Receipt   *Receipt      `json:"receipt,omitempty"`
	Owner     string        `json:"owner,omitempty"` // instance that wrote the newest ownership record
	Epoch     int64         `json:"epoch"`           // of that; -1 for none
	Window    time.Duration `json:"-"`               // 0: the topic does not say
	Facts     []Fact        `json:"-"`

	id     job.Identity
	folded dedupe.Receipt
}

// Receipt is the fold of a job's facts, for people.
type Receipt struct {
	State      string    `json:"state"`
	Final      bool      `json:"final"`
	Generation uint32    `json:"generation"`
	Hop        uint32    `json:"hop"`
	Attempts   uint32    `json:"attempts"`
	Origin     string    `json:"origin"` // topic/partition/offset
	Code       string    `json:"code,omitempty"`
	Digest     string    `json:"digest"`
	Repeats    bool      `json:"repeats,omitempty"` // its kind lets it be enqueued again once it has ended
	Result     string    `json:"result,omitempty"`  // of a job that is done: text, or hexadecimal
	ResultHex  bool      `json:"result_is_hex,omitempty"`
	Progress   int       `json:"progress_bytes,omitempty"` // kept of its steps, while it is not done
	Appended   time.Time `json:"appended"`                 // the entry that decides
	Offset     int64     `json:"offset"`
	Epoch      int64     `json:"epoch"`
	Instance   string    `json:"instance,omitempty"`
	Renewed    time.Time `json:"renewed"`            // the last entry about the job, from which its window runs
	Forgotten  time.Time `json:"forgotten,omitzero"` // when the window ends, at the earliest
}

// History folds the log of the job's task for that job alone. The job must be placed. It reads the whole partition of the
// log, as a restore does.
func (r *Reader) History(ctx context.Context, j Job) (*History, error) {
	id := j.Identity()
	h := &History{id: id, Topic: j.Topic, Partition: j.Partition, Kind: j.Kind, ID: j.ID, Identity: id.String(), Log: retrytopics.ReceiptTopic(j.Topic, r.group), Epoch: -1}
	if j.Key != nil {
		key := string(j.Key)
		h.Key = &key
	}
	var err error
	if h.From, h.To, err = r.bounds(ctx, h.Log, j.Partition); err != nil {
		return nil, err
	}
	h.Window = r.window(ctx, h.Log)
	plain, owners := refold.New(), map[int64]string{}
	err = r.log(ctx, h.Log, j.Partition, h.From, h.To, func(e *dedupe.Entry) {
		h.see(e, id, plain, owners)
	})
	if err != nil {
		return nil, err
	}
	if p := plain.Position(); p.Epoch >= 0 {
		h.Epoch, h.Owner = p.Epoch, p.Owner.Instance
	}
	if h.folded, h.Known = plain.Get(id); h.Known {
		h.tell(plain.Last(id))
	}
	return h, nil
}

// see notes what an entry says of the job, and folds that.
func (h *History) see(e *dedupe.Entry, id job.Identity, plain *refold.Fold, owners map[int64]string) {
	if e.Owner != nil {
		owners[e.Offset] = e.Owner.Instance
		plain.Apply(e)
		return
	}
	only := *e.Segment
	only.Receipts, only.Marks, only.Forget = nil, nil, nil
	note := func(f Fact) {
		f.Offset, f.Time, f.Epoch, f.Instance = e.Offset, e.Time.UTC(), only.Epoch, owners[only.Epoch]
		h.Facts = append(h.Facts, f)
	}
	for _, x := range e.Segment.Forget {
		if x == id {
			only.Forget = append(only.Forget, x)
			note(Fact{State: "forgotten"})
		}
	}
	take := func(from []dedupe.Receipt, to *[]dedupe.Receipt, void bool) {
		for _, x := range from {
			if x.Identity == id {
				*to = append(*to, x)
				note(Fact{State: x.State.String(), Generation: x.Gen, Hop: x.Hop, Attempts: x.Attempt, Code: codeText(x.Code), Void: void, receipt: x})
			}
		}
	}
	take(e.Segment.Receipts, &only.Receipts, false)
	take(e.Segment.Marks, &only.Marks, !plain.InForce(e.Segment))
	plain.Apply(&dedupe.Entry{Offset: e.Offset, Time: e.Time, Segment: &only})
}

func codeText(c job.Code) string {
	if c == job.CodeNone {
		return ""
	}
	return c.String()
}

// tell renders what the facts come to.
func (h *History) tell(last time.Time) {
	f := h.folded
	out := &Receipt{State: f.State.String(), Final: f.State.Final(), Generation: f.Gen, Hop: f.Hop, Attempts: f.Attempt, Code: codeText(f.Code),
		Origin: h.Topic + "/" + strconv.Itoa(int(h.Partition)) + "/" + strconv.FormatInt(f.Origin, 10), Digest: fmt.Sprintf("%016x", f.Digest),
		Repeats: f.Repeats, Renewed: last.UTC()}
	if h.Window > 0 {
		out.Forgotten = out.Renewed.Add(h.Window)
	}
	switch {
	case f.State != dedupe.Done:
		out.Progress = len(f.Result)
	case utf8.Valid(f.Result):
		out.Result = string(f.Result)
	default:
		out.Result, out.ResultHex = hex.EncodeToString(f.Result), true
	}
	for _, x := range h.standing() { // the first that is as advanced as the fold
		if !x.Void && refold.Compare(x.receipt, f) == 0 {
			out.Appended, out.Offset, out.Epoch, out.Instance = x.Time, x.Offset, x.Epoch, x.Instance
			break
		}
	}
	h.Receipt = out
}

// standing are the facts behind the last order to forget.
func (h *History) standing() []Fact {
	for i := len(h.Facts) - 1; i >= 0; i-- {
		if h.Facts[i].State == "forgotten" {
			return h.Facts[i+1:]
		}
	}
	return h.Facts
}

// log reads entries of a receipt log; whoever wrote newer ones than this program knows has a newer one.
func (r *Reader) log(ctx context.Context, log string, p int32, from, to int64, each func(*dedupe.Entry)) error {
	err := dedupe.NewLogReader(r.opts).Read(ctx, log, p, from, to, func(e *dedupe.Entry) error {
		each(e)
		return nil
	})
	if version := (*dedupe.VersionError)(nil); errors.As(err, &version) {
		return fmt.Errorf("%w: this waybill is older than the workers; upgrade it", err)
	}
	return err
}

// bounds are the first offset of a partition and the one behind its last.
func (r *Reader) bounds(ctx context.Context, topic string, p int32) (from, to int64, err error) {
	starts, err1 := r.admin.ListStartOffsets(ctx, topic)
	ends, err2 := r.admin.ListEndOffsets(ctx, topic)
	if err := errors.Join(err1, err2); err != nil {
		return 0, 0, err
	}
	start, ok1 := starts.Lookup(topic, p)
	end, ok2 := ends.Lookup(topic, p)
	if err := errors.Join(start.Err, end.Err); err != nil || !ok1 || !ok2 {
		return 0, 0, fmt.Errorf("%s/%d cannot be read: %w", topic, p, errors.Join(err, errNotThere))
	}
	return start.Offset, end.Offset, nil
}

var errNotThere = errors.New("the partition is not there, or no broker speaks for it")

// window is the dedupe window as the log's retention tells it: a day less than that; 0 when it is not known.
func (r *Reader) window(ctx context.Context, log string) time.Duration {
	configs, err := r.admin.DescribeTopicConfigs(ctx, log)
	if err != nil {
		return 0
	}
	var found time.Duration
	for _, c := range configs {
		for _, e := range c.Configs {
			if ms, err := strconv.ParseInt(e.MaybeValue(), 10, 64); e.Key == "retention.ms" && err == nil {
				found = time.Duration(ms)*time.Millisecond - 24*time.Hour
			}
		}
	}
	return max(0, found)
}
