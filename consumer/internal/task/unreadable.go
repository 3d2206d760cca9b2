package task

import (
	"fmt"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dlq"
	"github.com/waybill-dev/waybill/job"
)

// Unreadable tells that the records of a topic from one offset up to, not including, another stand in a batch that this
// instance must not open: it would become larger in memory than limit bytes. The batch is filed as one letter, which names
// the place, and reading goes on behind it. Its records stay where they are: an instance with a higher limit runs them when the group's offset
// is set back to them.
func (m *Machine) Unreadable(topic string, from, to int64, limit int, now int64) {
	m.now = now
	s := m.byTopic[topic]
	if s == nil || !s.ready || m.phase == gone || m.phase == draining {
		return
	}
	m.Out.Start = append(m.Out.Start, Offset{s.topic, max(s.next, to), unknownEpoch}) // the client stands still until it is told to go on
	from = max(from, s.next)
	if from >= to {
		return
	}
	text := fmt.Sprintf("the batch of records %d to %d of %s/%d is larger than %d bytes once decompressed, or holds more small records than that is worth; it was not opened. "+
		"To run its jobs raise Config.MaxBatch, stop the group and set its offset of %s/%d to %d: what is done is not run again",
		from, to-1, s.topic, m.cfg.Partition, limit, s.topic, m.cfg.Partition, from)
	m.note("%s", text)
	e := &Entry{unread: text}
	m.admit(e, s, &Record{Offset: from})
	m.cfg.Tally.read(s, 1)
	s.next = to
	m.lookAtHeads()
	m.balance()
}

// unopened files the letter of a batch that was not opened.
func (m *Machine) unopened(e *Entry) {
	m.send(&Write{Entry: e, Dest: ToDeadLetters, Disposition: dlq.TooLarge, Code: job.CodeTooLarge, Text: e.unread, First: m.time(), Last: m.time(),
		Truncated: true, receipt: m.receipt(e, dedupe.Dead, 0, 0, job.CodeTooLarge), end: EndDead})
}
