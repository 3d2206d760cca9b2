package disk

import (
	"context"
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
	"github.com/waybill-dev/waybill/internal/storeload"
)

var live = flag.Int("live", 1_000_000, "receipts that are live while the benchmarks run")

// loaded is the stream of jobs of the benchmarks over eight tasks of a DB.
func loaded(db *DB, live int) (*storeload.Load, []dedupe.Store) {
	var tasks []dedupe.Store
	for i := range 8 {
		tasks = append(tasks, db.Task(keyNumber(i)))
	}
	return storeload.New(tasks, live, db.Room), tasks
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
			l, _ := loaded(db, n)
			if err := l.Fill(b.Context(), n); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			before := cpu()
			if err := l.Run(b.Context(), n+b.N); err != nil {
				b.Fatal(err)
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
	l, _ := loaded(db, 0)
	b.ResetTimer()
	before := cpu()
	if err := l.Fill(b.Context(), b.N); err != nil {
		b.Fatal(err)
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
	l, tasks := loaded(db, *live)
	if err := l.Fill(b.Context(), *live); err != nil {
		b.Fatal(err)
	}
	round := len(tasks) * storeload.Batch
	for name, from := range map[string]int{"present": 0, "absent": 1 << 40} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n := rand.IntN(l.Next/round)*round + i%storeload.Batch
				if _, ok := tasks[0].Get(storeload.Identity(n + from)); ok != (from == 0) && n > l.Next/9 {
					b.Fatal(n, ok)
				}
			}
		})
	}
}
