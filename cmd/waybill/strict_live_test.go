package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
	"github.com/waybill-dev/waybill/job"
)

// A job of a strict kind behind one that failed: why names the head and what that waits for; when the head is dead and
// holds its key, why says so, and to have it forgotten lets the follower pass.
func TestFollowerUnderARunningOwner(t *testing.T) {
	s := newTranscript(t)
	on := []string{"--group", "mailer", "--topic", "emails"}
	do := s.must(on...)
	do("setup apply --partitions 1 --tiers 1s,2s")
	h := work(t, s.broker, "mailer", "emails", time.Second, 2*time.Second)
	why := func(id, text string) outcome {
		t.Helper()
		return s.until(text, append(strings.Fields("job why --key k invoice.send/"+id), on...)...)
	}
	do("job enqueue invoice.send --key k --id a")
	h.runs("a")
	h.ends(job.RetryAfter(50*time.Minute, errors.New("the printer is away")))
	do("job enqueue invoice.send --key k --id b")
	why("b", "it follows invoice.send/a of its key, which entered before it and has not ended: it is due at ")
	o := s.until("not_due", append(strings.Fields("job why --key k invoice.send/b --json"), on...)...)
	var w inspect.Why
	if err := json.Unmarshal([]byte(o.stdout), &w); err != nil || w.Reason != "follows" || w.First != "invoice.send/a" || w.Head == nil || w.Head.Reason != "not_due" {
		t.Errorf("%v: %+v", err, o)
	}

	// Another key: its head is dead, which holds the key until it is forgotten.
	do("job enqueue invoice.send --key l --id c")
	h.runs("c")
	h.ends(job.Dead(errors.New("no such printer")))
	s.until("later jobs of its key wait for it", append(strings.Fields("job why --key l invoice.send/c"), on...)...)
	do("job enqueue invoice.send --key l --id d")
	s.until("it follows invoice.send/c of its key, which entered before it and has not ended: it was filed as a dead letter", append(strings.Fields("job why --key l invoice.send/d"), on...)...)
	if o := do("receipt forget invoice.send/c --key l --reason lost --by ann --yes"); !strings.Contains(o.stderr, "its owner worker-1 has read that") {
		t.Errorf("%+v", o)
	}
	h.runs("d")
	h.ends(nil)
	s.until("state        done", append(strings.Fields("receipt show --key l invoice.send/d"), on...)...)
	why("b", "it follows invoice.send/a") // the other key waits as before
}
