package task

import (
	"encoding/binary"
	"slices"
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

	fails   int   // the first attempts of so many jobs of a batch
	tier    int64 // offset in the first tier
	copies  []Record
	answers []Answer
	headers job.HeaderBlocks
}

func newHot(b *testing.B, batch, keys int, order job.Order) *hot {
	w := newWorld()
	w.kinds = Catalog{"bench": {Name: "bench", FirstName: "bench", Policy: job.Policy{Order: order}.WithDefaults()}}
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
		for i, e := range h.entries {
			e.Began, e.Took = h.now, time.Microsecond
			if i < h.fails && !e.Retried() {
				e.Outcome = job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Text: "connection refused"}
			} else {
				e.Outcome = job.Outcome{}
			}
		}
		m.Out.Reset()
		m.Outcomes(h.entries, h.now)
		h.retry(b)
	}
	h.flush(b)
	if len(m.Out.Commit) == 0 || m.Out.Commit[0].At != h.next {
		b.Fatalf("committed %v, not %d", m.Out.Commit, h.next)
	}
	m.Out.Reset()
}

// flush takes a segment to its ack.
func (h *hot) flush(b *testing.B) {
	m := h.m
	m.Tick(true, h.now)
	seg := m.Out.Segment
	m.Out.Reset()
	h.entry = dedupe.Entry{Offset: h.log, Time: time.Unix(0, h.now), Segment: &dedupe.Segment{Epoch: seg.Epoch, Receipts: seg.Receipts, Frontiers: seg.Frontiers}}
	h.log++
	if err := m.SegmentAcked(seg, []*dedupe.Entry{&h.entry}, nil, h.now); err != nil {
		b.Fatal(err)
	}
}

// retry has the copies of what failed acked and read, and waits until they are due.
func (h *hot) retry(b *testing.B) {
	m := h.m
	if len(m.Out.Writes) == 0 {
		return
	}
	h.copies, h.answers = h.copies[:0], h.answers[:0]
	for _, w := range m.Out.Writes {
		env := w.Entry.Envelope()
		h.copies = append(h.copies, Record{Offset: h.tier, Time: time.Unix(0, h.now), Key: env.Key, Value: env.Payload, Headers: h.headers.Copy(env, &w.Stamp)})
		h.answers = append(h.answers, Answer{w, Acked})
		h.tier++
	}
	topic := m.Out.Writes[0].Topic
	m.Out.Reset()
	m.Written(h.answers, h.now)
	h.flush(b)
	m.Records(topic, h.copies, h.now)
	h.now += int64(time.Minute)
	m.Tick(false, h.now)
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

// BenchmarkFailing is a round in which each job fails once, its copy made, acked, read, due and done: an op is one job.
func BenchmarkFailing(b *testing.B) {
	const batch = 1000
	h := newHot(b, batch, batch, job.ByKey)
	h.fails = batch
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n == batch {
			h.round(b)
			n = 0
		}
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

// BenchmarkTally is what metrics cost a job in its machine. Rounds with and without a tally alternate, and their medians are
// compared: rounds grow slower as the store fills, and a collection of garbage may come in any of them.
func BenchmarkTally(b *testing.B) {
	const batch = 256
	h := newHot(b, batch, batch, job.ByKey)
	var took [2][]time.Duration
	sides, turn := [2]*Tally{nil, NewTally(1, len(h.m.cfg.Tiers))}, 0
	for b.Loop() {
		turn++
		for j := range 2 {
			i := (turn + j) % 2
			h.m.cfg.Tally = sides[i]
			start := time.Now()
			h.round(b)
			took[i] = append(took[i], time.Since(start))
		}
	}
	var median [2]float64
	for i := range took {
		slices.Sort(took[i])
		median[i] = float64(took[i][len(took[i])/2]) / batch
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median[0], "plain-ns/job")
	b.ReportMetric(median[1]-median[0], "tally-ns/job")
}

// BenchmarkTallyAlone is the counting of one job and nothing else.
func BenchmarkTallyAlone(b *testing.B) {
	tally := NewTally(1, 3)
	s := &source{tier: -1}
	es := make([]Entry, 1024)
	for i := range es {
		es[i] = Entry{Kind: &Kind{}, src: s, Began: int64(i) * 1e6, Took: time.Duration(i) * time.Microsecond}
	}
	i := 0
	for b.Loop() {
		e := &es[i&1023]
		i++
		tally.attempt(e)
		tally.settled(e, EndDone)
	}
}
