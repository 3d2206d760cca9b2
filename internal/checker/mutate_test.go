package checker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// The edits a mutation is made of. Each fails the test when it finds nothing to edit, so that no mutation is a no-op.

type mutant struct {
	*script
	places
	t *testing.T
}

func (m *mutant) find(typ ledger.Type, rec ledger.Pos) *ledger.Event {
	m.t.Helper()
	i := slices.IndexFunc(m.in.Ledger, func(e ledger.Event) bool { return e.Type == typ && e.Record == rec })
	if i < 0 {
		m.t.Fatalf("no %s of %s", typ, rec)
	}
	return &m.in.Ledger[i]
}

func (m *mutant) drop(typ ledger.Type, rec ledger.Pos) {
	m.t.Helper()
	e := m.find(typ, rec)
	m.in.Ledger = slices.DeleteFunc(m.in.Ledger, func(o ledger.Event) bool { return o == *e })
}

func (m *mutant) dropFaults() {
	m.in.Ledger = slices.DeleteFunc(m.in.Ledger, func(e ledger.Event) bool { return e.Type == ledger.Faulted })
}

// again runs a record once more, by whom and when is given.
func (m *mutant) again(at int, process string, fence int64, rec ledger.Pos) {
	m.run(at, at+5, process, fence, rec, ledger.Done)
}

func (m *mutant) dropRecord(pos ledger.Pos) {
	m.t.Helper()
	n := len(m.in.Topics[pos.Topic])
	m.in.Topics[pos.Topic] = slices.DeleteFunc(m.in.Topics[pos.Topic], func(r Record) bool {
		return r.Partition == pos.Partition && r.Offset == pos.Offset
	})
	if len(m.in.Topics[pos.Topic]) == n {
		m.t.Fatalf("no record at %s", pos)
	}
}

func (m *mutant) record(pos ledger.Pos) *Record {
	m.t.Helper()
	i := slices.IndexFunc(m.in.Topics[pos.Topic], func(r Record) bool { return r.Partition == pos.Partition && r.Offset == pos.Offset })
	if i < 0 {
		m.t.Fatalf("no record at %s", pos)
	}
	return &m.in.Topics[pos.Topic][i]
}

// header replaces, or with an empty value removes, a wire header.
func (m *mutant) header(pos ledger.Pos, name, value string) {
	m.t.Helper()
	r := m.record(pos)
	i := slices.IndexFunc(r.Headers, func(h Header) bool { return h.Key == "waybill-"+name })
	if i < 0 {
		m.t.Fatalf("%s has no header %s", pos, name)
	}
	r.Headers = slices.Delete(slices.Clone(r.Headers), i, i+1)
	if value != "" {
		r.Headers = append(r.Headers, Header{"waybill-" + name, []byte(value)})
	}
}

// letter is the place of the dead letter of a job.
func (m *mutant) letter(origin ledger.Pos) ledger.Pos {
	m.t.Helper()
	for _, r := range m.in.Topics[dlqTopic] {
		for _, h := range r.Headers {
			if h.Key == "waybill-origin" && strings.HasPrefix(string(h.Value), originHeader(origin)) {
				return ledger.Pos{Topic: dlqTopic, Partition: r.Partition, Offset: r.Offset}
			}
		}
	}
	m.t.Fatalf("no letter of %s", origin)
	return ledger.Pos{}
}

func (m *mutant) shift(typ ledger.Type, rec ledger.Pos, by int) {
	m.t.Helper()
	e := m.find(typ, rec)
	e.Time = e.Time.Add(time.Duration(by) * time.Millisecond)
}

// noKill takes the kill and all that it excuses out of the run.
func (m *mutant) noKill() {
	m.dropFaults()
	m.in.Ledger = slices.DeleteFunc(m.in.Ledger, func(e ledger.Event) bool { return e.Process == "w2" || e.Process == "w1" && e.Record == m.interrupted })
	m.run(4910, 4940, "w1", 10, m.interrupted, ledger.Done)
}

func (m *mutant) last(typ ledger.Type, rec ledger.Pos) *ledger.Event {
	found := m.find(typ, rec)
	for i := range m.in.Ledger {
		if e := &m.in.Ledger[i]; e.Type == typ && e.Record == rec {
			found = e
		}
	}
	return found
}

// attemptOf lets a record and its call say that n attempts were burnt before.
func (m *mutant) attemptOf(rec ledger.Pos, n int) {
	m.header(rec, "attempt", string(rune('0'+n)))
	m.find(ledger.Called, rec).Attempt = n + 1
	m.find(ledger.Returned, rec).Attempt = n + 1
}
