package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/witness"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// The payloads. What goes wrong downstream is scripted in them, so that each run goes the same way: the last field is how
// many attempts fail before one succeeds.
type (
	charge struct {
		Customer string `json:"customer"`
		Amount   int    `json:"amount"`
		Currency string `json:"currency"`
		Timeouts int    `json:"timeouts,omitempty"`
	}
	welcome struct {
		Address  string `json:"address"`
		Template string `json:"template"`
		Busy     int    `json:"busy,omitempty"`
	}
	report struct {
		Region string `json:"region"`
		Panics int    `json:"panics,omitempty"`
	}
)

func (charge) Kind() string  { return "order.charge" }
func (welcome) Kind() string { return "email.welcome" }
func (report) Kind() string  { return "report.build" }

// What the handlers of release 1 get wrong.
const (
	brokenCurrency = "ISK"
	brokenTemplate = "welcome-v2"
)

// fixed is the release whose handlers have the fix.
const fixed = 2

// orders is what the ledger needs to know of each kind, in the order in which progress shows them.
var orders = witness.Orders{"order.charge": job.ByKey, "email.welcome": job.Unordered, "report.build": job.ByPartition}

var kinds = []string{"order.charge", "email.welcome", "report.build"}

const maxAttempts = 4

// shop is the handlers of one worker.
type shop struct {
	sink    ledger.Sink
	release int
}

// mux registers the kinds. twice is the id of a job whose handler is called twice, for Double; empty for none.
func (s *shop) mux(twice string) *processor.Mux {
	m := processor.NewMux()
	if twice != "" {
		m.Use(callTwice(twice))
	}
	m.Use(witness.Middleware(s.sink, orders))
	policy := func(kind string) job.Policy {
		return job.Policy{Order: orders[kind], MaxAttempts: maxAttempts, Timeout: 10 * time.Second}
	}
	processor.Handle(m, s.charge, policy("order.charge"))
	processor.Handle(m, s.welcome, policy("email.welcome"))
	processor.Handle(m, s.report, policy("report.build"))
	return m
}

// callTwice is a wrapper with a bug: it lies outside the engine, which cannot know of the second call.
func callTwice(id string) processor.Middleware {
	return func(next processor.Handler) processor.Handler {
		return func(ctx context.Context, m *job.Message) error {
			err := next(ctx, m)
			if m.ID == id && err == nil {
				err = next(ctx, m)
			}
			return err
		}
	}
}

// charge is plain: every failure is an error, the tiers are walked, and the attempts are used up.
func (s *shop) charge(ctx context.Context, j *job.Job[charge]) error {
	if err := work(ctx, 20, 60); err != nil {
		return err
	}
	switch {
	case j.Args.Currency == brokenCurrency && s.release < fixed:
		return fmt.Errorf("charge %d %s: amounts without decimals are not supported", j.Args.Amount, j.Args.Currency)
	case j.Attempt <= j.Args.Timeouts:
		return errors.New("payment gateway: timeout")
	}
	witness.Applied(s.sink, j.Message)
	return nil
}

// welcome says itself when to try again, and when there is no hope.
func (s *shop) welcome(ctx context.Context, j *job.Job[welcome]) error {
	if err := work(ctx, 5, 30); err != nil {
		return err
	}
	switch {
	case j.Args.Template == brokenTemplate && s.release < fixed:
		return job.Dead(fmt.Errorf("no template %q in this release", j.Args.Template))
	case j.Attempt <= j.Args.Busy:
		return job.RetryAfter(700*time.Millisecond, errors.New("smtp: 421 too many connections"))
	}
	witness.Applied(s.sink, j.Message)
	return nil
}

// report is slow, and panics.
func (s *shop) report(ctx context.Context, j *job.Job[report]) error {
	if err := work(ctx, 100, 250); err != nil {
		return err
	}
	if j.Attempt <= j.Args.Panics {
		panic("report: index out of range in region " + j.Args.Region)
	}
	witness.Applied(s.sink, j.Message)
	return nil
}

// work takes between so many milliseconds.
func work(ctx context.Context, from, to int) error {
	t := time.NewTimer(time.Duration(from+rand.IntN(to-from)) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errand is one job to be enqueued.
type errand struct {
	args job.Args
	opts job.Options
}

// workload is n jobs, the same each time. What cannot succeed before the fix comes early, so that its attempts are used up
// in time.
func workload(n int) []errand {
	out := make([]errand, n)
	for i := range out {
		e := &out[i]
		e.opts.ID = fmt.Sprintf("job-%04d", i+1)
		early := i < n*6/10
		switch i % 12 {
		case 0, 2, 4, 5, 7, 9, 11:
			c := charge{Customer: fmt.Sprintf("customer-%02d", i*7%40), Amount: 500 + i*37%9000, Currency: "EUR"}
			switch {
			case early && i%28 == 7:
				c.Currency = brokenCurrency
			case i%30 == 4:
				c.Timeouts = 1
			case i%30 == 14:
				c.Timeouts = 2
			}
			e.args, e.opts.Key = c, []byte(c.Customer)
		case 10:
			r := report{Region: []string{"north", "east", "south", "west"}[i/12%4]}
			if i%36 == 22 {
				r.Panics = 1
			}
			e.args, e.opts.Key = r, []byte(r.Region)
		default:
			w := welcome{Address: fmt.Sprintf("user%d@example.com", i+1), Template: "welcome-v1"}
			switch {
			case early && i%30 == 8:
				w.Template = brokenTemplate
			case i%30 == 1:
				w.Busy = 1
			}
			e.args = w
		}
	}
	return out
}

// faultless is the id of a late job that succeeds at once, so that no fault of the story excuses what Double does to it.
func faultless(jobs []errand) string {
	for i := len(jobs) - 1; i >= 0; i-- {
		if c, ok := jobs[i].args.(charge); ok && c.Timeouts == 0 && c.Currency != brokenCurrency {
			return jobs[i].opts.ID
		}
	}
	return ""
}
