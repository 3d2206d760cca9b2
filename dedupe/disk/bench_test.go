package disk

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

var live = flag.Int("live", 1_000_000, "receipts that are live while the benchmarks run")

// numbered is an identity that looks like the hash it usually is.
func numbered(n int) (id job.Identity) {
	mix := func(v uint64) uint64 {
		v = (v ^ v>>30) * 0xbf58476d1ce4e5b9
		v = (v ^ v>>27) * 0x94d049bb133111eb
		return v ^ v>>31
	}
	binary.LittleEndian.PutUint64(id[:8], mix(uint64(n)))
	binary.LittleEndian.PutUint64(id[8:], mix(uint64(n)+1<<63))
	return id
}

// load is a stream of jobs over some tasks: a window's worth of live receipts in nine buckets.
type load struct {
	db      *DB
	stores  []dedupe.Store
	entry   dedupe.Entry
	next    int // number of the next job
	live    int
	offsets []int64
}

const loadTasks, loadBatch = 8, 1000

func newLoad(db *DB, live int) *load {
	l := &load{db: db, live: live, offsets: make([]int64, loadTasks)}
	for i := range loadTasks {
		l.stores = append(l.stores, db.Task(keyNumber(i)))
	}
	l.entry.Segment = &dedupe.Segment{}
	return l
}

// at is when job n was appended: a window passes while so many jobs come as are live.
func (l *load) at(n int) time.Time {
	return noon.Add(time.Duration(float64(n) / float64(max(l.live, 1<<17)) * 8 * float64(time.Hour)))
}

// batch looks up, if check is set, and records so many jobs of one task; one in dup was done before.
func (l *load) batch(tb testing.TB, check bool, dup int) {
	k := l.next / loadBatch % loadTasks
	s, list := l.stores[k], l.entry.Segment.Receipts[:0]
	for i := range loadBatch {
		n := l.next + i
		if dup > 0 && i%dup == dup/2 && l.next > 4*loadTasks*loadBatch {
			span := min(l.next, l.live/2) / (loadTasks * loadBatch)
			n = l.next - (1+rand.IntN(span-1))*loadTasks*loadBatch + i - 1
			if _, ok := s.Get(numbered(n)); !ok {
				tb.Fatalf("job %d of %d is not known", n, l.next)
			}
			continue
		}
		id := numbered(n)
		if check {
			if _, ok := s.Get(id); ok {
				tb.Fatalf("job %d is known before it came", n)
			}
		}
		list = append(list, dedupe.Receipt{Identity: id, State: dedupe.Done, Attempt: 1, Origin: int64(n), KeyHash: uint64(n), Digest: uint64(n) * 3})
	}
	l.entry.Segment.Receipts, l.entry.Offset, l.entry.Time = list, l.offsets[k], l.at(l.next)
	l.offsets[k]++
	if err := s.Apply(&l.entry); err != nil {
		tb.Fatal(err)
	}
	l.next += loadBatch
	if err := l.db.Room(context.Background()); err != nil {
		tb.Fatal(err)
	}
	if l.next%(1<<17) < loadBatch {
		for _, s := range l.stores {
			s.Expire(l.at(l.next - l.live))
		}
	}
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// highWater is VmHWM in bytes.
func highWater() float64 {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, _ := strconv.Atoi(f[1])
			return float64(kib) * 1024
		}
	}
	return 0
}

// BenchmarkStore checks and records jobs, one in a hundred of them done before, above so many live receipts; an op is a job.
// Background work is part of the CPU.
func BenchmarkStore(b *testing.B) {
	for _, n := range []int{0, *live} {
		b.Run(fmt.Sprintf("live_%d", n), func(b *testing.B) {
			dir := b.TempDir()
			db, err := Open(Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			l := newLoad(db, max(n, 1))
			if n == 0 {
				l.live = 1 << 40
			}
			for l.next < n {
				l.batch(b, false, 0)
			}
			b.ResetTimer()
			before := cpu()
			for i := 0; i < b.N; i += loadBatch {
				l.batch(b, true, 100)
			}
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
			b.StopTimer()
			s := db.Stats()
			b.ReportMetric(float64(s.Jobs), "live")
			b.ReportMetric(float64(s.Segments), "segments")
			b.ReportMetric(float64(s.Compactions), "compactions")
			b.ReportMetric(highWater()/(1<<20), "VmHWM-MiB")
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			if db, err = Open(Config{Dir: dir}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(began).Milliseconds()), "reopen-ms")
			if got := db.Stats().Jobs; got != s.Jobs {
				b.Fatalf("%d jobs after reopening, %d before", got, s.Jobs)
			}
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkRestore applies a log of so many receipts to an empty store; an op is a receipt.
func BenchmarkRestore(b *testing.B) {
	db, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	l := newLoad(db, 1<<40)
	b.ResetTimer()
	before := cpu()
	for i := 0; i < b.N; i += loadBatch {
		l.batch(b, false, 0)
	}
	if err := db.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

// BenchmarkGet looks up one job.
func BenchmarkGet(b *testing.B) {
	db, err := Open(Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	l := newLoad(db, *live)
	for l.next < *live {
		l.batch(b, false, 0)
	}
	for name, from := range map[string]int{"present": 0, "absent": 1 << 40} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n := rand.IntN(l.next/loadTasks/loadBatch)*loadTasks*loadBatch + i%loadBatch
				if _, ok := l.stores[0].Get(numbered(n + from)); ok != (from == 0) && n > l.next/9 {
					b.Fatal(n, ok)
				}
			}
		})
	}
}
