package job_test

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/job"
)

// The vectors of Kafka's own UtilsTest.testMurmur2, as signed 32-bit hashes.
func TestPartitionIsKafkas(t *testing.T) {
	for key, hash := range map[string]int32{
		"21": -973932308, "foobar": -790332482, "a-little-bit-long-string": -985981536, "a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, "abc": 479470107,
	} {
		for _, n := range []int32{1, 2, 7, 12, 1000} {
			if got, want := job.PartitionOf([]byte(key), n), (hash&0x7fffffff)%n; got != want {
				t.Errorf("%s of %d partitions: %d, want %d", key, n, got, want)
			}
		}
	}
	if job.PartitionOf(nil, 12) != -1 || job.PartitionOf([]byte("k"), 0) != -1 {
		t.Error("a nil key, or a topic without partitions, has a partition")
	}
	if n := testing.AllocsPerRun(100, func() { job.PartitionOf([]byte("a key of some length"), 12) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzPartition compares it with the partitioner that producer.Producer uses.
func FuzzPartition(f *testing.F) {
	for _, key := range []string{"", "a", "ab", "abc", "abcd", "\xff\x80\x00\x7f\xfe", "ключ"} {
		f.Add([]byte(key), uint8(12))
	}
	f.Fuzz(func(t *testing.T, key []byte, n uint8) {
		if n == 0 {
			return
		}
		key = append([]byte{}, key...) // never nil: that is no key
		topic := kgo.StickyKeyPartitioner(nil).ForTopic("emails")
		r := &kgo.Record{Key: bytes.Clone(key)}
		if !topic.RequiresConsistency(r) {
			t.Fatal("not by key")
		}
		if got, want := job.PartitionOf(key, int32(n)), topic.Partition(r, int(n)); got != int32(want) {
			t.Errorf("%q of %d: %d, the client says %d", key, n, got, want)
		}
	})
}
