package dedupe

import (
	"math"
	"runtime"
	"testing"
	"time"
)

func (x *index) size() (slots int) {
	for i := range x.parts {
		slots += len(x.parts[i].slots)
	}
	return slots
}

// Dead slots must be reused or left behind: an index that has seen a hundred times what it holds is no larger for it.
func TestIndexDoesNotGrowWithWhatIsForgotten(t *testing.T) {
	m := NewMemory(time.Hour).(*memory)
	const each, window = 2000, 4
	for hour := range 100 * window {
		now := time.Unix(int64(hour)*3600, 0)
		if err := m.Apply(&Entry{Offset: int64(hour), Time: now, Segment: &Segment{Receipts: numberedReceipts(hour*each, each)}}); err != nil {
			t.Fatal(err)
		}
		m.Expire(now.Add(-(window - 1) * time.Hour))
		if len(m.buckets) > window || len(m.open) > window {
			t.Fatalf("hour %d: %d buckets, %d open", hour, len(m.buckets), len(m.open))
		}
	}
	if m.Len() != each*window {
		t.Fatalf("%d jobs", m.Len())
	}
	// A part has less than four slots for each live one it had at its fullest. That is more than the jobs now: between Apply
	// and Expire one more bucket is live, and by the seed's chance some parts hold more than others.
	if got, limit := m.index.size(), 6*each*window; got > limit {
		t.Errorf("%d slots for %d jobs", got, m.Len())
	}
}

func TestFullBucketsAreFollowedByOthers(t *testing.T) {
	m := NewMemory(time.Hour).(*memory)
	apply := func(offset int64, from, n int) {
		if err := m.Apply(&Entry{Offset: offset, Time: time.Unix(0, 0), Segment: &Segment{Receipts: numberedReceipts(from, n)}}); err != nil {
			t.Fatal(err)
		}
	}
	apply(0, 0, 10)
	b := m.buckets[0]
	b.results.blocks = make([][]byte, 1<<16) // as if 4 GiB of results were there
	if !b.full() {
		t.Fatal("a bucket without room for results is not full")
	}
	if b.results.blocks[1<<16-1] = make([]byte, blockSize); b.results.put([]byte("x")) != 0 {
		t.Error("a result was put where it cannot be named")
	}
	apply(1, 5, 10)
	if len(m.buckets) != 2 || m.Len() != 15 || m.buckets[1].live != 5 {
		t.Errorf("%d buckets, %d jobs", len(m.buckets), m.Len())
	}
	m.Expire(time.Unix(3600, 0))
	if m.Len() != 0 || len(m.buckets) != 0 || len(m.open) != 0 {
		t.Errorf("after expiry: %d jobs, %d buckets", m.Len(), len(m.buckets))
	}
}

func TestBucketNumbers(t *testing.T) {
	m := NewMemory(time.Hour).(*memory)
	for _, c := range []struct {
		at   time.Time
		want int64
	}{
		{time.Unix(0, 0), 0}, {time.Unix(3599, 999999999), 0}, {time.Unix(3600, 0), 1},
		{time.Unix(0, -1), -1}, {time.Unix(-3600, 0), -1}, {time.Unix(-3601, 0), -2},
		{time.Time{}, math.MinInt64/int64(time.Hour) - 1}, {time.Unix(1<<60, 0), math.MaxInt64 / int64(time.Hour)},
	} {
		if got := m.number(c.at); got != c.want {
			t.Errorf("%v: bucket %d, want %d", c.at, got, c.want)
		}
	}
}

func TestHotPathAllocations(t *testing.T) {
	m := filled(t, 100_000)
	id := numbered(77)
	if n := testing.AllocsPerRun(100, func() { m.Get(id) }); n != 0 {
		t.Errorf("Get allocates %v times", n)
	}
	again := Entry{Offset: 1 << 40, Time: time.Unix(1_700_000_000, 0), Segment: &Segment{Receipts: numberedReceipts(0, 1000)}}
	if n := testing.AllocsPerRun(10, func() { again.Offset++; _ = m.Apply(&again) }); n > 0 {
		t.Errorf("1000 receipts that are known take %v allocations", n)
	}
	fresh := Entry{Offset: 1 << 50, Time: time.Unix(1_700_030_000, 0)}
	from := 100_000
	segments := make([]Segment, 0, 60)
	for range cap(segments) {
		segments = append(segments, Segment{Receipts: numberedReceipts(from, 1000)})
		from += 1000
	}
	if n := testing.AllocsPerRun(50, func() {
		fresh.Offset++
		fresh.Segment, segments = &segments[0], segments[1:]
		_ = m.Apply(&fresh)
	}); n > 20 { // a chunk each, and now and then a part of the index
		t.Errorf("1000 new receipts take %v allocations", n)
	}
}

// Memory a receipt costs, everything included, in a store of ordinary size.
func TestMemoryPerReceipt(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := filled(t, 300_000)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := float64(after.HeapAlloc-before.HeapAlloc) / float64(m.Len()); each > 110 {
		t.Errorf("%.0f bytes a receipt", each)
	} else {
		t.Logf("%.0f bytes a receipt", each)
	}
	runtime.KeepAlive(m)
}
