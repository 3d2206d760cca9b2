package task

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
)

var update = flag.Bool("update", false, "write what the scripts in testdata say now as what they should say")

// TestScripts plays the stories in testdata. A script is commands, one a line, in blocks; after "----" stands what the world
// said to a block, up to an empty line. Lines that begin with # are comments and stay.
//
//	produce KIND ID [key=K] [payload=P] [at=D] [expires=D]   a job, instants as durations from now
//	assign P [TIER...]      P becomes the member of the group and gets the task, with these tiers (all)
//	go P                    everything that needs no handler, record or time: produces land and are acked, reads, proofs, commits
//	land P | ack P          the oldest log record of P lands (whole); its ack reaches P
//	writes P land|ack|refuse|toolarge   the same for all copies, letters and audit entries on the way
//	read P | prove P | commit P         one answer, one commit
//	fetch P                 all records that flow
//	end P KIND/ID ok|fail|dead|discard|cancel|snooze D|after D
//	tick P | wait D         a durable tick; time passes
//	revoke P | abandon P | crash P | expel P (it does not notice)
//	orphans                 what crashed processes sent lands
//	redrive KIND/ID [PAYLOAD]           the newest letter of that job
//	rewind N | lose         an operator sets the group's offset of the job topic; the group's offsets are lost
//	show                    topics, receipts, frontiers in force, committed offsets, letters
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(text))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s says something else (-update writes it):\n%s", file, difference(string(text), got))
			}
		})
	}
}

func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, w[i], g[i])
		}
	}
	return fmt.Sprintf("%d lines instead of %d", len(g), len(w))
}

type script struct {
	*world
	out []string
}

// play runs a script and returns it with what the world says now.
func play(t *testing.T, text string) string {
	s := &script{world: newWorld()}
	s.trace = func(format string, a ...any) { s.out = append(s.out, "  "+fmt.Sprintf(format, a...)) }
	var b strings.Builder
	expected := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case expected:
			if line == "" {
				expected = false
				b.WriteString("\n")
			}
		case line == "----":
			expected = true
			b.WriteString("----\n")
			for _, o := range s.out {
				b.WriteString(o + "\n")
			}
			s.out = nil
		default:
			b.WriteString(line + "\n")
			if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
				if err := s.do(f); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				s.check()
			}
		}
	}
	if s.violation != "" {
		t.Error(s.violation)
	}
	if len(s.out) > 0 {
		t.Errorf("the script ends without ----: %v", s.out)
	}
	return b.String()
}

func (s *script) do(f []string) error {
	switch f[0] {
	case "produce":
		return s.doProduce(f[1], f[2], f[3:])
	case "wait":
		d, err := time.ParseDuration(f[1])
		s.now += int64(d)
		return err
	case "assign":
		var tiers []string
		if len(f) > 2 {
			tiers = f[2:]
		}
		s.assign(f[1], tiers...)
	case "orphans":
		for ; len(s.orphans) > 0; s.orphans = s.orphans[1:] {
			s.orphans[0].landAll()
		}
	case "redrive":
		return s.doRedrive(f[1:])
	case "rewind":
		n, err := strconv.ParseInt(f[1], 10, 64)
		s.committed["main"], s.rewound, s.member = place{n, false}, true, nil
		return err
	case "lose":
		clear(s.committed)
	case "show":
		s.show()
	default:
		i := slices.IndexFunc(s.procs, func(p *proc) bool { return len(f) > 1 && p.name == f[1] })
		if i < 0 {
			return fmt.Errorf("no such command or process")
		}
		return s.doProc(s.procs[i], f[0], f[2:])
	}
	return nil
}

func (s *script) doProduce(kind, id string, options []string) error {
	m := msg(kind, id, "")
	for _, o := range options {
		name, value, _ := strings.Cut(o, "=")
		d, err := time.ParseDuration(value)
		switch name {
		case "key":
			m.Key = []byte(value)
		case "payload":
			m.Payload = []byte(value)
		case "at":
			m.At = s.time().Add(d)
		case "expires":
			m.Expires = s.time().Add(d)
		default:
			return fmt.Errorf("no option %s", name)
		}
		if (name == "at" || name == "expires") && err != nil {
			return err
		}
	}
	s.produce(m)
	return nil
}

func (s *script) doRedrive(f []string) error {
	for _, l := range slices.Backward(s.letters) {
		if s.name(l.env.Identity) == f[0] {
			payload := l.env.Payload
			if len(f) > 1 {
				payload = []byte(f[1])
			}
			s.redrive(l, payload)
			return nil
		}
	}
	return fmt.Errorf("no letter of %s", f[0])
}

func (s *script) doProc(p *proc, what string, f []string) error {
	switch what {
	case "go":
		p.settleDown()
	case "land":
		p.logq[0].landAll()
	case "ack":
		return p.logq[0].answerLog()
	case "writes":
		return s.doWrites(p, f[0])
	case "read":
		p.readSome(1000)
	case "prove":
		p.heartbeat()
		p.prove()
	case "commit":
		p.commit()
	case "fetch":
		p.fetchAll()
	case "tick":
		p.tick(true)
	case "revoke":
		p.m.Revoke(s.now)
		p.carry()
	case "abandon":
		p.m.Abandon(s.now)
		p.carry()
	case "crash":
		p.crash()
	case "expel":
		s.member = nil
	case "end":
		return s.doEnd(p, f)
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

func (s *script) doWrites(p *proc, how string) error {
	results := map[string]WriteResult{"ack": Acked, "refuse": Refused, "toolarge": TooLarge}
	for _, x := range slices.Clone(p.writes) {
		if how == "land" || how == "ack" && x.landed == 0 {
			x.landWrite()
		}
		if how != "land" {
			x.res = results[how]
			x.answer()
		}
	}
	return nil
}

func (s *script) doEnd(p *proc, f []string) error {
	outcomes := map[string]job.Outcome{"ok": success, "fail": failure, "after": failure, "dead": {Verdict: job.VerdictDead, Code: job.CodeDead},
		"discard": {Verdict: job.VerdictDiscard, Code: job.CodeDiscarded}, "cancel": {Verdict: job.VerdictCancelled, Code: job.CodeCancelled},
		"snooze": {Verdict: job.VerdictSnooze, Code: job.CodeSnoozed}}
	o, ok := outcomes[f[1]]
	if !ok {
		return fmt.Errorf("no outcome %s", f[1])
	}
	if len(f) > 2 {
		d, err := time.ParseDuration(f[2])
		if err != nil {
			return err
		}
		o.Delay = d
	}
	for _, e := range p.pool {
		if s.name(e.env.Identity) == f[0] {
			p.end([]*Entry{e}, o)
			return nil
		}
	}
	return fmt.Errorf("%s does not run", f[0])
}

func (s *script) show() {
	f := &s.folds[len(s.folds)-1]
	for _, t := range s.topics {
		at, committed := "none", "none"
		if x, ok := f.fr[t.id]; ok {
			at = fmt.Sprint(x)
		}
		if c, ok := s.committed[t.name]; ok {
			committed = fmt.Sprint(c.at)
			if !c.ours {
				committed += " by an operator"
			}
		}
		s.trace("%s: %d records, frontier %s, committed %s", t.name, len(t.recs), at, committed)
	}
	var lines []string
	for id, x := range f.facts {
		lines = append(lines, fmt.Sprintf("%s: %s gen %d hop %d", s.name(id), x.state, x.gen, x.hop))
	}
	slices.Sort(lines)
	for _, l := range lines {
		s.trace("receipt %s", l)
	}
	for _, l := range s.letters {
		s.trace("letter %s gen %d: %s", s.name(l.env.Identity), l.env.Generation, l.disp)
	}
}
