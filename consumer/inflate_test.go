package consumer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
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
