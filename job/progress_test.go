package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// shelf is a Keeper that keeps in memory.
type shelf struct {
	kept []byte
	err  error
}

func (s *shelf) Start(context.Context, *Message) error { return nil }

func (s *shelf) Keep(_ context.Context, _ *Message, state []byte) error {
	if s.err == nil {
		s.kept = state
	}
	return s.err
}

func (s *shelf) number() uint64 {
	o, _ := OrderOfProgress(s.kept)
	return o.Number
}

// next is the message of the next attempt.
func (s *shelf) next() *Message {
	m := &Message{}
	m.Restore(s.kept)
	return m
}

func TestStepRunsUntilItHasSucceeded(t *testing.T) {
	s := &shelf{}
	ctx := WithKeeper(t.Context(), s)
	calls := map[string]int{}
	attempt := func(m *Message, failing string) error {
		for _, name := range []string{"charge", "ship", "mail"} {
			got, err := Step(ctx, m, name, func(context.Context) (string, error) {
				calls[name]++
				if name == failing {
					return "half", errors.New("down")
				}
				return name + "-1", nil
			})
			if err != nil {
				if got != "" {
					t.Errorf("a failed step returned %q", got)
				}
				return err
			}
			if got != name+"-1" {
				t.Errorf("%s: %q", name, got)
			}
		}
		return nil
	}
	if err := attempt(&Message{}, "ship"); err == nil || err.Error() != "down" {
		t.Errorf("%v, want the step's own error", err)
	}
	if err := attempt(s.next(), "mail"); err == nil {
		t.Error("no error")
	}
	if err := attempt(s.next(), ""); err != nil {
		t.Error(err)
	}
	if calls["charge"] != 1 || calls["ship"] != 2 || calls["mail"] != 2 || s.number() != 3 {
		t.Errorf("%v, number %d", calls, s.number())
	}
}

func TestStepsThatChange(t *testing.T) {
	s := &shelf{}
	ctx := WithKeeper(t.Context(), s)
	seven := func(context.Context) (int, error) { return 7, nil }
	no := func(context.Context) (int, error) { t.Error("the step ran again"); return 0, nil }
	if _, err := Step(ctx, &Message{}, "bill", seven); err != nil {
		t.Fatal(err)
	}
	if n, err := Step(ctx, s.next(), "charge", no, "invoice", "bill"); n != 7 || err != nil {
		t.Errorf("under its new name: %d, %v", n, err)
	}
	if n, err := Step(ctx, s.next(), "another", seven); n != 7 || err != nil {
		t.Errorf("beside one that nobody asks for: %d, %v", n, err)
	}
	if n, err := Step(ctx, s.next(), "bill", no); n != 7 || err != nil {
		t.Errorf("asked for again: %d, %v", n, err)
	}
	_, err := Step(ctx, s.next(), "bill", func(context.Context) (string, error) { t.Error("the step ran again"); return "", nil })
	if err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("of another type: %v", err)
	}
}

func TestStepRefuses(t *testing.T) {
	s := &shelf{}
	ctx := WithKeeper(t.Context(), s)
	ok := func(context.Context) (string, error) { return "", nil }
	m := &Message{}
	for _, name := range []string{"", "a\nb", strings.Repeat("x", MaxStepName+1)} {
		if _, err := Step(ctx, m, name, ok); Classify(err).Verdict != VerdictDead {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Step(ctx, m, "twice", ok); err != nil {
		t.Error(err)
	}
	if _, err := Step(ctx, m, "twice", ok); Classify(err).Verdict != VerdictDead || !strings.Contains(err.Error(), "number the steps") {
		t.Errorf("%v", err)
	}
	_, err := Step(ctx, m, "large", func(context.Context) (string, error) { return strings.Repeat("x", MaxProgress), nil })
	if Classify(err).Verdict != VerdictDead || !strings.Contains(err.Error(), fmt.Sprint(MaxProgress)) {
		t.Errorf("%v", err)
	}
	if _, err := Step(ctx, m, "func", func(context.Context) (func(), error) { return func() {}, nil }); Classify(err).Verdict != VerdictDead {
		t.Errorf("%v", err)
	}
	if _, err := Step(ctx, m, "after", ok); err != nil || len(s.kept) > 100 {
		t.Errorf("%v, %d bytes", err, len(s.kept))
	}
}

func TestStepThatIsNotDurable(t *testing.T) {
	s := &shelf{err: context.Canceled}
	m := &Message{}
	n, err := Step(WithKeeper(t.Context(), s), m, "one", func(context.Context) (int, error) { return 1, nil })
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
	if m.Progress() == nil {
		t.Error("a retry by this process does not know of the step")
	}
}

func TestCheckpoint(t *testing.T) {
	s := &shelf{}
	ctx := WithKeeper(t.Context(), s)
	type place struct{ Line int }
	var at place
	if ok, err := (&Message{}).Resume(&at); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	m := &Message{}
	for i := range 3 {
		if err := m.Checkpoint(ctx, place{i}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Step(ctx, m, "a step", func(context.Context) (int, error) { return 1, nil }); err != nil {
		t.Fatal(err)
	}
	m = s.next()
	if ok, err := m.Resume(&at); !ok || err != nil || at.Line != 2 || s.number() != 4 {
		t.Errorf("%v, %v, %+v, number %d", ok, err, at, s.number())
	}
	if ok, err := m.Resume(new(string)); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
	if err := m.Checkpoint(ctx, strings.Repeat("x", MaxProgress)); Classify(err).Verdict != VerdictDead {
		t.Errorf("%v", err)
	}
}

func TestProgressThatCannotBeRead(t *testing.T) {
	const zeros = "\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, raw := range []string{"\x02", "\x01", "\x01" + zeros, "\x01" + zeros + "\x01", "\x01" + zeros + "\x01\x01", "\x01" + zeros + "\x01\x00\x05ab", "\x01" + zeros + "\x01\x00\x00x",
		"\x02" + zeros + "\x01\x00\x00", "\x01" + zeros + "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x01" + zeros + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		m := &Message{}
		m.Restore([]byte(raw))
		if ok, err := m.Resume(new(int)); ok || err == nil {
			t.Errorf("%x: %v, %v", raw, ok, err)
		}
		if _, err := Step(t.Context(), m, "a", func(context.Context) (int, error) { t.Error("ran"); return 0, nil }); err == nil {
			t.Errorf("%x: no error", raw)
		}
		if string(m.Progress()) != raw {
			t.Errorf("%x: what a newer Waybill may read is lost", raw)
		}
	}
}

func TestProgressEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := state{order: ProgressOrder{rapid.Int64().Draw(t, "epoch"), rapid.Uint64().Draw(t, "number")}}
		for range rapid.IntRange(0, 4).Draw(t, "steps") {
			s.steps = append(s.steps, step{rapid.StringN(1, 9, 64).Draw(t, "name"), rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "result")})
		}
		if rapid.Bool().Draw(t, "point") {
			s.point = rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "checkpoint")
		}
		got, err := decodeState(s.encode())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(s) {
			t.Fatalf("%v: %v, %v", s, got, err)
		}
		stamped := StampProgress(s.encode(), 77)
		o, ok := OrderOfProgress(stamped)
		if again, err := decodeState(stamped); !ok || o != (ProgressOrder{77, s.order.Number}) || err != nil || fmt.Sprint(again.steps, again.point) != fmt.Sprint(s.steps, s.point) {
			t.Fatalf("stamped: %v, %v, %v", o, again, err)
		}
	})
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9, 2, 1, 1, 'a', 1, '7', 2, '4', '2'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		s, err := decodeState(b)
		if err != nil {
			return
		}
		if again, err := decodeState(s.encode()); err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Fatalf("%v, %v", again, err)
		}
	})
}

type child struct{ N int }

func (child) Kind() string { return "child" }

func TestEmit(t *testing.T) {
	m := &Message{Correlation: "c", Headers: []Header{{Key: "traceparent", Value: []byte("00-1")}, {Key: "other", Value: []byte("x")}}}
	m.Identity = IdentityOf("parent", []byte("k"), "1")
	parent := m.Identity.String()
	for i, want := range []string{parent + "/child/0", parent + "/child/1"} {
		if id, err := m.Emit(child{i}, nil); err != nil || id != want {
			t.Errorf("%q, %v, want %q", id, err, want)
		}
	}
	key := []byte("key")
	id, err := m.EmitRaw("other", []byte("raw"), "text/plain", &Options{ID: "mine", Key: key, Correlation: "d", Headers: []Header{{Key: "traceparent", Value: []byte("00-2")}}})
	key[0] = 'x'
	if id != "mine" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	if id, err := m.Emit(child{9}, &Options{DeterministicID: true}); id != "" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
	es := *m.Emitted
	if e := es[1]; string(e.Payload) != `{"N":1}` || e.ContentType != "application/json" || e.Options.Correlation != "c" ||
		len(e.Options.Headers) != 1 || string(e.Options.Headers[0].Value) != "00-1" {
		t.Errorf("%+v", e)
	}
	if e := es[2]; !bytes.Equal(e.Options.Key, []byte("key")) || e.Options.Correlation != "d" || len(e.Options.Headers) != 1 || string(e.Options.Headers[0].Value) != "00-2" {
		t.Errorf("%+v", e)
	}
}

func TestEmitRefuses(t *testing.T) {
	m := &Message{}
	for name, emit := range map[string]func() (string, error){
		"kind":     func() (string, error) { return m.EmitRaw("no kind", nil, "", nil) },
		"id":       func() (string, error) { return m.Emit(child{}, &Options{ID: "a\nb"}) },
		"two ids":  func() (string, error) { return m.Emit(child{}, &Options{ID: "a", DeterministicID: true}) },
		"reserved": func() (string, error) { return m.Emit(child{}, &Options{Headers: []Header{{Key: HeaderHop}}}) },
	} {
		if _, err := emit(); err == nil || m.Emitted != nil {
			t.Errorf("%s: %v, %v", name, err, m.Emitted)
		}
	}
	for range MaxEmissions {
		if _, err := m.EmitRaw("child", nil, "", &Options{ID: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.EmitRaw("child", nil, "", &Options{ID: "x"}); err == nil {
		t.Error("no bound")
	}
}
