package job_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/job"
)

// With Strings a record reads as without, whatever was read before; and what the fetched batch becomes later changes nothing.
func TestDecodeWithStrings(t *testing.T) {
	var all job.Strings
	texts := []string{"a", "text/plain; charset=utf-8", "application/json", "", "\x01", "\xff", "größe", strings.Repeat("x", 150), strings.Repeat("y", 600), "a b"}
	for round := range 2 {
		for i, kind := range texts {
			for j, other := range texts {
				h := []job.Header{{Key: job.HeaderKind, Value: []byte(kind)}, {Key: job.HeaderID, Value: []byte(texts[(i+j)%len(texts)])}, {Key: job.HeaderContentType, Value: []byte(other)}}
				var with, without job.Envelope
				job.Decode(&without, &job.Raw{Topic: "t"}, h, job.TrustJob, "")
				job.Decode(&with, &job.Raw{Topic: "t", Strings: &all}, h, job.TrustJob, "")
				for k := range h {
					clear(h[k].Value)
				}
				if got, want := fmt.Sprintf("%+v", with), fmt.Sprintf("%+v", without); got != want {
					t.Fatalf("round %d: %s\nwant %s", round, got, want)
				}
			}
		}
	}
}

// What it remembers is bounded, and what it does not remember reads all the same.
func TestStringsAreBounded(t *testing.T) {
	var all job.Strings
	for i := range 5000 {
		kind := fmt.Sprint("kind-", i)
		var e job.Envelope
		job.Decode(&e, &job.Raw{Topic: "t", Strings: &all}, []job.Header{{Key: job.HeaderKind, Value: []byte(kind)}, {Key: job.HeaderID, Value: []byte("1")}}, job.TrustJob, "")
		if e.Kind != kind || e.ID != "1" || e.Fault != "" {
			t.Fatalf("%+v", e)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	h := []job.Header{{Key: job.HeaderKind, Value: []byte("bench.raw")}, {Key: job.HeaderID, Value: []byte("0190a1b2-0000-7000-8000-000000000000")},
		{Key: job.HeaderContentType, Value: []byte("application/octet-stream")}}
	raw := job.Raw{Topic: "t", Key: []byte("customer-1"), Value: make([]byte, 200), Strings: new(job.Strings)}
	b.ReportAllocs()
	for b.Loop() {
		var e job.Envelope
		job.Decode(&e, &raw, h, job.TrustJob, "")
	}
}
