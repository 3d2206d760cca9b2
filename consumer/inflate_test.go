package consumer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"
)

// records is the inside of a batch: n records of size bytes each, then rest.
func records(n, size int, rest ...byte) []byte {
	one := append(binary.AppendVarint(nil, int64(size)), make([]byte, size)...)
	return append(bytes.Repeat(one, n), rest...)
}

func TestInflater(t *testing.T) {
	f, err := newInflater(4<<20, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	pack := map[kgo.CompressionCodecType]func([]byte) []byte{
		kgo.CodecGzip: func(b []byte) []byte {
			var out bytes.Buffer
			w := gzip.NewWriter(&out)
			_, _ = w.Write(b)
			_ = w.Close()
			return out.Bytes()
		},
		kgo.CodecZstd: func(b []byte) []byte {
			w, _ := zstd.NewWriter(nil)
			return w.EncodeAll(b, nil)
		},
	}
	for _, c := range []struct {
		name  string
		batch []byte
		open  bool
	}{
		{"small", records(3, 100), true},
		{"large", records(4, 1<<20-10), true},
		{"too large", records(5, 1<<20), false},
		{"as many records as there may be", records(fewRecords, 7), true},
		{"one record more", records(fewRecords+1, 7), false},
		{"many bytes, few records", records(1, 8*fewRecords), true},
		{"nonsense that begins like many records", append(records(fewRecords, 7), bytes.Repeat([]byte{0xff}, 100)...), true},
		{"a negative size", append(records(fewRecords, 7), 1, 0, 0), true},
	} {
		for codec, pack := range pack {
			out, err := f.Decompress(pack(c.batch), codec)
			if c.open && (err != nil || !bytes.Equal(out, c.batch)) || !c.open && !errors.Is(err, kgo.ErrMaxDecompress) {
				t.Errorf("%s, codec %d: %d of %d bytes, %v", c.name, codec, len(out), len(c.batch), err)
			}
		}
	}
	if _, err := f.Decompress([]byte("no gzip"), kgo.CodecGzip); err == nil || errors.Is(err, kgo.ErrMaxDecompress) {
		t.Errorf("what is no gzip: %v", err)
	}
}

// Batches are opened until the budget is used up, each record counted; then none until what was polled is with its tasks.
func TestInflaterBudget(t *testing.T) {
	f, err := newInflater(4<<20, 10*(1000+recordWorth)+1)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := zstd.NewWriter(nil)
	batch := w.EncodeAll(records(1, 998), nil)
	for round := range 3 {
		for n := range 20 {
			_, err := f.Decompress(batch, kgo.CodecZstd)
			if errors.Is(err, errOpened) != (n > 10) || errors.Is(err, kgo.ErrMaxDecompress) {
				t.Fatalf("round %d, batch %d: %v", round, n, err)
			}
		}
		done := f.polled()
		if _, err := f.Decompress(batch, kgo.CodecZstd); !errors.Is(err, errOpened) {
			t.Fatalf("polled, but with no task: %v", err)
		}
		done()
	}
}

// While batches become many times their size less is open at once: the tasks' own budgets, of which a pause comes too late
// for what one fetch brings.
func TestInflaterIsCareful(t *testing.T) {
	one := len(records(1, 1<<20-8)) + recordWorth
	f, err := newInflater(4<<20, 20*one)
	if err != nil {
		t.Fatal(err)
	}
	f.careful(4 * one)
	w, _ := zstd.NewWriter(nil)
	flat, packed := make([]byte, 1<<20-8), w.EncodeAll(records(1, 1<<20-8), nil)
	_, _ = rand.NewChaCha8([32]byte{}).Read(flat)
	flat = w.EncodeAll(append(binary.AppendVarint(nil, int64(len(flat))), flat...), nil)
	opens := func(batch []byte) (n int) {
		for ; n < 100; n++ {
			if _, err := f.Decompress(batch, kgo.CodecZstd); errors.Is(err, errOpened) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		f.polled()()
		return n
	}
	if n := opens(flat); n != 20 {
		t.Errorf("%d batches that do not inflate are open at once, want 20", n)
	}
	if n := opens(packed); n > 5 || n < 4 {
		t.Errorf("%d batches that inflate are open at once, want 4 or the one more that told", n)
	}
	if n := opens(packed); n != 4 {
		t.Errorf("%d batches that inflate are open at once, want 4", n)
	}
	if at := f.times(); at < 100 {
		t.Errorf("batches of zeros become %d times their size", at)
	}
	rounds := 0
	for ; opens(flat) != 20; rounds++ {
		if rounds > 200 {
			t.Fatal("what does not inflate is never trusted again")
		}
	}
	if rounds == 0 {
		t.Error("one fetch of others proves little")
	}
}

func TestFetchFit(t *testing.T) {
	f := &fetchFit{all: 50 << 20, part: 1 << 20, now: 1 << 20}
	for i, c := range []struct {
		times, share int64
		part         int32
		news         bool
	}{
		{0, 16 << 20, 1 << 20, false}, {inflates, 16 << 20, 1 << 20, false}, {2 * inflates, 16 << 20, 1 << 19, true},
		{2*inflates - 1, 16 << 20, 1 << 19, false}, // a little more
		{1000, 16 << 20, leastFetch, true}, {5000, 16 << 20, leastFetch, false}, {1, 16 << 20, 1 << 20, true},
		{1, 1 << 20, 1 << 17, true}, {2 * inflates, 1 << 20, 1 << 17, false}, {16 * inflates, 1 << 20, leastFetch, true}, // 256 tasks of 256 MiB
		{1, 1 << 10, leastFetch, false}, {1, 8 << 20, 1 << 20, true},
	} {
		if part, news := f.follow(c.times, c.share); part != c.part || news != c.news {
			t.Errorf("step %d: %d times, a share of %d: %d, %v, want %d, %v", i, c.times, c.share, part, news, c.part, c.news)
		}
	}
	small := &fetchFit{part: 1 << 10, now: 1 << 10}
	if part, news := small.follow(1000, 1<<20); part != 1<<10 || news {
		t.Errorf("a client that fetches little: %d, %v", part, news)
	}
}

// A large record that waits must not keep the fetch it came in.
func TestDetached(t *testing.T) {
	fetch := make([]byte, 1<<20)
	key, value, header := fetch[:10:10], fetch[10:10+detachFrom:10+detachFrom], fetch[1<<19:1<<19+5:1<<19+5]
	r := &kgo.Record{Key: key, Value: value, Headers: []kgo.RecordHeader{{Key: "h", Value: header}, {Key: "nil"}}, Topic: "t", Partition: 3, Offset: 9}
	d := detached(r)
	if d == r || &d.Value[0] == &value[0] || &d.Key[0] == &key[0] || &d.Headers[0].Value[0] == &header[0] {
		t.Error("the copy shares memory with the fetch")
	}
	if !bytes.Equal(d.Value, value) || !bytes.Equal(d.Key, key) || !bytes.Equal(d.Headers[0].Value, header) || d.Headers[1].Value != nil ||
		d.Topic != "t" || d.Partition != 3 || d.Offset != 9 {
		t.Errorf("the copy differs: %+v", d)
	}
	if small := (&kgo.Record{Value: fetch[:detachFrom-1]}); detached(small) != small {
		t.Error("a small record is copied")
	}
	if d := detached(&kgo.Record{Value: fetch[:detachFrom]}); d.Key != nil {
		t.Error("no key became an empty one")
	}
}
