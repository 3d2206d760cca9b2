package task

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// rig is a world with one running process, for tests of single rules. Every invariant is checked when the test ends.
type rig struct {
	*world
	t     *testing.T
	p     *proc
	lines []string

	unchecked bool // the broker itself loses records in this test
}

func newRig(t *testing.T, change ...func(w *world)) *rig {
	r := &rig{world: newWorld(), t: t}
	r.trace = func(format string, a ...any) {
		r.lines = append(r.lines, fmt.Sprintf(format, a...))
		t.Logf(format, a...)
	}
	for _, f := range change {
		f(r.world)
	}
	r.p = r.runs("a")
	r.p.tick(true)
	r.p.settleDown()
	r.lines = nil
	t.Cleanup(func() {
		if r.check(); r.violation != "" && !r.unchecked {
			t.Error(r.violation)
		}
	})
	return r
}

func msg(kind, id, key string) job.Message {
	m := job.Message{Kind: kind, ID: id, Payload: []byte("payload")}
	if key != "" {
		m.Key = []byte(key)
	}
	return m
}

// give produces jobs and delivers them.
func (r *rig) give(ms ...job.Message) {
	for _, m := range ms {
		r.produce(m)
	}
	r.p.fetchAll()
}

// entry is the offered entry of a job; the test ends if it is not offered.
func (r *rig) entry(name string) *Entry {
	r.t.Helper()
	for _, e := range r.p.pool {
		if r.name(e.env.Identity) == name {
			return e
		}
	}
	r.t.Fatalf("%s is not offered; offered are %v", name, r.offered())
	return nil
}

func (r *rig) end(name string, o job.Outcome) {
	r.t.Helper()
	r.p.end([]*Entry{r.entry(name)}, o)
}

func (r *rig) offered() (out []string) {
	for _, e := range r.p.pool {
		out = append(out, r.name(e.env.Identity))
	}
	return out
}

// write is the one write on its way.
func (r *rig) write() *flight {
	r.t.Helper()
	if len(r.p.writes) != 1 {
		r.t.Fatalf("%d writes are on the way, not one", len(r.p.writes))
	}
	return r.p.writes[0]
}

func (r *rig) wait(d time.Duration) { r.now += int64(d) }

// said checks that the trace since the last call holds these lines, in this order; "!x" says that no line holds x.
func (r *rig) said(want ...string) {
	r.t.Helper()
	at := 0
	for _, s := range want {
		if not, ok := strings.CutPrefix(s, "!"); ok {
			if i := slices.IndexFunc(r.lines, func(l string) bool { return strings.Contains(l, not) }); i >= 0 {
				r.t.Errorf("unwanted: %s", r.lines[i])
			}
			continue
		}
		i := slices.IndexFunc(r.lines[at:], func(l string) bool { return strings.Contains(l, s) })
		if i < 0 {
			r.t.Errorf("no line %q after line %d of:\n\t%s", s, at, strings.Join(r.lines, "\n\t"))
			return
		}
		at += i + 1
	}
	r.lines = nil
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func same[T comparable](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var (
	success = job.Outcome{}
	failure = job.Outcome{Verdict: job.VerdictRetry, Code: job.CodeHandlerError, Text: "no"}
)
