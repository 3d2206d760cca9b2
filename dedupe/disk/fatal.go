package disk

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
)

// fatal is Pebble's logger. Pebble ends the process where it cannot go on, and expects Fatalf not to return. Here only the DB ends:
// what calls Pebble from this package is under guard, which turns the panic into an error; a goroutine of Pebble's own ends alone.
type fatal struct {
	log  *zap.Logger
	fail atomic.Pointer[func(error)] // nil until the DB is open
}

// errFatal is what Pebble said before it would have ended the process.
var errFatal = errors.New("the storage engine gave up")

func (*fatal) Infof(string, ...any) {}

func (l *fatal) Errorf(format string, a ...any) {
	l.log.Warn("storage engine: " + fmt.Sprintf(format, a...))
}

func (l *fatal) Fatalf(format string, a ...any) {
	err := fmt.Errorf("%w: %s", errFatal, fmt.Sprintf(format, a...))
	for _, v := range a {
		if cause, ok := v.(error); ok {
			err = gaveUp{err, cause}
		}
	}
	if f := l.fail.Load(); f != nil {
		(*f)(err)
	}
	if guarded() {
		panic(stop{err})
	}
	runtime.Goexit()
}

type stop struct{ err error }

// gaveUp is what Pebble said, and what it says it came of.
type gaveUp struct{ said, cause error }

func (e gaveUp) Error() string   { return e.said.Error() }
func (e gaveUp) Unwrap() []error { return []error{e.said, e.cause} }

// guard runs f and returns what Pebble gave up with, if it did. A panic counts too: on damaged files and full disks that is how
// some of its checks end, and a cache is no reason to end a process.
func guard(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case stop:
			err = p.err
		default:
			err = fmt.Errorf("%w: panic: %v\n%s", errFatal, p, debug.Stack())
		}
	}()
	return f()
}

// guarded reports whether a guard is among the callers.
func guarded() bool {
	var pcs [128]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "/dedupe/disk.guard") {
			return true
		}
		if !more {
			return false
		}
	}
}
