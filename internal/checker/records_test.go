package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// TestForeignRecords: jobs that Waybill did not produce are one job by their place, or by their CloudEvents id.
func TestForeignRecords(t *testing.T) {
	// kind and id are made of configuration and the topic's id: the checker knows neither
	const kind = "key.foreign"
	plain := func(s *script, headers ...Header) ledger.Pos {
		r := s.append("jobs", 0, 0, "k", "v")
		s.in.Topics["jobs"][len(s.in.Topics["jobs"])-1].Headers = headers
		s.info[r] = &recInfo{spec: spec{kind: kind, key: "k", id: fmt.Sprintf("T0p1c/0/%d/1772366400000", r.Offset), payload: "v"}, pos: r, origin: r}
		return r
	}
	cloud := func(s *script, id string) ledger.Pos {
		r := plain(s, Header{"ce_specversion", []byte("1.0")}, Header{"ce_type", []byte("key.cloud")}, Header{"ce_source", []byte("/shop")}, Header{"ce_id", []byte(id)})
		s.info[r].kind, s.info[r].id = "key.cloud", "/shop|"+id
		return r
	}
	for _, c := range []struct {
		name, want string
		do         func(*script)
	}{
		{"run", "", func(s *script) { s.run(10, 20, "w1", 1, plain(s), ledger.Done) }},
		{"retried: the copy gives it its names", "", func(s *script) {
			r := plain(s)
			s.run(10, 20, "w1", 1, r, ledger.Retry)
			s.run(40, 50, "w1", 1, s.hop(25, 0, r, 0, 1, 1, 10), ledger.Done)
		}},
		{"filed", "", func(s *script) { r := plain(s); s.run(10, 20, "w1", 1, r, ledger.Dead); s.file(30, r, 0, 1, "dead") }},
		{"forgotten", "I1 I11", func(s *script) { plain(s) }},
		{"two of them are two jobs", "", func(s *script) {
			s.run(10, 20, "w1", 1, plain(s), ledger.Done)
			s.run(30, 40, "w1", 1, plain(s), ledger.Done)
		}},
		{"malformed, filed unseen by any handler", "", func(s *script) {
			r := plain(s, Header{"waybill-kind", []byte("key.mail")})
			s.file(30, r, 0, 0, "malformed")
		}},
		{"cloud event", "", func(s *script) { s.run(10, 20, "w1", 1, cloud(s, "1"), ledger.Done) }},
		{"cloud event, its duplicate is not run", "", func(s *script) { s.run(10, 20, "w1", 1, cloud(s, "1"), ledger.Done); cloud(s, "1") }},
		{"cloud event, its duplicate is run", "I11 I6", func(s *script) {
			s.run(10, 20, "w1", 1, cloud(s, "1"), ledger.Done)
			s.run(30, 40, "w1", 1, cloud(s, "1"), ledger.Done)
		}},
		{"cloud event told by another id", "identity", func(s *script) {
			r := cloud(s, "1")
			s.info[r].id = "/shop/1"
			s.run(10, 20, "w1", 1, r, ledger.Done)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			c.do(s)
			s.commit()
			if res := wantRules(t, s.in, c.want); res.Stats.Unannounced == 0 {
				t.Error("a record nobody announced is not counted")
			}
		})
	}
}

// TestIdentity: what makes two records one job, and what does not.
func TestIdentity(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b func(*script) ledger.Pos
		jobs int
	}{
		{"same", enqueue(0, mail), enqueue(0, mail), 1},
		{"another partition", enqueue(0, mail), enqueue(1, mail), 2},
		{"another key", enqueue(0, mail), enqueue(0, spec{kind: "key.mail", key: "z", id: "1", payload: "a"}), 2},
		{"another id", enqueue(0, mail), enqueue(0, kindOf("key.mail", "2")), 2},
		{"another kind", enqueue(0, mail), enqueue(0, kindOf("key.letter", "1")), 2},
		{"a renamed kind", enqueue(0, mail), enqueue(0, kindOf("key.post", "1")), 1},
		{"a null key is not an empty one", enqueue(0, spec{kind: "free.x", id: "1"}), func(s *script) ledger.Pos {
			r := enqueue(0, spec{kind: "free.x", id: "1"})(s)
			s.in.Topics["jobs"][r.Offset].Key = nil
			s.info[r].idempotency = "null"
			return r
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript()
			s.in.Kinds["key.post"] = Kind{FirstName: "key.mail"}
			a, b := c.a(s), c.b(s)
			s.run(10, 20, "w1", 1, a, ledger.Done)
			if c.jobs == 2 {
				s.run(30, 40, "w1", 1, b, ledger.Done)
			}
			s.commit()
			if res := wantRules(t, s.in, ""); res.Stats.Jobs != c.jobs {
				t.Errorf("%d jobs, want %d", res.Stats.Jobs, c.jobs)
			}
		})
	}
}

func enqueue(p int32, j spec) func(*script) ledger.Pos {
	return func(s *script) ledger.Pos { return s.produce(0, p, j) }
}

// TestUnfinishedRuns: a run that was cut short may have everything waiting, and still nothing lost.
func TestUnfinishedRuns(t *testing.T) {
	s := newScript()
	s.in.Quiesced = false
	a := s.produce(0, 0, kindOf("key.mail", "a"))
	s.produce(0, 0, kindOf("key.mail", "b"))
	s.run(10, 20, "w1", 1, a, ledger.Retry)
	s.hop(25, 0, a, 0, 1, 1, 1000)
	s.in.Committed.Set("jobs", 0, 1)
	res := wantRules(t, s.in, "")
	if res.Account.Jobs.Classes[Waiting] != 2 {
		t.Errorf("two jobs wait:\n%s", &res.Account)
	}
	s.in.Committed.Set("jobs", 0, 2) // past a job nobody has looked at
	wantRules(t, s.in, "I1 I11")
	s.in.Committed.Set("jobs", 0, 1)
	s.in.Committed.Set(tierTopics[0], 0, 1) // past its copy, with nothing behind
	wantRules(t, s.in, "I11 I14")
}

// TestTrimmedTopics: what was gone before anybody read it proves nothing, where the tier was consumed that far.
func TestTrimmedTopics(t *testing.T) {
	s := newScript()
	a := s.produce(0, 0, mail)
	s.run(10, 20, "w1", 1, a, ledger.Retry)
	one := s.hop(25, 0, a, 0, 1, 1, 10)
	s.run(40, 50, "w1", 1, one, ledger.Retry)
	s.run(80, 90, "w1", 1, s.hop(55, 0, a, 0, 2, 2, 10), ledger.Done)
	s.commit()
	s.in.Topics[tierTopics[0]] = s.in.Topics[tierTopics[0]][1:]
	wantRules(t, s.in, "copy identity")
	s.in.From.Set(tierTopics[0], 0, 1)
	wantRules(t, s.in, "")

	old := s.produce(0, 0, kindOf("key.mail", "old"))
	s.run(100, 110, "w1", 1, old, ledger.Done)
	s.commit()
	s.in.Topics["jobs"] = nil
	s.in.From.Set("jobs", 0, 2)
	wantRules(t, s.in, "identity") // the copy's own headers name its job; the other one nobody can know
}

// TestLettersSeen: `filed` events stand in for a dead-letter topic that was not read, and are held against one that was.
func TestLettersSeen(t *testing.T) {
	s := newScript()
	a := s.produce(0, 0, mail)
	s.run(10, 20, "w1", 1, a, ledger.Dead)
	s.commit()
	seen := ledger.Event{Type: ledger.Filed, Record: ledger.Pos{Topic: dlqTopic}, Origin: a, Kind: mail.kind, Key: "k", ID: "1", Code: "dead"}
	s.event(30, "driver", seen)
	wantRules(t, s.in, "I1 I11 letter")
	delete(s.in.Topics, dlqTopic)
	if res := wantRules(t, s.in, ""); res.Stats.Letters != 1 {
		t.Errorf("%d letters", res.Stats.Letters)
	}
	s.in.Topics[dlqTopic] = nil
	s.file(30, a, 0, 1, "dead")
	wantRules(t, s.in, "")
	seen.Record.Topic = "jobs"
	s.event(31, "driver", seen)
	wantRules(t, s.in, "letter")
}

// TestEnginesAccount: where a run records the engine's own outcomes, they must agree with what was seen.
func TestEnginesAccount(t *testing.T) {
	build := func() (*script, ledger.Pos, ledger.Pos) {
		s := newScript()
		a, b := s.produce(0, 0, mail), s.produce(0, 0, mail)
		s.run(10, 20, "w1", 1, a, ledger.Done)
		s.commit()
		return s, a, b
	}
	says := func(s *script, r ledger.Pos, o ledger.Outcome) {
		s.event(30, "w1", ledger.Event{Type: ledger.Ended, Record: r, Outcome: o, Fence: 1})
	}
	for _, c := range []struct {
		name, want string
		do         func(s *script, a, b ledger.Pos)
	}{
		{"agrees", "", func(s *script, a, b ledger.Pos) { says(s, a, ledger.OutcomeDone); says(s, b, ledger.OutcomeDuplicate) }},
		{"says nothing", "", func(s *script, a, b ledger.Pos) {}},
		{"counts twice", "I11", func(s *script, a, b ledger.Pos) {
			says(s, a, ledger.OutcomeDone)
			says(s, b, ledger.OutcomeDuplicate)
			says(s, b, ledger.OutcomeStale)
		}},
		{"leaves one out", "I11", func(s *script, a, b ledger.Pos) { says(s, a, ledger.OutcomeDone) }},
		{"files what has no letter", "I11", func(s *script, a, b ledger.Pos) { says(s, a, ledger.OutcomeDone); says(s, b, ledger.OutcomeDead) }},
		{"finds a conflict without a letter", "I11", func(s *script, a, b ledger.Pos) { says(s, a, ledger.OutcomeDone); says(s, b, ledger.OutcomeConflict) }},
		{"counts what is nowhere", "I11", func(s *script, a, b ledger.Pos) { says(s, ledger.Pos{Topic: "jobs", Offset: 9}, ledger.OutcomeDone) }},
		{"calls done what failed", "I1 I11", func(s *script, a, b ledger.Pos) {
			says(s, s.produce(40, 0, kindOf("key.mail", "2")), ledger.OutcomeDone)
			says(s, a, ledger.OutcomeDone)
			says(s, b, ledger.OutcomeDuplicate)
			s.commit()
		}},
		{"calls stale what is all there is", "I1 I11", func(s *script, a, b ledger.Pos) {
			says(s, s.produce(40, 0, kindOf("key.mail", "2")), ledger.OutcomeStale)
			says(s, a, ledger.OutcomeDone)
			says(s, b, ledger.OutcomeDuplicate)
			s.commit()
		}},
		{"discards and expires without a handler", "", func(s *script, a, b ledger.Pos) {
			says(s, s.produce(40, 0, kindOf("key.mail", "2")), ledger.OutcomeDiscarded)
			says(s, s.produce(40, 0, kindOf("key.mail", "3")), ledger.OutcomeExpired)
			says(s, a, ledger.OutcomeDone)
			says(s, b, ledger.OutcomeDuplicate)
			s.commit()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, a, b := build()
			c.do(s, a, b)
			wantRules(t, s.in, c.want)
		})
	}
}

func TestDedupingDownstream(t *testing.T) {
	s := newScript()
	a := s.produce(0, 0, mail)
	s.call(10, "w1", 1, a)
	s.effect(11, a)
	s.returns(20, "w1", a, ledger.Retry)
	hop := s.hop(25, 0, a, 0, 1, 1, 10)
	s.call(40, "w1", 1, hop)
	s.effect(41, hop)
	s.returns(50, "w1", hop, ledger.Done)
	s.commit()
	if res := wantRules(t, s.in, ""); res.Stats.Repeated != 1 {
		t.Errorf("%d repeated effects, want 1", res.Stats.Repeated)
	}
	s.in.DedupingDownstream = true
	wantRules(t, s.in, "effect")
}

// A second effect of a reconciled job is one too many, whatever happened: who takes over asks first.
func TestReconciledEffects(t *testing.T) {
	s := newScript()
	r := s.produce(0, 0, mail)
	s.call(10, "w1", 1, r)
	s.effect(11, r)
	s.fault(12, ledger.Kill, "w1")
	s.call(9000, "w2", 2, r)
	s.effect(9010, r)
	s.returns(9020, "w2", r, ledger.Done)
	s.commit()
	wantRules(t, s.in, "")
	s.in.Kinds[mail.kind] = Kind{Guarantee: Reconciled}
	wantRules(t, s.in, "effect")
}

func TestUnusableInput(t *testing.T) {
	for name, spoil := range map[string]func(*Input){
		"a topic without a role":  func(in *Input) { in.Topics["stray"] = nil },
		"a topic with two roles":  func(in *Input) { in.Jobs[0].DeadLetters = "jobs" },
		"a tier without a name":   func(in *Input) { in.Jobs[0].Tiers[0].Topic = "" },
		"a record is given twice": func(in *Input) { in.Topics["jobs"] = append(in.Topics["jobs"], in.Topics["jobs"][0]) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript()
			s.run(10, 20, "w1", 1, s.produce(0, 0, mail), ledger.Done)
			s.commit()
			spoil(&s.in)
			if res := Check(s.in); res.Counts[RuleInput] == 0 {
				t.Errorf("accepted:\n%s", res)
			}
		})
	}
}

func TestResultReads(t *testing.T) {
	s, p := goodRun()
	if text := Check(s.in).String(); !strings.Contains(text, "all rules hold") || !strings.Contains(text, "fault kill w1") {
		t.Errorf("a good run reads\n%s", text)
	}
	for i := range 2 * PerRule {
		s.run(1000+i, 1000+i, "w1", 10, p.plain, ledger.Done)
	}
	res := Check(s.in)
	if res.OK() || res.Counts[RuleI6] != 2*PerRule || len(res.Violations) >= 2*PerRule {
		t.Errorf("%d of %d violations kept", len(res.Violations), res.Counts[RuleI6])
	}
	for _, v := range res.Violations {
		if line := v.String(); strings.Contains(line, "\n") || !strings.HasPrefix(line, string(v.Rule)) {
			t.Errorf("not one line: %q", line)
		}
	}
	if text := res.String(); !strings.Contains(text, "BROKEN I6: 200") || strings.Contains(text, "all rules hold") {
		t.Error("a broken run reads like a good one")
	}
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil || back.Counts[RuleI6] != 2*PerRule || back.Account.Jobs.Records != 13 {
		t.Errorf("JSON lost something: %v", err)
	}
}

func TestAccountBalances(t *testing.T) {
	for _, c := range []struct {
		row  Row
		want bool
	}{
		{Row{Records: 3, Classes: map[Class]int{Done: 1, Dead: 1, Waiting: 1}}, true},
		{Row{Records: 3, Classes: map[Class]int{Done: 2, Lost: 1}}, false},
		{Row{Records: 3, Classes: map[Class]int{Done: 2}}, false},
		{Row{Records: 1, Classes: map[Class]int{Done: 1, Dead: 1}}, false},
		{Row{Records: 1, Classes: map[Class]int{Done: 1}, Doubled: 1}, false},
	} {
		if got := c.row.Balanced(); got != c.want {
			t.Errorf("%+v: %v", c.row, got)
		}
	}
}

func TestOffsets(t *testing.T) {
	o := Offsets{}
	o.Set("t", 1, 5)
	if o.At("t", 1, -1) != 5 || o.At("t", 0, -1) != -1 || o.At("u", 1, 7) != 7 {
		t.Error(o)
	}
}
