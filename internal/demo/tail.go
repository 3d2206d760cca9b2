package demo

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// tail follows a ledger file that another process writes.
type tail struct {
	path string
	at   int64
}

// next is the events appended since the last call, less a line that is not whole yet. A file that does not exist yet has
// none; a malformed line is left to the account at the end.
func (t *tail) next() ([]ledger.Event, error) {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, t.at, 1<<30))
	if err != nil {
		return nil, err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	t.at += int64(whole)
	events, _ := ledger.ReadAll(bytes.NewReader(b[:whole]))
	return events, nil
}
