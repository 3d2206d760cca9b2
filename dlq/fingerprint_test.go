package dlq

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/job"
)

func TestFingerprintSame(t *testing.T) {
	for _, c := range [][2]string{
		{"user 17: timeout", "user 18222: timeout"},
		{"user u17 gone", "user u9 gone"},
		{"after 1.5s", "after 2s"},
		{"dial tcp 10.0.0.1:5432: refused", "dial tcp 192.168.17.3:99: refused"},
		{"dial tcp [fe80::1]:5432: refused", "dial tcp [2001:db8::17:ffff]:99: refused"},
		{"lookup fe80::1: no", "lookup ::1: no"},
		{"order 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "order deadbeef-cafe-babe-dead-000000000000"},
		{"at 0x1f3a", "at 0xc000123456"},
		{"sha 9f86d081884c7d659a2feaa0c55ad015", "sha aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"id 01ARZ3NDEKTSV4RRFFQ69G5FAV", "id 01BX5ZZKBKACTAV9WEVGEMMVRZ"},
		{"2026-11-23 12:00:01 x", "2025-01-02 03:04:05 x"},
		{"goroutine 17 [running]:\nmain.f(0xc00001)\n\t/a/b.go:17 +0x1f", "goroutine 9 [running]:\nmain.f(0xc0abcd)\n\t/a/b.go:19 +0x2f"},
	} {
		if a, b := Fingerprint(job.CodeHandlerError, c[0]), Fingerprint(job.CodeHandlerError, c[1]); a != b {
			t.Errorf("%q (%q) and %q (%q) differ", c[0], normalise(c[0]), c[1], normalise(c[1]))
		}
	}
}

func TestFingerprintDiffers(t *testing.T) {
	for _, c := range [][2]string{
		{"user 17: timeout", "user 17: refused"},
		{"user 17: timeout", "account 17: timeout"},
		{"std::vec failed", "std::map failed"},
		{"", "x"},
		{"decade", "facade"},
		{"deadbeef is a word", "feedface is a word"},
	} {
		if Fingerprint(job.CodeHandlerError, c[0]) == Fingerprint(job.CodeHandlerError, c[1]) {
			t.Errorf("%q and %q share the fingerprint of %q", c[0], c[1], normalise(c[0]))
		}
	}
	if Fingerprint(job.CodePanic, "x") == Fingerprint(job.CodeDeadline, "x") {
		t.Error("codes do not count")
	}
}

// Stored letters are filtered by fingerprints of other versions of the program: they must never change.
func TestFingerprintIsStable(t *testing.T) {
	if got := Fingerprint(job.CodeHandlerError, "user 17: timeout after 1.5s at 10.0.0.1:80"); got != "d7bb0531b559bd8a" {
		t.Errorf("fingerprint %s", got)
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add("user 17 at fe80::1: 0x12")
	f.Add("::::1.2.3.4::")
	f.Fuzz(func(t *testing.T, text string) {
		got := Fingerprint(job.CodePanic, text)
		if b, err := hex.DecodeString(got); err != nil || len(b) != 8 {
			t.Fatalf("fingerprint %q", got)
		}
		if n := normalise(text); len(n) > len(text) || strings.ContainsAny(n, "0123456789") {
			t.Fatalf("%q became %q", text, n)
		}
	})
}
