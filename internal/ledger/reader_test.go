package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const good = `{"type":"note","time":"2026-03-01T12:00:00Z","process":"w","seq":1,"text":"ok"}`

func TestReader(t *testing.T) {
	long := `{"text":"` + strings.Repeat("x", MaxLine) + `"}`
	for _, c := range []struct {
		name, in string
		events   int
		bad      []int // line numbers
		torn     bool
	}{
		{"empty", "", 0, nil, false},
		{"lines", good + "\n" + good + "\n", 2, nil, false},
		{"last line whole without a break", good + "\n" + good, 2, nil, false},
		{"last line torn", good + "\n" + good[:20], 1, nil, true},
		{"blank lines and carriage returns", "\n" + good + "\r\n\n \n", 1, nil, false},
		{"malformed lines are told apart", "x\n" + good + "\n{}\n" + good + "\n", 2, []int{1, 3}, false},
		{"unknown type", `{"type":"guess","time":"2026-03-01T12:00:00Z","process":"w"}` + "\n", 0, []int{1}, false},
		{"a torn line in the middle", good[:30] + good + "\n" + good + "\n", 1, []int{1}, false},
		{"an endless line", long + "\n" + good + "\n", 1, []int{1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := NewReader(strings.NewReader(c.in))
			events, bad := 0, []int(nil)
			for {
				_, err := r.Next()
				if err == io.EOF {
					break
				}
				var line *LineError
				if errors.As(err, &line) {
					bad = append(bad, line.Line)
				} else if err != nil {
					t.Fatal(err)
				} else {
					events++
				}
			}
			if events != c.events || len(bad) != len(c.bad) || r.Torn() != c.torn {
				t.Fatalf("%d events, bad lines %v, torn %v", events, bad, r.Torn())
			}
			for i := range bad {
				if bad[i] != c.bad[i] {
					t.Errorf("bad lines %v, want %v", bad, c.bad)
				}
			}
		})
	}
}

func TestReadAllReportsTheStream(t *testing.T) {
	broken := errors.New("cable pulled")
	events, err := ReadAll(io.MultiReader(strings.NewReader("x\n"+good+"\n"), iotest.ErrReader(broken)))
	var line *LineError
	if len(events) != 1 || !errors.Is(err, broken) || !errors.As(err, &line) {
		t.Errorf("%d events, error %v", len(events), err)
	}
}

// FuzzReader: whatever the bytes, the reader ends, returns only valid events, and what it returns reads back the same.
func FuzzReader(f *testing.F) {
	for _, e := range samples() {
		line, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(line, '\n'))
		f.Add(line[:len(line)/2])
	}
	f.Add([]byte("\n\n{}\n" + good))
	f.Fuzz(func(t *testing.T, in []byte) {
		events, _ := ReadAll(bytes.NewReader(in))
		var out bytes.Buffer
		for i := range events {
			if err := events[i].Validate(); err != nil {
				t.Fatalf("an invalid event was returned: %v", err)
			}
			line, err := json.Marshal(events[i])
			if err != nil {
				t.Skip("a year JSON cannot hold")
			}
			out.Write(append(line, '\n'))
		}
		again, err := ReadAll(&out)
		if err != nil || len(again) != len(events) {
			t.Fatalf("%d events came back as %d: %v", len(events), len(again), err)
		}
		for i := range events {
			a, b := events[i], again[i]
			if a.Key != b.Key || a.ID != b.ID || !a.Time.Equal(b.Time) || a.Record != b.Record {
				t.Fatalf("%+v came back as %+v", a, b)
			}
		}
	})
}
