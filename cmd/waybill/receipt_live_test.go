package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/cmd/waybill/internal/inspect"
	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// faulty is the engine's fold with faults.
type faulty struct {
	dedupe.Store
	lost, wrong job.Identity
	shift       int64 // of the position
}

func (f *faulty) Get(id job.Identity) (dedupe.Receipt, bool) {
	r, ok := f.Store.Get(id)
	switch id {
	case f.lost:
		return dedupe.Receipt{}, false
	case f.wrong:
		r.Attempt++
	}
	return r, ok
}

func (f *faulty) Position() dedupe.Position {
	p := f.Store.Position()
	p.Next += f.shift
	return p
}

func TestVerifyFindsAFault(t *testing.T) {
	s := newTranscript(t)
	if o := s.run("setup", "apply", "--group", "mailer", "--topic", "emails", "--partitions", "2", "--tiers", "5s,1m"); o.code != 0 {
		t.Fatalf("%+v", o)
	}
	a, b := receipt("a", dedupe.Done, nil), receipt("b", dedupe.Done, nil)
	s.log(&dedupe.Owner{Instance: "worker-1"}, &dedupe.Segment{Receipts: []dedupe.Receipt{a, b}})
	for _, c := range []struct {
		name  string
		fault faulty
		code  int
		want  []string
	}{
		{"none", faulty{}, 0, nil},
		{"lost", faulty{lost: a.Identity}, 1, []string{a.Identity.String() + ": the store knows nothing"}},
		{"wrong", faulty{wrong: b.Identity}, 1, []string{b.Identity.String() + ": the store says done", "attempt 2", "attempt 1"}},
		{"shifted", faulty{shift: 1}, 1, []string{"position"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := func(args ...string) outcome {
				var out, err bytes.Buffer
				app := &app{in: strings.NewReader(""), out: &out, err: &err, engine: func() dedupe.Store {
					f := c.fault
					f.Store = inspect.Engine()
					return &f
				}}
				code := app.run(t.Context(), append([]string{"receipt", "verify", "--partition", "1", "--brokers", s.broker, "--group", "mailer"}, args...))
				return outcome{out.String(), err.String(), code}
			}
			people, programs := run(), run("--json")
			var v inspect.Verdict
			if err := json.Unmarshal([]byte(programs.stdout), &v); err != nil || people.code != c.code || programs.code != c.code || v.OK() != (c.code == 0) {
				t.Fatalf("%v\n%+v\n%+v", err, people, programs)
			}
			if v.Jobs != 2 || !v.OK() && len(v.Differences) != 1 {
				t.Errorf("%+v", v)
			}
			for _, w := range c.want {
				if !strings.Contains(people.stderr, w) || !strings.Contains(v.Differences[0], w) {
					t.Errorf("%q is missing: %+v\n%+v", w, people, programs)
				}
			}
			if c.code == 1 && !strings.Contains(people.stderr, "1 difference between") {
				t.Errorf("%+v", people)
			}
		})
	}
}

// A running owner reads an order to forget, and runs the job again when it is enqueued again.
func TestForgetUnderARunningOwner(t *testing.T) {
	s := newTranscript(t)
	on := []string{"--group", "mailer", "--topic", "emails"}
	do := s.must(on...)
	do("setup apply --partitions 1 --tiers 1s,1h")
	h := work(t, s.broker, "mailer", "emails")
	done := func(id string) {
		t.Helper()
		h.runs(id)
		h.ends(nil)
		s.until("state        done", append(strings.Fields("receipt show --key k email.welcome/"+id), on...)...)
	}
	do("job enqueue email.welcome --key k --id a")
	done("a")
	// Enqueued again it does not run: the next call is that of the job behind it in its key.
	do("job enqueue email.welcome --key k --id a")
	do("job enqueue email.welcome --key k --id b")
	done("b")
	if o := do("receipt forget email.welcome/a --key k --reason lost --by ann --yes"); !strings.Contains(o.stderr, "its owner worker-1 has read that") {
		t.Errorf("%+v", o)
	}
	if o := do("receipt show email.welcome/a --key k"); !strings.Contains(o.stdout, "nothing is known") || !strings.Contains(o.stdout, "ordered to be forgotten") {
		t.Errorf("%+v", o)
	}
	do("job enqueue email.welcome --key k --id a")
	done("a")
	// Only that job was forgotten, and it is known anew.
	do("job enqueue email.welcome --key k --id a")
	do("job enqueue email.welcome --key k --id b")
	do("job enqueue email.welcome --key k --id c")
	done("c")
	if o := do("receipt verify"); !strings.Contains(o.stdout, "emails/0") {
		t.Errorf("%+v", o)
	}
}
