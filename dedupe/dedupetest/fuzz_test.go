package dedupetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/dedupe"
)

// FuzzFold lets the fuzzer choose a log and what happens to the store in memory while it is folded, and holds it against the
// naive fold after each entry.
func FuzzFold(f *testing.F) {
	r := rand.NewChaCha8([32]byte{})
	for n := range 12 { // rapid takes eight bytes for a choice, and passes over an input that ends too soon
		seed := make([]byte, 512<<(n%4))
		_, _ = r.Read(seed)
		f.Add(seed)
	}
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) {
		if err := play(program.Draw(t, "program"), dedupe.NewMemory(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}))
}
