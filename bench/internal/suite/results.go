package suite

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/waybill-dev/waybill/bench/internal/side"
)

// Result is a line of the results file: one side of one round.
type Result struct {
	Case    string      `json:"case"`
	Peer    string      `json:"peer"`
	Round   int         `json:"round"` // from 1
	Sample  side.Sample `json:"sample"`
	Version string      `json:"version"` // of the peer
	Setting Setting     `json:"setting"`
}

// Setting is under which circumstances a side was measured.
type Setting struct {
	Engine  string  `json:"engine"` // commit of this tree
	Go      string  `json:"go"`
	System  string  `json:"system"`
	Cores   int     `json:"cores"`
	Memory  int     `json:"memory_gib"`
	CPU     string  `json:"cpu"`
	Kafka   string  `json:"kafka"`
	Seconds float64 `json:"seconds"` // asked of a side
	Jobs    int     `json:"jobs"`    // in the topic
}

// ReadResults reads a results file; of none there are none.
func ReadResults(path string) ([]Result, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []Result
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w; take the line out or begin anew", path, len(all)+1, err)
		}
		all = append(all, r)
	}
	return all, lines.Err()
}

// add appends a line.
func add(path string, r Result) (err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.Write(append(text, '\n'))
	return err
}
