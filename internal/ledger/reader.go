package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxLine is the longest line a Reader takes, in bytes.
const MaxLine = 1 << 20

// LineError is a line that holds no valid event.
type LineError struct {
	Line int // from 1
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("ledger line %d: %v", e.Line, e.Err) }

// Unwrap is what is wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// Reader reads events from a stream of lines. For one goroutine.
type Reader struct {
	in   *bufio.Reader
	line int
	torn bool
}

// NewReader reads from in; it buffers.
func NewReader(in io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(in, 64<<10)} }

// Next is the next event. A line that is no valid event gives a *LineError, after which Next goes on with the following
// line; empty lines are skipped. At the end it gives io.EOF, also when the last line is torn: without a line break, and
// no whole event. Any other error is the stream's.
func (r *Reader) Next() (Event, error) {
	for {
		b, err := r.readLine()
		whole := err == nil
		if err != nil && !errors.Is(err, io.EOF) {
			return Event{}, err
		}
		if len(bytes.TrimSpace(b)) == 0 {
			if whole {
				continue
			}
			return Event{}, io.EOF
		}
		var e Event
		if err := parse(b, &e); err != nil {
			if !whole {
				r.torn = true
				return Event{}, io.EOF
			}
			return Event{}, &LineError{Line: r.line, Err: err}
		}
		return e, nil
	}
}

// Torn reports, after io.EOF, that the last line was cut off: its writer died in the middle.
func (r *Reader) Torn() bool { return r.torn }

// readLine is one line without its break; io.EOF comes with what stands behind the last break. A longer line than MaxLine
// is cut at it, so that it cannot parse and cannot fill the memory either.
func (r *Reader) readLine() ([]byte, error) {
	r.line++
	var line []byte
	for {
		part, err := r.in.ReadSlice('\n')
		if room := MaxLine + 1 - len(line); room > 0 {
			line = append(line, part[:min(len(part), room)]...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(line, []byte{'\n'}), err
		}
	}
}

func parse(line []byte, e *Event) error {
	if len(line) > MaxLine {
		return fmt.Errorf("longer than %d bytes", MaxLine)
	}
	if err := json.Unmarshal(line, e); err != nil {
		return err
	}
	return e.Validate()
}

// ReadAll is every event of the stream. The error joins a *LineError for each malformed line and what the stream itself
// failed with; the events are returned beside it.
func ReadAll(in io.Reader) ([]Event, error) {
	r := NewReader(in)
	var events []Event
	var errs []error
	for {
		e, err := r.Next()
		var bad *LineError
		switch {
		case err == nil:
			events = append(events, e)
		case errors.Is(err, io.EOF):
			return events, errors.Join(errs...)
		case errors.As(err, &bad):
			errs = append(errs, err)
		default:
			return events, errors.Join(append(errs, err)...)
		}
	}
}

// ReadFile is ReadAll of the file at path.
func ReadFile(path string) ([]Event, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	defer f.Close()
	return ReadAll(f)
}
