package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// script writes a run by hand: what stands in the topics and what the ledger says. Times are milliseconds from epoch. It
// derives from a record what any engine would tell the handler, and knows nothing of the checker's own reading.
type script struct {
	in   Input
	info map[ledger.Pos]*recInfo
	ends map[ledger.Pos]int64 // by topic and partition
}

type recInfo struct {
	spec
	pos, origin        ledger.Pos
	gen, hop, attempts int
	idempotency        string // empty: made of the identity
}

// spec is a job as produced. The kind's first word is its order: key, strict, part or free.
type spec struct {
	kind, key, id, payload string
	at, expires            int
	intent                 string
}

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ms(n int) time.Time { return epoch.Add(time.Duration(n) * time.Millisecond) }

const (
	tierShort, tierLong = 1000, 60_000 // delays, ms
	dlqTopic            = "jobs.g.dlq"
)

var tierTopics = []string{"jobs.g.retry.1s", "jobs.g.retry.1m"}

func newScript() *script {
	return &script{
		info: map[ledger.Pos]*recInfo{}, ends: map[ledger.Pos]int64{},
		in: Input{
			Topics: map[string][]Record{"jobs": {}, tierTopics[0]: {}, tierTopics[1]: {}, dlqTopic: {}}, Committed: Offsets{}, From: Offsets{}, Ends: Offsets{},
			Jobs: []JobTopic{{
				Topic: "jobs", DeadLetters: dlqTopic, Receipts: "jobs.g.receipts",
				Tiers: []Tier{{tierTopics[0], tierShort * time.Millisecond}, {tierTopics[1], tierLong * time.Millisecond}},
			}},
			Kinds:    map[string]Kind{},
			Quiesced: true,
			Timing: Timing{
				RerunWindow: 100 * time.Millisecond, Lease: time.Second, Drain: 50 * time.Millisecond,
			},
		},
	}
}

func (s *script) append(topic string, p int32, at int, key, value string, headers ...string) ledger.Pos {
	log := ledger.Pos{Topic: topic, Partition: p}
	pos := ledger.Pos{Topic: topic, Partition: p, Offset: s.ends[log]}
	s.ends[log]++
	rec := Record{Topic: topic, Partition: p, Offset: pos.Offset, Time: ms(at), Key: []byte(key), Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		rec.Headers = append(rec.Headers, Header{"waybill-" + headers[i], []byte(headers[i+1])})
	}
	s.in.Topics[topic] = append(s.in.Topics[topic], rec)
	return pos
}

func (s *script) event(at int, process string, e ledger.Event) {
	e.Time, e.Process = ms(at), process
	s.in.Ledger = append(s.in.Ledger, e)
}

// produce enqueues a job and returns its record.
func (s *script) produce(at int, p int32, j spec) ledger.Pos {
	headers := []string{"kind", j.kind, "id", j.id}
	e := ledger.Event{Type: ledger.Produced, Kind: j.kind, Key: j.key, ID: j.id, Digest: ledger.DigestOf([]byte(j.payload)), Intent: j.intent}
	if j.at > 0 {
		e.At = ms(j.at)
		headers = append(headers, "at", ms(j.at).Format(time.RFC3339Nano))
	}
	if j.expires > 0 {
		headers = append(headers, "expires", ms(j.expires).Format(time.RFC3339Nano))
	}
	e.Record = s.append("jobs", p, at, j.key, j.payload, headers...)
	s.event(at, "producer", e)
	s.info[e.Record] = &recInfo{spec: j, pos: e.Record, origin: e.Record}
	return e.Record
}

func originHeader(p ledger.Pos) string {
	return fmt.Sprintf("%s/%d/%d/%d", p.Topic, p.Partition, p.Offset, epoch.UnixMilli())
}

// hop puts a copy of a job into a tier and returns its record.
func (s *script) hop(at, tier int, origin ledger.Pos, gen, hop, attempts, delay int) ledger.Pos {
	j := s.info[origin].spec
	h := []string{"kind", j.kind, "id", j.id, "hop", strconv.Itoa(hop), "attempt", strconv.Itoa(attempts),
		"delay", strconv.Itoa(delay), "origin", originHeader(origin), "first", ms(at).Format(time.RFC3339Nano), "error", "handler_error: no luck"}
	if gen > 0 {
		h = append(h, "gen", strconv.Itoa(gen))
	}
	if j.expires > 0 {
		h = append(h, "expires", ms(j.expires).Format(time.RFC3339Nano))
	}
	pos := s.append(tierTopics[tier], origin.Partition, at, j.key, j.payload, h...)
	s.info[pos] = &recInfo{spec: j, pos: pos, origin: origin, gen: gen, hop: hop, attempts: attempts}
	return pos
}

// file puts a dead letter of a job into the dead-letter topic.
func (s *script) file(at int, origin ledger.Pos, gen, attempts int, code string) ledger.Pos {
	j := s.info[origin].spec
	return s.append(dlqTopic, 0, at, j.key, j.payload, "kind", j.kind, "id", j.id, "gen", strconv.Itoa(gen),
		"attempt", strconv.Itoa(attempts), "origin", originHeader(origin), "error", code+": no luck")
}

// redrive sends a letter back as the next generation.
func (s *script) redrive(at int, origin ledger.Pos, gen int) ledger.Pos {
	j := s.info[origin].spec
	pos := s.hop(at, 0, origin, gen, 0, 0, 0)
	s.event(at, "operator", ledger.Event{Type: ledger.Redriven, Record: pos, Kind: j.kind, Key: j.key, ID: j.id, Generation: gen})
	return pos
}

func (s *script) attempt(rec ledger.Pos) ledger.Event {
	i := s.info[rec]
	order := map[string]ledger.Order{"key": ledger.ByKey, "strict": ledger.ByKeyStrict, "part": ledger.ByPartition, "free": ledger.Unordered}
	word, _, _ := strings.Cut(i.kind, ".")
	idempotency := cmp.Or(i.idempotency, fmt.Sprintf("%d/%s/%s/%s", rec.Partition, i.kind, i.key, i.id))
	return ledger.Event{
		Type: ledger.Called, Record: rec, Kind: i.kind, Key: i.key, ID: i.id, Generation: i.gen, Hop: i.hop, Attempt: i.attempts + 1,
		Order: order[word], IdempotencyKey: idempotency,
	}
}

// call starts an attempt. returns ends it, run does both.
func (s *script) call(at int, process string, fence int64, rec ledger.Pos) {
	e := s.attempt(rec)
	e.Fence = fence
	s.event(at, process, e)
}

func (s *script) returns(at int, process string, rec ledger.Pos, r ledger.Result) {
	e := s.attempt(rec)
	e.Type, e.Order, e.IdempotencyKey, e.Result = ledger.Returned, "", "", r
	s.event(at, process, e)
}

func (s *script) run(from, to int, process string, fence int64, rec ledger.Pos, r ledger.Result) {
	s.call(from, process, fence, rec)
	s.returns(to, process, rec, r)
}

func (s *script) effect(at int, rec ledger.Pos) {
	s.event(at, "smtp", ledger.Event{Type: ledger.Effect, IdempotencyKey: s.attempt(rec).IdempotencyKey, Attempt: s.info[rec].attempts + 1})
}

func (s *script) fault(at int, f ledger.Fault, target string) {
	s.event(at, "driver", ledger.Event{Type: ledger.Faulted, Fault: f, Target: target})
}

// commit says that everything is consumed.
func (s *script) commit() {
	for log, end := range s.ends {
		if log.Topic != dlqTopic {
			s.in.Committed.Set(log.Topic, log.Partition, end)
		}
	}
}

// rules are the rules a result broke, in order of their names.
func rules(r *Result) string {
	var all []string
	for _, rule := range slices.Sorted(maps.Keys(r.Counts)) {
		all = append(all, string(rule))
	}
	return strings.Join(all, " ")
}

// wantRules checks that exactly these rules are broken, separated by spaces; none for a good run.
func wantRules(t *testing.T, in Input, want string) *Result {
	t.Helper()
	res := Check(in)
	if got := rules(res); got != want {
		t.Errorf("broke %q, want %q\n%s", got, want, res)
	}
	return res
}
