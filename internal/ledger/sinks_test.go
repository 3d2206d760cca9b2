package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func note(text string) Event { return Event{Type: Note, Text: text} }

func texts(events []Event) string {
	var all []string
	for _, e := range events {
		all = append(all, fmt.Sprintf("%s%d:%s", e.Process, e.Seq, e.Text))
	}
	return strings.Join(all, " ")
}

func TestSinksStampAndFreeze(t *testing.T) {
	type sink interface {
		Sink
		Freeze()
	}
	var file bytes.Buffer
	recorder := NewRecorder()
	for name, c := range map[string]struct {
		sink sink
		read func() []Event
	}{
		"recorder": {recorder.For("w1"), recorder.Events},
		"writer": {NewWriter(&file, "w1"), func() []Event {
			events, err := ReadAll(bytes.NewReader(file.Bytes()))
			if err != nil {
				t.Error(err)
			}
			return events
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c.sink.Record(note("a"))
			c.sink.Record(Event{Type: Note, Process: "smtp", Time: noon, Text: "b"})
			c.sink.Freeze()
			c.sink.Record(note("after the kill"))
			events := c.read()
			if got := texts(events); got != "w11:a smtp2:b" {
				t.Fatalf("recorded %q", got)
			}
			if events[0].Time.IsZero() || !events[1].Time.Equal(noon) {
				t.Errorf("times %v, %v: the first is to be stamped, the second kept", events[0].Time, events[1].Time)
			}
		})
	}
}

func TestTapsOfOneRecorder(t *testing.T) {
	r := NewRecorder()
	r.For("a").Record(note("1"))
	r.For("b").Record(note("1"))
	r.For("a").Record(note("2"))
	r.For("a").Freeze()
	r.For("a").Record(note("3"))
	r.For("b").Record(note("2"))
	events := r.Events()
	if got := texts(events); got != "a1:1 b1:1 a2:2 b2:2" {
		t.Errorf("recorded %q", got)
	}
	events[0].Text = "changed"
	if r.Events()[0].Text != "1" {
		t.Error("Events hands out its own memory")
	}
}

func TestTimesOfAProcessNeverGoBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stamp{process: "w", last: time.Now().Add(time.Hour)} // as after a step back of an hour
		var e Event
		s.take(&e)
		if e.Time.Before(time.Now().Add(time.Hour)) {
			t.Errorf("time went back to %v", e.Time)
		}
	})
}

func TestProcessesShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.ndjson")
	const writers, lines = 8, 200
	var wg sync.WaitGroup
	for i := range writers {
		w, err := Open(path, fmt.Sprint("w", i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range lines {
				w.Record(note(strings.Repeat("x", 300)))
			}
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	events, err := ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := map[string]int64{}
	for _, e := range events {
		if e.Seq != last[e.Process]+1 {
			t.Fatalf("%s: %d follows %d", e.Process, e.Seq, last[e.Process])
		}
		last[e.Process] = e.Seq
	}
	if len(events) != writers*lines {
		t.Errorf("%d events, want %d", len(events), writers*lines)
	}
}

func TestATornLineCostsNobodyElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.ndjson")
	if err := os.WriteFile(path, []byte(`{"type":"note","ti`), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Open(path, "next")
	if err != nil {
		t.Fatal(err)
	}
	w.Record(note("whole"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	events, err := ReadFile(path)
	if got := texts(events); got != "next1:whole" {
		t.Errorf("read %q", got)
	}
	var bad *LineError
	if !errors.As(err, &bad) || bad.Line != 1 {
		t.Errorf("the torn line is reported as %v", err)
	}
}

func TestWriterKeepsItsFirstError(t *testing.T) {
	full := errors.New("disk full")
	w := NewWriter(failing{full}, "w")
	w.Record(note("a"))
	w.out = nil // a second write would panic
	w.Record(note("b"))
	if !errors.Is(w.Err(), full) || !errors.Is(w.Close(), full) {
		t.Errorf("error is %v", w.Err())
	}
}

func TestMissingFilesAreErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no", "run.ndjson")
	if _, err := Open(missing, "w"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if _, err := ReadFile(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadFile: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
