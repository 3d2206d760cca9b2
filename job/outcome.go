package job

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies why a job did not succeed. The set is closed; every failure has exactly one.
type Code uint8

// The codes. Their texts, see String, are wire format: they stand in headers and letters and never change.
const (
	CodeNone           Code = iota
	CodeHandlerError        // the handler returned an error
	CodePanic               // the handler panicked; the stack is in the text
	CodeDeadline            // the attempt ran past Policy.Timeout
	CodeCancelled           // the instance stopped the attempt; burns no attempt
	CodeDecode              // the payload does not decode into the kind's arguments
	CodeContentType         // the payload's content type is not the kind's codec's
	CodeUnknownKind         // no handler is registered for the kind
	CodeUnknownVersion      // the payload's version is newer than the handler knows
	CodeMalformed           // the record's headers break the wire format
	CodeDead                // the handler said job.Dead
	CodeDiscarded           // the handler said job.Discard
	CodeExpired             // the job was not started before its Expires
	CodeConflict            // the identity was used before with another payload
	CodeTooLarge            // the copy or letter was refused for its size
	CodeSnoozed             // the handler said job.Snooze; burns no attempt
	CodeScheduled           // the job waits for its At; burns no attempt
	CodeOutcomeUnknown      // an attempt began, and nobody knows how it ended
	CodeUnreconciled        // the same, and Reconcile could not say whether its effect happened
	CodeSuspect             // of a started mark: the job had been found started by an owner whose process died
	CodePoison              // the job ran in two processes that died, one after the other
	CodeFollows             // the job waits for an earlier one of its key; burns no attempt
	CodeHolding             // of a receipt: the job is dead, or was redriven, and later jobs of its key wait for it (Policy.OnDead)
	codeEnd
)

var codeText = [codeEnd]string{"none", "handler_error", "panic", "deadline", "cancelled", "decode", "content_type",
	"unknown_kind", "unknown_version", "malformed", "dead", "discarded", "expired", "conflict", "too_large", "snoozed", "scheduled",
	"outcome_unknown", "unreconciled", "suspect", "poison",
	"follows", "holding"}

// String is the code's wire text, such as "handler_error".
func (c Code) String() string {
	if c < codeEnd {
		return codeText[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// ParseCode is the inverse of String; ok is false for a text of no known code.
func ParseCode(s string) (c Code, ok bool) {
	for i, t := range codeText {
		if t == s {
			return Code(i), true
		}
	}
	return CodeNone, false
}

// Verdict is what is to become of a job after an attempt.
type Verdict uint8

// The verdicts.
const (
	VerdictDone      Verdict = iota // success: a receipt
	VerdictRetry                    // failed: hop by the plan, or dead when the plan is used up
	VerdictSnooze                   // hop, attempt not burnt
	VerdictDead                     // file as a dead letter
	VerdictDiscard                  // final without a letter, with an audit entry
	VerdictCancelled                // the instance stopped it: not settled, the next owner runs it
)

var verdictText = [...]string{"done", "retry", "snooze", "dead", "discard", "cancelled"}

// String is the verdict's name in metrics, such as "retry".
func (v Verdict) String() string {
	if int(v) < len(verdictText) {
		return verdictText[v]
	}
	return fmt.Sprintf("verdict_%d", uint8(v))
}

// Outcome is the classified end of one attempt, what a processor hands to the engine.
type Outcome struct {
	Verdict Verdict
	Code    Code
	Delay   time.Duration // before the next attempt; 0 with VerdictRetry: by the kind's plan
	Text    string        // bounded error text, with the stack of a panic
}

// control is the error by which a handler chooses a verdict; it wraps the handler's own error.
type control struct {
	verdict Verdict
	delay   time.Duration
	err     error
}

func (c *control) Error() string { return c.err.Error() }
func (c *control) Unwrap() error { return c.err }

// RetryAfter asks for the next attempt after d instead of the plan's delay. It burns an attempt like any failure.
func RetryAfter(d time.Duration, err error) error {
	return &control{VerdictRetry, max(d, time.Millisecond), orText(err, "retry after "+d.String())}
}

// Snooze asks for the job to be run again after d without burning an attempt: it is not a failure.
func Snooze(d time.Duration) error {
	return &control{VerdictSnooze, max(d, time.Millisecond), errors.New("snoozed for " + d.String())}
}

// Dead files the job as a dead letter at once, whatever attempts are left.
func Dead(err error) error { return &control{VerdictDead, 0, orText(err, "dead")} }

// Discard ends the job without a letter; reason goes to the audit topic.
func Discard(reason string) error { return &control{VerdictDiscard, 0, orText(nil, reason)} }

func orText(err error, text string) error {
	if err != nil {
		return err
	}
	if text == "" {
		text = "no reason given"
	}
	return errors.New(text)
}

// Classify turns the error of a finished attempt into an Outcome. nil is done; a control error anywhere in the chain
// decides (the outermost one); every other error is a failure to be retried.
func Classify(err error) Outcome {
	if err == nil {
		return Outcome{}
	}
	var c *control
	if !errors.As(err, &c) {
		return Outcome{Verdict: VerdictRetry, Code: CodeHandlerError, Text: Bounded(err.Error())}
	}
	code := CodeHandlerError
	switch c.verdict {
	case VerdictSnooze:
		code = CodeSnoozed
	case VerdictDead:
		code = CodeDead
	case VerdictDiscard:
		code = CodeDiscarded
	}
	return Outcome{Verdict: c.verdict, Code: code, Delay: c.delay, Text: Bounded(err.Error())}
}
