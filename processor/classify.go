package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/waybill-dev/waybill/job"
)

// fault is an error of the layers between middleware and handler, with its code. Middleware sees it as any error.
type fault struct {
	code job.Code
	err  error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// PanicError is what middleware sees of a handler that panicked.
type PanicError struct {
	Value any    // what was given to panic; ErrGoexit when the handler called runtime.Goexit
	Stack []byte // of the goroutine, from the panicking function on
}

// ErrGoexit is the Value of the PanicError of a handler that ended its goroutine with runtime.Goexit, as FailNow of
// package testing does.
var ErrGoexit = errors.New("the handler called runtime.Goexit")

// Error is the value and the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.Value, e.Stack) }

// caught makes the error of a function that did not return; r is what recover said in the function it deferred.
func caught(r any) error {
	if r == nil { // since Go 1.21 panic(nil) is recovered as an error
		r = ErrGoexit
	}
	return &PanicError{Value: r, Stack: trimStack(debug.Stack())}
}

// trimStack drops the frames of the recovery, which lie above the call of panic or Goexit.
func trimStack(s []byte) []byte {
	for _, mark := range [...]string{"\npanic(", "\nruntime.Goexit("} {
		if _, rest, ok := bytes.Cut(s, []byte(mark)); ok {
			for range 2 { // the rest of the frame's two lines
				_, rest, _ = bytes.Cut(rest, []byte("\n"))
			}
			return rest
		}
	}
	return s
}

// codeOf is the code of the layer that made err; CodeHandlerError for what the handler returned.
func codeOf(err error) job.Code {
	if _, ok := errors.AsType[*PanicError](err); ok {
		return job.CodePanic
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return f.code
	}
	return job.CodeHandlerError
}

// classify says what the end of an attempt, err, means; ctx is the context given to Run. See the package comment.
func classify(ctx context.Context, err error) job.Outcome {
	if err == nil {
		return job.Outcome{}
	}
	code := codeOf(err)
	if code != job.CodeDeadline && ctx.Err() != nil && ended(ctx, err) {
		return job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled, Text: job.Bounded(err.Error())}
	}
	out := job.Classify(err)
	if out.Code != job.CodeHandlerError {
		return out // job.Snooze, job.Dead or job.Discard
	}
	out.Code = code
	switch code {
	case job.CodeDecode, job.CodeContentType, job.CodeUnknownVersion:
		if out.Delay == 0 { // middleware may say job.RetryAfter
			out.Verdict = job.VerdictDead
		}
	}
	return out
}

// settle is classify for errors of which nothing is known: their methods may panic too.
func settle(ctx context.Context, err error, out *job.Outcome) {
	ok := false
	defer func() {
		if !ok {
			*out = unreturned(recover())
		}
	}()
	*out = classify(ctx, err)
	ok = true
}

// unreturned is the outcome of an attempt that did not return.
func unreturned(r any) job.Outcome {
	return job.Outcome{Verdict: job.VerdictRetry, Code: job.CodePanic, Text: job.Bounded(caught(r).Error())}
}
