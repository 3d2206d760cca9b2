package dedupetest

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/dedupe"
)

// Run runs the conformance suite. open returns a new, empty store whose expiry buckets are at most an hour wide; the suite
// closes it. open may be called many times in one test, and stores of different tests may be open at once.
func Run(t *testing.T, open func(t *testing.T) dedupe.Store) {
	t.Run("algebra", func(t *testing.T) {
		real := algebra{join: dedupe.Join, stale: dedupe.Receipt.Stale, staleAt: dedupe.Receipt.StaleAt}
		if err := real.check(); err != nil {
			t.Error(err)
		}
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			store := open(t)
			if err := c.check(store); err != nil {
				t.Error(err)
			}
			if err := store.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	t.Run("random logs", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			store := open(t)
			err := play(program.Draw(rt, "ops"), store)
			if cerr := store.Close(); cerr != nil {
				rt.Fatalf("Close: %v", cerr)
			}
			if err != nil {
				rt.Fatal(err)
			}
		})
	})
}
