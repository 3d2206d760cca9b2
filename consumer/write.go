package consumer

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/internal/audit"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/retrytopics"
)

// write produces a copy, a letter or an audit entry and tells the machine how it went. The shard of h calls it.
func (c *Consumer) write(h *handle, w *task.Write) {
	if w.Dest == task.ToJobs {
		c.emit(h, w)
		return
	}
	r, began := c.record(h, w), time.Now()
	c.writer.Produce(c.writing, r, func(r *kgo.Record, err error) {
		c.metrics.wrote(int(w.Dest), began, err)
		if errors.Is(err, kerr.MessageTooLarge) { // the batch was; of the record only an answer to it alone says so
			c.alone.Send(r, func(r *kgo.Record, err error) { c.written(h, w, r, err) })
			return
		}
		c.written(h, w, r, err)
	})
}

func (c *Consumer) written(h *handle, w *task.Write, r *kgo.Record, err error) {
	res := task.Acked
	switch {
	case err == nil:
	case errors.Is(err, kerr.MessageTooLarge):
		if res = task.TooLarge; w.Dest == task.ToAudit || w.Truncated { // nothing is left to leave out
			c.complain("write", r.Topic, err, zap.Int32("partition", r.Partition))
		}
	default:
		res = task.Refused
		w.Problem = fmt.Sprintf("%s/%d does not take a record: %v. It is tried again until it is acked", r.Topic, r.Partition, err)
		c.watch.suspect(err)
		c.complain("write", r.Topic, err, zap.Int32("partition", r.Partition))
	}
	h.answer(w, res)
}

func (c *Consumer) record(h *handle, w *task.Write) *kgo.Record {
	env := w.Entry.Envelope()
	switch w.Dest {
	case task.ToTier:
		r := h.shard.copies.record()
		r.Topic, r.Partition, r.Key, r.Value = w.Topic, h.key.partition, env.Key, env.Payload
		r.Headers = recordHeaders(h.shard.copies.headers.Copy(env, &w.Stamp))
		return r
	case task.ToDeadLetters:
		f := &dlq.Filing{Envelope: env, Disposition: w.Disposition, Code: w.Code, Text: w.Text, Attempts: w.Attempts,
			First: w.First, Last: w.Last, Handler: handlerName(w.Entry), Instance: c.cfg.Instance, Now: time.Now()}
		make := dlq.Record
		if w.Truncated {
			make = dlq.Truncated
		}
		key, value, headers := make(f)
		return &kgo.Record{Topic: h.topic.letters, Partition: h.key.partition % h.topic.letterParts.Load(), Key: key, Value: value, Headers: recordHeaders(headers)}
	default:
		what := audit.Discard
		if w.Action == "expire" {
			what = "job.expire"
		}
		l := audit.Record(c.cfg.Group, audit.Entry{Time: time.Now(), Who: c.cfg.Instance, What: what, Why: w.Text, Details: map[string]any{
			"kind": env.Kind, "id": env.ID, "identity": env.Identity.String(), "origin": env.Origin.String(), "attempts": w.Attempts, "code": w.Code.String()}})
		return &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value}
	}
}

// copies is memory for the records of a shard's copies. They are made by the hundred and acked together, so some share an
// allocation.
type copies struct {
	headers job.HeaderBlocks
	records []kgo.Record
}

// copyBlock is how many records share an allocation: few enough that one that is not acked keeps little.
const copyBlock = 16

func (c *copies) record() *kgo.Record {
	if len(c.records) == 0 {
		c.records = make([]kgo.Record, copyBlock)
	}
	r := &c.records[0]
	c.records = c.records[1:]
	return r
}

func handlerName(e *task.Entry) string {
	if e.Kind == nil {
		return ""
	}
	if v := e.Kind.Version; v > 0 {
		return e.Kind.Name + " v" + itoa(v)
	}
	return e.Kind.Name
}

// maxSegment is the size to which one record of the log is filled. Frontiers stand in the last record of a segment only,
// so that they are never in force before all receipts they rest on.
const maxSegment = 512 << 10

// receiptSize is a generous estimate of one receipt in the log, without its result.
const receiptSize = 72

// split cuts a segment into log records.
func split(seg *task.Segment) (out []*dedupe.Entry) {
	receipts, marks := seg.Receipts, seg.Marks
	for {
		n, size := fill(receipts, 0)
		k, _ := fill(marks, size)
		part := &dedupe.Segment{Epoch: seg.Epoch, Receipts: receipts[:n:n], Marks: marks[:k:k]}
		out = append(out, &dedupe.Entry{Segment: part})
		if receipts, marks = receipts[n:], marks[k:]; len(receipts)+len(marks) == 0 {
			part.Frontiers, part.Release = seg.Frontiers, seg.Release
			return out
		}
	}
}

// fill is how many of a list fit into a log record that has that size already, and which size it has then.
func fill(list []dedupe.Receipt, size int) (n, then int) {
	for n < len(list) && size < maxSegment {
		size += receiptSize + len(list[n].Result)
		n++
	}
	return n, size
}

// segment produces a segment and tells the machine where its records landed. The last record, which has the frontiers,
// follows when all others are acked: were one of them refused and the last not, frontiers would be in force whose receipts
// are nowhere (I3).
func (c *Consumer) segment(h *handle, seg *task.Segment) {
	entries, began := split(seg), time.Now()
	last := len(entries) - 1
	if seg.Bare {
		c.releases.Add(1)
	}
	answer := func(err error) {
		if seg.Bare {
			c.releases.Add(-1)
		}
		h.shard.post(h, func(m *task.Machine, now int64) {
			h.shard.acked(time.Since(began))
			if err := m.SegmentAcked(seg, entries, err, now); err != nil {
				c.log.Error("the receipt store failed; the task stays paused", zap.String("task", h.name()), zap.Error(err))
				m.HoldFor(task.Stopped, "the receipt store failed: "+err.Error()+". The task goes on when the instance is started again", now)
			}
		})
	}
	if last == 0 {
		c.logEntries(h, entries, answer)
		return
	}
	c.logEntries(h, entries[:last], func(err error) {
		if err != nil {
			answer(err)
			return
		}
		c.logEntries(h, entries[last:], answer)
	})
}

// logEntries produces entries in order and tells done when all are acked, with one of the errors if there are any.
func (c *Consumer) logEntries(h *handle, entries []*dedupe.Entry, done func(error)) {
	var left atomic.Int32
	var failed atomic.Pointer[error]
	left.Store(int32(len(entries)))
	began := time.Now()
	for _, e := range entries {
		r := &kgo.Record{Topic: h.topic.receipts, Partition: h.key.partition, Value: dedupe.AppendSegment(nil, e.Segment)}
		c.writer.Produce(c.writing, r, func(r *kgo.Record, err error) {
			c.metrics.wrote(receiptsWritten, began, err)
			if err != nil {
				err = fmt.Errorf("%s/%d: %w", r.Topic, r.Partition, err)
				failed.Store(&err)
				c.watch.suspect(err)
				c.complain("receipts", r.Topic, err, zap.Int32("partition", r.Partition))
			}
			e.Offset, e.Time = r.Offset, time.Now()
			if left.Add(-1) > 0 {
				return
			}
			if p := failed.Load(); p != nil {
				err = *p
			}
			done(err)
		})
	}
}

// late produces outcomes of a task that is no longer held: true whoever owns it, so nobody runs those jobs again.
func (c *Consumer) late(h *handle, seg *task.Segment) {
	bare := len(seg.Receipts) == 0 // of a task that never ran here there is the release alone
	for _, e := range split(seg) {
		r := &kgo.Record{Topic: h.topic.receipts, Partition: h.key.partition, Value: dedupe.AppendSegment(nil, e.Segment)}
		if bare {
			c.releases.Add(1)
		}
		c.writer.Produce(c.writing, r, func(r *kgo.Record, err error) {
			if bare {
				c.releases.Add(-1)
			}
			if err == nil {
				return
			}
			if !bare && c.draining.Load() {
				c.refused.Store(&err)
			}
			c.complain("late receipts", r.Topic, err, zap.Int32("partition", r.Partition))
		})
	}
}

// report logs what a machine has to say, and audits an operator's orders.
func (s *shard) report(h *handle, f *task.Effects) {
	c := s.c
	for _, o := range f.Commit {
		c.commit(h, o)
	}
	for _, n := range f.Notes {
		c.log.Warn(n)
	}
	for _, o := range f.Rewound {
		c.audit(audit.Entry{Time: time.Now(), Who: c.cfg.Instance, What: audit.Rewind,
			Why: "the group's offset was set by somebody else", Details: map[string]any{"topic": o.Topic, "partition": h.key.partition, "offset": o.At}})
	}
}

// audit writes an entry and does not wait for it.
func (c *Consumer) audit(e audit.Entry) {
	l := audit.Record(c.cfg.Group, e)
	c.writer.Produce(c.writing, &kgo.Record{Topic: retrytopics.AuditTopic(c.cfg.Group), Key: l.Key, Value: l.Value}, func(r *kgo.Record, err error) {
		if err != nil {
			c.watch.suspect(err)
			c.complain("audit", r.Topic, err)
		}
	})
}
