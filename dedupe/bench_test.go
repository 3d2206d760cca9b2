package dedupe

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// numbered is an identity that looks like the hash it usually is.
func numbered(n uint64) (id job.Identity) {
	r := rand.NewPCG(n, 1)
	binary.LittleEndian.PutUint64(id[:8], r.Uint64())
	binary.LittleEndian.PutUint64(id[8:], r.Uint64())
	return id
}

func numberedReceipts(from, n int) []Receipt {
	list := make([]Receipt, n)
	for i := range list {
		list[i] = Receipt{Identity: numbered(uint64(from + i)), State: Done, Attempt: 1, Origin: int64(from + i), KeyHash: 1, Digest: 2}
	}
	return list
}

// filled is a store of n receipts in segments of 1000, spread over nine buckets.
func filled(tb testing.TB, n int) *memory {
	tb.Helper()
	m := NewMemory(time.Hour).(*memory)
	for i := 0; i < n; i += 1000 {
		at := time.Unix(1_700_000_000, 0).Add(time.Duration(i) * 8 * time.Hour / time.Duration(n))
		if err := m.Apply(&Entry{Offset: int64(i), Time: at, Segment: &Segment{Receipts: numberedReceipts(i, 1000)}}); err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

func BenchmarkGet(b *testing.B) {
	for _, n := range []int{10_000, 1_000_000} {
		m := filled(b, n)
		for _, c := range []struct {
			name string
			from int
		}{{"present", 0}, {"absent", n}} {
			ids := make([]job.Identity, 1<<16)
			for i := range ids {
				ids[i] = numbered(uint64(c.from + rand.IntN(n)))
			}
			b.Run(fmt.Sprintf("%d/%s", n, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, ok := m.Get(ids[i&(1<<16-1)]); ok != (c.name == "present") {
						b.Fatal(ok)
					}
				}
			})
		}
	}
}

// BenchmarkApply folds segments of 1000 new receipts; time and memory are per receipt.
func BenchmarkApply(b *testing.B) {
	for _, hold := range []int{0, 1_000_000} {
		b.Run(fmt.Sprintf("onto_%d", hold), func(b *testing.B) {
			m := filled(b, hold)
			list := numberedReceipts(hold, 1_000_000)
			b.ReportAllocs()
			e := Entry{Offset: 1 << 40, Time: time.Unix(1_700_040_000, 0), Segment: &Segment{}}
			next := 0
			b.ResetTimer()
			for i := 0; i < b.N; i += 1000 {
				if next == len(list) {
					b.StopTimer()
					m, next = filled(b, hold), 0
					b.StartTimer()
				}
				e.Segment.Receipts = list[next : next+1000]
				e.Offset++
				next += 1000
				if err := m.Apply(&e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendSegment(b *testing.B) {
	s := Segment{Epoch: 1 << 30, Receipts: numberedReceipts(1<<30, 1000)}
	var buf []byte
	b.ReportAllocs()
	for i := 0; i < b.N; i += 1000 { // per receipt
		buf = AppendSegment(buf[:0], &s)
	}
	b.ReportMetric(float64(len(buf))/1000, "B/receipt")
}

func BenchmarkDecode(b *testing.B) {
	s := Segment{Epoch: 1 << 30, Receipts: numberedReceipts(1<<30, 1000)}
	value := AppendSegment(nil, &s)
	b.ReportAllocs()
	for i := 0; i < b.N; i += 1000 { // per receipt
		if _, err := Decode(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) { // decode and fold, per receipt
	var values [][]byte
	for i := range 1000 {
		values = append(values, AppendSegment(nil, &Segment{Receipts: numberedReceipts(i*1000, 1000)}))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var m Store
	for i := 0; i < b.N; i += 1000 {
		k := i / 1000 % len(values)
		if k == 0 {
			m = NewMemory(time.Hour)
		}
		e, err := Decode(values[k])
		if err != nil {
			b.Fatal(err)
		}
		e.Offset = int64(i)
		if err := m.Apply(&e); err != nil {
			b.Fatal(err)
		}
	}
}
