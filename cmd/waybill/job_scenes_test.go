package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
	"github.com/waybill-dev/waybill/job"
)

// What jobs of an owned task wait for: r runs, of its key b and c stand behind it, f failed and waits an hour, l is enqueued for later,
// u is of a kind that the worker does not know.
func TestWhyJobsWait(t *testing.T) {
	s := newTranscript(t)
	on := []string{"--group", "mailer", "--topic", "emails"}
	do := s.must(on...)
	do("setup apply --partitions 1 --tiers 1s,1h")
	h := work(t, s.broker, "mailer", "emails")
	do("job enqueue email.welcome --id f --key k")
	h.runs("f")
	h.ends(job.RetryAfter(2*time.Hour, nil))
	s.until(`"what":"retrying"`, append(strings.Fields("job show email.welcome/f --key k --json"), on...)...)
	do("job enqueue email.unknown --id u")
	do("job enqueue email.welcome --id l --key later --at 3h")
	for _, id := range []string{"r", "b", "c"} {
		do("job enqueue email.welcome --key k --id " + id)
	}
	h.runs("r")
	s.until(`"reason":"unknown_kind"`, append(strings.Fields("job why email.unknown/u --json"), on...)...)
	s.until(`"what":"hop"`, append(strings.Fields("job show email.welcome/l --key later --json"), on...)...)

	for _, c := range []struct {
		ask, reason, text string // the last a pattern
		behind            int
		first             string
		copies            int
	}{
		{"email.welcome/r --key k", "running_or_held", `^it is the next of its key: .*; worker-1 knows which`, 0, "", 0},
		{"email.welcome/b --key k", "behind_key", `^it stands behind a job of its key, of which email.welcome/r is the first`, 1, "email.welcome/r", 0},
		{"email.welcome/c --key k", "behind_key", `^it stands behind 2 jobs of its key, of which email.welcome/r is the first`, 2, "email.welcome/r", 0},
		{"email.welcome/f --key k", "not_due", `^it is due at .*Z, in (2h0m0s|1h59m)`, 0, "", 0},
		{"email.welcome/l --key later", "not_due", `^it is due at .*Z, in (3h0m0s|2h59m)`, 0, "", 0},
		{"email.unknown/u", "unknown_kind", `^no worker knows its kind .* looked at again at .*Z`, 0, "", 0},
		{"--key k", "running_or_held", `^it is the next of its key`, 0, "", 1},
		{"--key later", "not_due", `^it is due at .*Z, in (3h0m0s|2h59m)`, 0, "", 0},
		{"--key nobody", "nothing_waits", `^no job of key nobody waits in the job topic or a retry tier$`, 0, "", 0},
	} {
		o := do("job why " + c.ask + " --json")
		var w inspect.Why
		if err := json.Unmarshal([]byte(o.stdout), &w); err != nil {
			t.Fatal(err)
		}
		copies := 0
		if w.Copies != nil {
			copies = w.Copies.Count
		}
		if w.Reason != c.reason || !regexp.MustCompile(c.text).MatchString(w.Text) || w.Behind != c.behind || w.First != c.first || copies != c.copies {
			t.Errorf("%s: %s", c.ask, o.stdout)
		}
	}
	if o := do("job why --key k"); !strings.Contains(o.stdout, "besides, 1 more of its key in the retry tiers, where copies hold up nobody; first is email.welcome/f, due at ") {
		t.Errorf("%+v", o)
	}
	for _, id := range []string{"r", "b", "c"} {
		if id != "r" {
			h.runs(id)
		}
		h.ends(nil)
	}
	// What is left of the key is its copy.
	o := s.until("email.welcome/f: it is due", append(strings.Fields("job why --key k"), on...)...)
	if strings.Contains(o.stdout, "besides") {
		t.Errorf("%+v", o)
	}
}
