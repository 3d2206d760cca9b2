package job_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/job"
)

// Computed by other implementations of SHA-256 and XXH64.
const (
	goldenIdentity        = "b0b9ff149971e407474e6e259894c2d2"
	goldenDigest   uint64 = 0x3d0f453b73222c5d
	goldenKeyHash  uint64 = 0x6e8417d0fe6613f
)

// These stand in receipts and letters: they never change.
func TestIdentityGolden(t *testing.T) {
	for _, c := range []struct {
		kind string
		key  []byte
		id   string
		enc  string // what is hashed, by hand
	}{
		{"email.welcome", []byte("u1"), "i1", "\x0demail.welcome\x03u1i1"},
		{"email.welcome", nil, "i1", "\x0demail.welcome\x00i1"},
		{"email.welcome", []byte{}, "i1", "\x0demail.welcome\x01i1"},
		{"", nil, "", "\x00\x00"},
		{"k", bytes.Repeat([]byte{'x'}, 300), "i", "\x01k\xad\x02" + strings.Repeat("x", 300) + "i"},
	} {
		want := sha256.Sum256([]byte(c.enc))
		got := job.IdentityOf(c.kind, c.key, c.id)
		if got != job.Identity(want[:16]) {
			t.Errorf("IdentityOf(%q, %q, %q) = %v, want %x", c.kind, c.key, c.id, got, want[:16])
		}
	}
	if got := job.IdentityOf("email.welcome", []byte("u1"), "i1").String(); got != goldenIdentity {
		t.Errorf("identity = %s, want %s", got, goldenIdentity)
	}
	if got := job.DigestOf([]byte("payload")); got != goldenDigest {
		t.Errorf("digest = %#x, want %#x", got, goldenDigest)
	}
	if got := job.KeyHash([]byte("u1")); got != goldenKeyHash {
		t.Errorf("key hash = %#x, want %#x", got, goldenKeyHash)
	}
}

// No two triples share an identity: neither by moving bytes between the parts nor by a nil key.
func TestIdentityTellsTriplesApart(t *testing.T) {
	part := rapid.SampledFrom([]string{"", "a", "b", "ab", "\x00", "\x01", "a\x01", "\x01a", strings.Repeat("a", 128)})
	rapid.Check(t, func(t *rapid.T) {
		type triple struct {
			kind, key, id string
			none          bool
		}
		draw := func(name string) triple {
			x := triple{part.Draw(t, name+" kind"), part.Draw(t, name+" key"), part.Draw(t, name+" id"), rapid.Bool().Draw(t, name+" none")}
			if x.none {
				x.key = ""
			}
			return x
		}
		of := func(x triple) job.Identity {
			key := []byte(x.key)
			if x.none {
				key = nil
			}
			return job.IdentityOf(x.kind, key, x.id)
		}
		a, b := draw("a"), draw("b")
		if (of(a) == of(b)) != (a == b) {
			t.Fatalf("%+v and %+v: %v and %v", a, b, of(a), of(b))
		}
	})
}

func TestDigest(t *testing.T) {
	if job.DigestOf(nil) != 0 {
		t.Error("a nil payload must digest to 0")
	}
	seen := map[uint64]string{}
	for _, p := range []string{"", "a", "b", "ab", " a"} {
		d := job.DigestOf([]byte(p))
		if d == 0 {
			t.Errorf("%q digests to 0, as only nil may", p)
		}
		if other, taken := seen[d]; taken {
			t.Errorf("%q and %q share a digest", p, other)
		}
		seen[d] = p
	}
}

func BenchmarkIdentityOf(b *testing.B) {
	key := []byte("customer-123456")
	b.ReportAllocs()
	for b.Loop() {
		job.IdentityOf("email.welcome", key, "0198f3a0-0000-7000-8000-000000000000")
	}
}
