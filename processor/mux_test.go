package processor_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

type named struct{ name string }

func (n *named) Kind() string { return n.name } // empty for a new one

type derefs struct{ inner *named }

func (d derefs) Kind() string { return d.inner.name } // panics on the zero value

type other struct{}

func (other) Kind() string { return "other" }

func ok(context.Context, *job.Job[mail]) error { return nil }

func oks(_ context.Context, js []*job.Job[mail]) []error { return make([]error, len(js)) }

func up(_ int, p []byte) ([]byte, error) { return p, nil }

func TestCompileFaults(t *testing.T) {
	kind := func(k processor.Kind[mail]) func(*processor.Mux) {
		return func(m *processor.Mux) { processor.Register(m, k) }
	}
	for _, c := range []struct {
		name string
		add  func(*processor.Mux)
		want []string
	}{
		{"nothing", func(*processor.Mux) {}, []string{"no kind is registered"}},
		{"no handler", kind(processor.Kind[mail]{}), []string{`kind "mail"`, "neither Handle nor Batch"}},
		{"nil handler", func(m *processor.Mux) { processor.Handle[mail](m, nil) }, []string{"neither Handle nor Batch"}},
		{"two handlers", kind(processor.Kind[mail]{Handle: ok, Batch: oks}), []string{"both Handle and Batch"}},
		{"batch size alone", kind(processor.Kind[mail]{Handle: ok, BatchSize: 3}), []string{"BatchSize: 3 is set without Batch"}},
		{"all at once", kind(processor.Kind[mail]{
			Batch: oks, BatchSize: -1, Version: -2, Aliases: []string{"", "a b"}, Use: []processor.Middleware{nil},
			Policy: job.Policy{Timeout: -2, MaxAttempts: -1},
		}), []string{
			"BatchSize: -1", "Version: -2", "Aliases[0]: kind is empty", "Aliases[1]", "Use[0]", "Policy.Timeout", "Policy.MaxAttempts",
		}},
		{"upcast to 0", kind(processor.Kind[mail]{Handle: ok, Upcast: up}), []string{"Upcast: is set"}},
		{"policies", func(m *processor.Mux) { processor.Handle(m, ok, job.Policy{}, job.Policy{}) }, []string{"2 policies"}},
		{"nil global", func(m *processor.Mux) { processor.Handle(m, ok); m.Use(nil) }, []string{"Mux.Use: middleware 0 is nil"}},
		{"name twice", func(m *processor.Mux) { processor.Handle(m, ok); processor.Handle(m, ok) },
			[]string{`the name "mail" is already taken by kind "mail"`}},
		{"alias is a name", func(m *processor.Mux) {
			processor.Handle(m, func(context.Context, *job.Job[other]) error { return nil })
			processor.Register(m, processor.Kind[mail]{Handle: ok, Aliases: []string{"other"}})
		}, []string{`kind "mail": the name "other" is already taken by kind "other"`}},
		{"alias twice", kind(processor.Kind[mail]{Handle: ok, Aliases: []string{"a", "a"}}), []string{`"a" is already taken`}},
		{"alias is own name", kind(processor.Kind[mail]{Handle: ok, Aliases: []string{"mail"}}), []string{`"mail" is already taken`}},
		{"no name", func(m *processor.Mux) {
			processor.Handle(m, func(context.Context, *job.Job[*named]) error { return nil })
		}, []string{"*processor_test.named", "kind is empty"}},
		{"name panics", func(m *processor.Mux) {
			processor.Handle(m, func(context.Context, *job.Job[derefs]) error { return nil })
		}, []string{"method Kind panics on the zero value"}},
		{"interface", func(m *processor.Mux) {
			processor.Handle(m, func(context.Context, *job.Job[job.Args]) error { return nil })
		}, []string{"interface type"}},
		{"middleware gives nothing", func(m *processor.Mux) {
			processor.Handle(m, ok)
			m.Use(func(processor.Handler) processor.Handler { return nil })
		}, []string{"middleware 0 of 1 returned no handler"}},
		{"middleware panics", kind(processor.Kind[mail]{Handle: ok, Use: []processor.Middleware{
			func(processor.Handler) processor.Handler { panic("no wrapping") }}}), []string{`kind "mail"`, "no wrapping"}},
		{"two kinds at fault", func(m *processor.Mux) {
			processor.Register(m, processor.Kind[mail]{})
			processor.Register(m, processor.Kind[other]{})
		}, []string{`kind "mail"`, `kind "other"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := processor.NewMux()
			c.add(m)
			s, err := m.Compile()
			if err == nil || s != nil {
				t.Fatalf("Compile = %v, %v; want an error", s, err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error lacks %q:\n%v", w, err)
				}
			}
		})
	}
}

func TestSet(t *testing.T) {
	var m processor.Mux // the zero value works
	aliases := []string{"post", "letter"}
	links := []string{"https://example.com/runbook"}
	processor.Register(&m, processor.Kind[mail]{Batch: oks, Version: 2, Upcast: up, Aliases: aliases, Card: processor.Card{Owner: "post", Links: links}})
	processor.Handle(&m, func(context.Context, *job.Job[other]) error { return nil }, job.Policy{Timeout: time.Second, Class: "slow"})
	aliases[0], links[0] = "changed", "changed"
	s := compile(t, &m)

	p := s.Lookup("mail")
	if p == nil || s.Lookup("post") != p || s.Lookup("letter") != p || s.Lookup("changed") != nil || s.Lookup("") != nil {
		t.Fatal("Lookup does not resolve the name and its aliases, and nothing else")
	}
	if p.Name() != "mail" || p.FirstName() != "post" || p.Version() != 2 || p.BatchSize() != processor.DefaultBatchSize {
		t.Errorf("got %s, first %s, version %d, batch %d", p.Name(), p.FirstName(), p.Version(), p.BatchSize())
	}
	if got := p.Policy(); got != (job.Policy{}).WithDefaults() {
		t.Errorf("Policy() = %+v, want the defaults", got)
	}
	if c := p.Card(); c.Owner != "post" || c.Links[0] != "https://example.com/runbook" {
		t.Errorf("Card() = %+v", c)
	}
	p.Card().Links[0] = "changed"
	if p.Card().Links[0] == "changed" {
		t.Error("Card() hands out its own slice")
	}
	o := s.Lookup("other")
	if o.FirstName() != "other" || o.BatchSize() != 0 || o.Policy().Timeout != time.Second || o.Policy().Class != "slow" {
		t.Errorf("other: first %s, batch %d, policy %+v", o.FirstName(), o.BatchSize(), o.Policy())
	}
	names := s.Names()
	if want := map[string]*processor.Processor{"mail": p, "post": p, "letter": p, "other": o}; !reflect.DeepEqual(names, want) {
		t.Errorf("Names() = %v", names)
	}
	clear(names)
	if s.Lookup("mail") != p {
		t.Error("Names() hands out its own map")
	}
	all := s.Processors()
	if !reflect.DeepEqual(all, []*processor.Processor{p, o}) {
		t.Errorf("Processors() = %v", all)
	}
	all[0] = nil
	if s.Processors()[0] != p {
		t.Error("Processors() hands out its own slice")
	}
}

func TestCompileAgainLeavesTheFirstSetAlone(t *testing.T) {
	m := processor.NewMux()
	processor.Handle(m, ok)
	first := compile(t, m)
	processor.Handle(m, func(context.Context, *job.Job[other]) error { return nil })
	m.Use(each(func(context.Context, *job.Message, processor.Handler) error { return job.Dead(nil) }))
	second := compile(t, m)
	if first.Lookup("other") != nil || second.Lookup("other") == nil {
		t.Error("the first set has changed, or the second lacks what was added")
	}
	if got := first.Lookup("mail").Run(t.Context(), message("a")); got.Verdict != job.VerdictDone {
		t.Errorf("middleware added later runs in the first set: %+v", got)
	}
	if got := second.Lookup("mail").Run(t.Context(), message("a")); got.Verdict != job.VerdictDead {
		t.Errorf("middleware does not run in the second set: %+v", got)
	}
}
