package job_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

func TestClassify(t *testing.T) {
	plain := errors.New("refused")
	wrap := func(err error) error { return fmt.Errorf("wrapped: %w", err) }
	for _, c := range []struct {
		name string
		err  error
		want job.Outcome
	}{
		{"nil", nil, job.Outcome{}},
		{"plain", plain, job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Text: "refused"}},
		{"retry after", job.RetryAfter(time.Minute, plain),
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Delay: time.Minute, Text: "refused"}},
		{"retry after nothing", job.RetryAfter(time.Minute, nil),
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Delay: time.Minute, Text: "retry after 1m0s"}},
		{"retry at once", job.RetryAfter(-1, plain),
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Delay: time.Millisecond, Text: "refused"}},
		{"snooze", job.Snooze(time.Hour),
			job.Outcome{Verdict: job.VerdictSnooze, Code: job.CodeSnoozed, Delay: time.Hour, Text: "snoozed for 1h0m0s"}},
		{"snooze for nothing", job.Snooze(0),
			job.Outcome{Verdict: job.VerdictSnooze, Code: job.CodeSnoozed, Delay: time.Millisecond, Text: "snoozed for 0s"}},
		{"dead", job.Dead(plain), job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead, Text: "refused"}},
		{"dead of nothing", job.Dead(nil), job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead, Text: "dead"}},
		{"discard", job.Discard("obsolete"), job.Outcome{Verdict: job.VerdictDiscard, Code: job.CodeDiscarded, Text: "obsolete"}},
		{"discard without reason", job.Discard(""),
			job.Outcome{Verdict: job.VerdictDiscard, Code: job.CodeDiscarded, Text: "no reason given"}},
		{"wrapped", wrap(wrap(job.Dead(plain))),
			job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead, Text: "wrapped: wrapped: refused"}},
		{"the outermost decides", job.RetryAfter(time.Second, wrap(job.Dead(plain))),
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Delay: time.Second, Text: "wrapped: refused"}},
		{"joined", errors.Join(plain, job.Dead(plain)), job.Outcome{Verdict: job.VerdictDead, Code: job.CodeDead, Text: "refused\nrefused"}},
		{"not UTF-8", errors.New("a\xffb"), job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Text: "a\uFFFDb"}},
		{"long", errors.New(strings.Repeat("é", job.MaxText)),
			job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Text: strings.Repeat("é", job.MaxText/2)}},
	} {
		if got := job.Classify(c.err); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// The handler's own error stays reachable in what steers.
func TestControlErrorsUnwrap(t *testing.T) {
	cause := errors.New("cause")
	for _, err := range []error{job.Dead(cause), job.RetryAfter(1, cause)} {
		if !errors.Is(err, cause) || err.Error() != "cause" {
			t.Errorf("%#v hides its cause", err)
		}
	}
}

// Wire format: these texts never change, and none may be missing here.
func TestCodes(t *testing.T) {
	texts := []string{"none", "handler_error", "panic", "deadline", "cancelled", "decode", "content_type", "unknown_kind",
		"unknown_version", "malformed", "dead", "discarded", "expired", "conflict", "too_large", "snoozed", "scheduled",
		"outcome_unknown", "unreconciled", "suspect", "poison", "follows", "holding"}
	for i, text := range texts {
		c := job.Code(i)
		if c.String() != text {
			t.Errorf("code %d is %q, want %q", i, c, text)
		}
		if got, ok := job.ParseCode(text); !ok || got != c {
			t.Errorf("ParseCode(%q) = %v, %v", text, got, ok)
		}
	}
	next := job.Code(len(texts))
	if got := next.String(); got != fmt.Sprintf("code_%d", len(texts)) {
		t.Errorf("there is a code %q this test does not know", got)
	}
	for _, text := range []string{"", "None", "code_1", next.String(), " dead"} {
		if c, ok := job.ParseCode(text); ok || c != job.CodeNone {
			t.Errorf("ParseCode(%q) = %v, %v", text, c, ok)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add("refused", int64(time.Minute), byte(1), true)
	f.Add("\xff", int64(-1), byte(2), false)
	f.Fuzz(func(t *testing.T, text string, delay int64, which byte, wrapped bool) {
		d := time.Duration(delay)
		err := [...]error{errors.New(text), job.RetryAfter(d, errors.New(text)), job.Snooze(d), job.Dead(errors.New(text)), job.Discard(text)}[which%5]
		want := [...]job.Verdict{job.VerdictRetry, job.VerdictRetry, job.VerdictSnooze, job.VerdictDead, job.VerdictDiscard}[which%5]
		if wrapped {
			err = fmt.Errorf("%w: %w", err, errors.New("beside it"))
		}
		got := job.Classify(err)
		if got.Verdict != want || got.Code == job.CodeNone || got.Delay < 0 || got.Text != job.Bounded(got.Text) {
			t.Fatalf("%v: %+v", err, got)
		}
		if (got.Delay > 0) != (which%5 == 1 || which%5 == 2) {
			t.Fatalf("%v: delay %v", err, got.Delay)
		}
	})
}
