package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// A ledger is a file of lines of 16 bytes, each appended by one write: the job's number, its highest bit set where the job
// has ended, and nanoseconds of Unix time, both little-endian. What was written outlives the process that is killed.
const (
	ledgerLine  = 16
	ledgerEnded = 1 << 63
)

// ledgerFile is a ledger as a worker has it. Any goroutine may write.
type ledgerFile struct{ *os.File }

func openLedger(path string) (ledgerFile, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	return ledgerFile{f}, err
}

func (f ledgerFile) note(seq int, ended bool) error {
	var line [ledgerLine]byte
	v := uint64(seq)
	if ended {
		v |= ledgerEnded
	}
	binary.LittleEndian.PutUint64(line[:], v)
	binary.LittleEndian.PutUint64(line[8:], uint64(time.Now().UnixNano()))
	_, err := f.Write(line[:])
	return err
}

// jobTimes are nanoseconds of Unix time; 0: never.
type jobTimes struct{ began, ended int64 }

// ledger is what its reader knows of it.
type ledger struct {
	f     *os.File
	times []jobTimes // by number of the job
	ended int        // jobs that have
	began int        // jobs that have

	first, last int64 // times of the first and the latest line
}

func readLedger(path string, jobs int) (*ledger, error) {
	f, err := os.Open(path)
	return &ledger{f: f, times: make([]jobTimes, jobs)}, err
}

func (l *ledger) close() { _ = l.f.Close() } // only read from

// read reads what has come.
func (l *ledger) read() error {
	buf := make([]byte, 1<<10*ledgerLine)
	for {
		n, err := l.f.Read(buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n%ledgerLine != 0 {
			return fmt.Errorf("ledger: %d bytes are no whole lines", n)
		}
		for line := buf[:n]; len(line) > 0; line = line[ledgerLine:] {
			if err := l.line(binary.LittleEndian.Uint64(line), int64(binary.LittleEndian.Uint64(line[8:]))); err != nil {
				return err
			}
		}
	}
}

func (l *ledger) line(v uint64, at int64) error {
	seq := v &^ ledgerEnded
	if seq >= uint64(len(l.times)) {
		return fmt.Errorf("ledger: job %d of %d", seq, len(l.times))
	}
	if l.first == 0 {
		l.first = at
	}
	l.last = max(l.last, at)
	t := &l.times[seq]
	switch {
	case v&ledgerEnded == 0:
		if t.began == 0 {
			l.began++
		}
		t.began = at
	case t.ended == 0:
		l.ended++
		t.ended = at
	}
	return nil
}

// running is how many jobs have begun and not ended, without the one that never does.
func (l *ledger) running() int {
	n := l.began - l.ended
	if l.times[stuckJob].began > 0 {
		n--
	}
	return n
}

// lately is how many jobs ended in so much time before the latest line.
func (l *ledger) lately(d time.Duration) (n int) {
	for _, t := range l.times {
		if t.ended > l.last-d.Nanoseconds() && t.ended > 0 {
			n++
		}
	}
	return n
}
