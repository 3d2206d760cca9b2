package task

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// hot is one machine on the straight path: records in, handlers succeed, a segment a batch.
type hot struct {
	m       *Machine
	now     int64
	next    int64 // offset in the job topic
	log     int64 // and in the receipt log
	records []Record
	entries []*Entry
	entry   dedupe.Entry
}

func newHot(b *testing.B, batch, keys int, order job.Order) *hot {
	w := newWorld()
	w.kinds["bench"] = &Kind{Name: "bench", FirstName: "bench", Policy: job.Policy{Order: order}.WithDefaults()}
	h := &hot{now: w.now, records: make([]Record, batch)}
	h.m = New(Config{Topic: "main", TopicID: dedupe.TopicID{1}, Tiers: w.tiers, Plan: w.plan, Kinds: w.kinds, Store: dedupe.NewMemory(time.Hour)})
	for i, t := range w.tiers {
		h.m.AddTier(t.Topic, dedupe.TopicID{byte(i + 2)}, t.Delay, h.now)
	}
	h.m.Assign(h.now)
	h.m.Owned(0, h.now)
	if err := h.m.Entries([]*dedupe.Entry{{Offset: 0, Owner: &dedupe.Owner{}}}); err != nil {
		b.Fatal(err)
	}
	h.m.ReadDone(h.now)
	h.m.Proved(true, w.starts(w.topicNames()), h.now)
	h.m.Out.Reset()
	h.log = 1
	value := make([]byte, 200)
	for i := range h.records {
		id := make([]byte, 16)
		key := binary.BigEndian.AppendUint32([]byte("customer-"), uint32(i%keys))
		h.records[i] = Record{Time: day0, Key: key, Value: value, Headers: []job.Header{{Key: job.HeaderKind, Value: []byte("bench")}, {Key: job.HeaderID, Value: id}}}
	}
	return h
}

// round takes one batch all the way to its commit.
func (h *hot) round(b *testing.B) {
	const digits = "0123456789abcdef"
	for i := range h.records {
		r := &h.records[i]
		r.Offset = h.next
		for j, n := 0, uint64(h.next); j < 16; j, n = j+1, n>>4 {
			r.Headers[1].Value[j] = digits[n&15]
		}
		h.next++
	}
	h.now += int64(time.Millisecond)
	m := h.m
	m.Records("main", h.records, h.now)
	for len(m.Out.Run) > 0 {
		h.entries = append(h.entries[:0], m.Out.Run...)
		m.Out.Reset()
		m.Outcomes(h.entries, h.now)
	}
	m.Tick(true, h.now)
	seg := m.Out.Segment
	m.Out.Reset()
	h.entry = dedupe.Entry{Offset: h.log, Time: time.Unix(0, h.now), Segment: &dedupe.Segment{Epoch: seg.Epoch, Receipts: seg.Receipts, Frontiers: seg.Frontiers}}
	h.log++
	if err := m.SegmentAcked(seg, []*dedupe.Entry{&h.entry}, nil, h.now); err != nil {
		b.Fatal(err)
	}
	if len(m.Out.Commit) == 0 || m.Out.Commit[0].At != h.next {
		b.Fatalf("committed %v, not %d", m.Out.Commit, h.next)
	}
	m.Out.Reset()
}

// BenchmarkHotPath is Records, Run, Outcomes, Tick and SegmentAcked, the store in memory included: an op is one job.
func BenchmarkHotPath(b *testing.B) {
	const batch = 1000
	for _, c := range []struct {
		name  string
		keys  int
		order job.Order
	}{{"a key each", batch, job.ByKey}, {"ten keys", 10, job.ByKey}, {"unordered", 10, job.Unordered}, {"by partition", 10, job.ByPartition}} {
		b.Run(c.name, func(b *testing.B) {
			h := newHot(b, batch, c.keys, c.order)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n == batch { // an op is one job
					h.round(b)
					n = 0
				}
			}
		})
	}
}

// BenchmarkDuplicates is a replay: every record has a receipt.
func BenchmarkDuplicates(b *testing.B) {
	const batch = 1000
	h := newHot(b, batch, batch, job.ByKey)
	h.round(b)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n == batch {
			for i := range h.records {
				h.records[i].Offset = h.next
				h.next++
			}
			h.m.Records("main", h.records, h.now)
			n = 0
			if len(h.m.Out.Run) > 0 {
				b.Fatal("a duplicate is run")
			}
			h.m.Tick(true, h.now) // the window slides with the segments
			if s := h.m.Out.Segment; s != nil {
				h.m.Out.Reset()
				e := &dedupe.Entry{Offset: h.log, Time: time.Unix(0, h.now), Segment: &dedupe.Segment{Epoch: s.Epoch, Frontiers: s.Frontiers}}
				h.log++
				if err := h.m.SegmentAcked(s, []*dedupe.Entry{e}, nil, h.now); err != nil {
					b.Fatal(err)
				}
			}
			h.m.Out.Reset()
		}
	}
}
