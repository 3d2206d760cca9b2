package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// table aligns rows for people. Its first error comes with flush.
type table struct{ w *tabwriter.Writer }

func newTable(out io.Writer) *table { return &table{tabwriter.NewWriter(out, 2, 0, 3, ' ', 0)} }

// row writes the cells of a line.
func (t *table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = strings.ReplaceAll(fmt.Sprint(c), "\t", " ")
	}
	fmt.Fprintln(t.w, strings.Join(texts, "\t"))
}

// note writes a line that takes no part in the alignment.
func (t *table) note(format string, v ...any) {
	_ = t.w.Flush() // ends the columns; flush returns the error
	fmt.Fprintf(t.w, format+"\n", v...)
	_ = t.w.Flush()
}

func (t *table) flush() error { return t.w.Flush() }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// instant is a time for people: to the second, in UTC.
func instant(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// parseWhen reads a flag that is a time: RFC 3339, or a duration from now in the direction given (1: later, -1: ago).
func parseWhen(flag, text string, now time.Time, direction time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, fmt.Errorf("--%s %q is neither a time such as 2026-01-31T09:00:00Z nor a duration such as 90s", flag, text)
	}
	return now.Add(direction * d), nil
}
