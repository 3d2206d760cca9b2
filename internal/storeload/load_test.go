package storeload

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

func tasks(n int) (out []dedupe.Store) {
	for range n {
		out = append(out, dedupe.NewMemory(time.Hour))
	}
	return out
}

func always(context.Context) error { return nil }

// What is recorded before is live up to a window and a bucket, and the store is asked for jobs that it must and must not know.
func TestWindow(t *testing.T) {
	const live = 1 << 19
	stores := tasks(3)
	l := New(stores, live, always)
	if err := l.Fill(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context(), 3*live); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range stores {
		n += s.Len()
	}
	if n < live*95/100 || n > live*3/2 {
		t.Errorf("%d of %d receipts are live", n, live)
	}
}

// A store that forgets, or remembers too much, is found out.
func TestFindsOut(t *testing.T) {
	for name, s := range map[string]dedupe.Store{"is not known": forgetful{dedupe.NewMemory(time.Hour)}, "is known before": knowing{dedupe.NewMemory(time.Hour)}} {
		l := New([]dedupe.Store{s}, 0, always)
		if err := l.Fill(t.Context(), 5*Batch); err != nil {
			t.Fatal(err)
		}
		if err := l.Run(t.Context(), 6*Batch); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type forgetful struct{ dedupe.Store }

func (forgetful) Get(job.Identity) (r dedupe.Receipt, ok bool) { return r, false }

type knowing struct{ dedupe.Store }

func (knowing) Get(job.Identity) (r dedupe.Receipt, ok bool) { return r, true }
