package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// Writer is a Sink of one process onto a stream of lines. Safe for concurrent use.
type Writer struct {
	mu    sync.Mutex
	out   io.Writer
	file  *os.File // nil when the stream is the caller's
	stamp stamp
	err   error
}

var _ Sink = (*Writer)(nil)

// NewWriter writes the events of one process to out, each as one Write call. It never closes out.
func NewWriter(out io.Writer, process string) *Writer {
	return &Writer{out: out, stamp: stamp{process: process}}
}

// Open appends the events of one process to the file at path, which is created when it is missing. Several processes may
// have it open at the same time. A torn line left by a process that died is closed off, so that it costs nobody else's.
func Open(path, process string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if err := closeOff(f); err != nil {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(err, f.Close()))
	}
	w := NewWriter(f, process)
	w.file = f
	return w, nil
}

// closeOff ends a last line that has no line break. Racing with another writer it may add an empty line, which readers skip.
func closeOff(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.Write([]byte{'\n'})
	return err
}

// Record appends one line. After Freeze, or after a write failed, it does nothing.
func (w *Writer) Record(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || !w.stamp.take(&e) {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = w.out.Write(append(line, '\n')) // one write a line: O_APPEND keeps lines of several processes whole
	}
	if err != nil {
		w.err = fmt.Errorf("write ledger: %w", err)
	}
}

// Freeze ends this process's say, as a kill does: nothing is written after it returns.
func (w *Writer) Freeze() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stamp.frozen = true
}

// Err is the first error of a write. What came after it is not in the ledger.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close freezes the writer, closes the file Open made and returns the first error. Calling it again is harmless.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stamp.frozen = true
	if w.file != nil {
		if err := w.file.Close(); err != nil && w.err == nil {
			w.err = fmt.Errorf("close ledger: %w", err)
		}
		w.file = nil
	}
	return w.err
}
