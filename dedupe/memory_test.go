package dedupe_test

import (
	"errors"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/dedupetest"
	"github.com/waybill-dev/waybill/job"
)

func TestMemoryConforms(t *testing.T) {
	for _, width := range []time.Duration{time.Hour, time.Minute, 7 * time.Second, 0} {
		t.Run(width.String(), func(t *testing.T) {
			dedupetest.Run(t, func(*testing.T) dedupe.Store { return dedupe.NewMemory(width) })
		})
	}
}

func TestMemoryClosed(t *testing.T) {
	s := dedupe.NewMemory(time.Hour)
	id := job.IdentityOf("k", nil, "1")
	e := dedupe.Entry{Time: time.Unix(1e9, 0), Segment: &dedupe.Segment{Receipts: []dedupe.Receipt{{Identity: id, State: dedupe.Done}}}}
	if err := s.Apply(&e); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	e.Offset++
	if err := s.Apply(&e); !errors.Is(err, dedupe.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
	s.Expire(time.Unix(2e9, 0))
	if _, ok := s.Get(id); ok || s.Len() != 0 {
		t.Errorf("a closed store still knows %d jobs", s.Len())
	}
}

// Buckets that come and go leave the index full of dead slots; it must neither grow with them nor lose live ones.
func TestMemoryForeverUnderExpiry(t *testing.T) {
	s := dedupe.NewMemory(time.Minute)
	const perMinute, window, minutes = 300, 5, 400
	job := func(minute, i int) (id job.Identity) {
		return identityOf(minute*perMinute + i)
	}
	start := time.Unix(1_700_000_000/60*60, 0)
	for minute := range minutes {
		now := start.Add(time.Duration(minute) * time.Minute)
		seg := dedupe.Segment{}
		for i := range perMinute {
			seg.Receipts = append(seg.Receipts, dedupe.Receipt{Identity: job(minute, i), State: dedupe.Done, Origin: int64(minute)})
		}
		seg.Receipts = append(seg.Receipts, dedupe.Receipt{Identity: identityOf(-1), State: dedupe.Retrying}) // renewed for ever
		if err := s.Apply(&dedupe.Entry{Offset: int64(minute), Time: now, Segment: &seg}); err != nil {
			t.Fatal(err)
		}
		s.Expire(now.Add(-window * time.Minute))
		if want := perMinute*min(minute+1, window+1) + 1; s.Len() != want {
			t.Fatalf("minute %d: %d jobs, want %d", minute, s.Len(), want)
		}
		for back := range min(minute+1, window+3) {
			r, ok := s.Get(job(minute-back, minute%perMinute))
			if ok != (back <= window) || ok && r.Origin != int64(minute-back) {
				t.Fatalf("minute %d: the job of %d minutes before: %v, %+v", minute, back, ok, r)
			}
		}
		if _, ok := s.Get(identityOf(-1)); !ok {
			t.Fatalf("minute %d: the renewed job is forgotten", minute)
		}
	}
}

func identityOf(n int) job.Identity {
	return job.IdentityOf("k", nil, time.Duration(n).String())
}
