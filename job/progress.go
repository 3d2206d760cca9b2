package job

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// MaxProgress bounds what a job's steps and its checkpoint may take together, encoded, in bytes: it stands in the receipt
// log, and in the memory of whoever owns the job. Results that are larger belong into a database, their keys here.
const MaxProgress = 4096

// MaxStepName bounds the name of a step, in bytes.
const MaxStepName = 64

// Keeper makes progress durable for the attempts it is lent to, see WithKeeper. It must be safe for concurrent use.
type Keeper interface {
	// Keep returns nil once state is durable: whoever runs the job next has it. The state is not changed afterwards.
	Keep(ctx context.Context, m *Message, state []byte) error
	// Start returns nil once a mark is durable that says that an attempt of m begins: whoever has the job next knows.
	Start(ctx context.Context, m *Message) error
}

type keeperKey struct{}

// WithKeeper lends k to the attempts that run under the returned context: an engine's affair. Without one, as in a test that
// calls a handler itself, progress lives and ends with its Message.
func WithKeeper(ctx context.Context, k Keeper) context.Context {
	return context.WithValue(ctx, keeperKey{}, k)
}

// Start has the begin of an attempt marked, for kinds whose guarantee is Marked: an engine's affair. Without a Keeper in ctx it
// does nothing.
func Start(ctx context.Context, m *Message) error {
	if k, ok := ctx.Value(keeperKey{}).(Keeper); ok {
		return k.Start(ctx, m)
	}
	return nil
}

// Step runs one step of a job at most once more than it succeeds: when run has returned nil, its result is durable before
// Step returns, and later attempts, wherever they run, get that result without a call. A step that fails, or whose process
// dies before its result is durable, is run again by the next attempt; pass m.StepKey(name) on to what can dedupe.
//
// The result is kept as JSON; all steps and the checkpoint of a job share MaxProgress bytes. A result that does not fit files
// the job as a dead letter: to retry would repeat the step. Names are 1 to MaxStepName bytes and stand once in an attempt;
// a loop numbers its steps. formerly are names the step had in earlier versions of the handler, oldest first: its result is
// found under each. Results of steps that no handler asks for any more are kept and do no harm.
//
// Errors of run are returned as they are, with the zero result. Any other error means that progress could not be made
// durable or read; the handler should return it.
func Step[R any](ctx context.Context, m *Message, name string, run func(ctx context.Context) (R, error), formerly ...string) (R, error) {
	var result R
	p := m.own()
	saved, found, err := p.begin(name, formerly)
	if err != nil {
		return result, err
	}
	if found {
		if err := json.Unmarshal(saved, &result); err != nil {
			return result, fmt.Errorf("job: the result of step %q, which is done, does not decode into %T: %w. Give the step another name to run it again", name, result, err)
		}
		return result, nil
	}
	if result, err = run(ctx); err != nil {
		var zero R
		return zero, err
	}
	b, err := json.Marshal(result)
	if err != nil {
		return result, Dead(fmt.Errorf("job: the result of step %q cannot be kept: %w", name, err))
	}
	return result, p.keep(ctx, m, func(s *state) { s.steps = append(s.steps, step{name, b}) }, "the result of step "+name)
}

// StepKey is the stable name of the one effect of a step, as IdempotencyKey is of a job.
func (m *Message) StepKey(name string) string { return m.IdempotencyKey() + "/" + name }

// Checkpoint makes v durable, as JSON, in place of the checkpoint before: whoever runs the job next finds it with Resume.
// When it returns nil a SIGKILL loses nothing. It takes a round trip to the brokers; a handler that reads a large file calls
// it every few seconds and not for every line. The size is bounded, see MaxProgress; an error about that files the job.
func (m *Message) Checkpoint(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("job: the checkpoint cannot be kept: %w", err)
	}
	return m.own().keep(ctx, m, func(s *state) { s.point = b }, "the checkpoint")
}

// Resume decodes the last checkpoint of the job into v, a pointer, and reports whether there was one.
func (m *Message) Resume(v any) (bool, error) {
	p := m.own()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil || p.state.point == nil {
		return false, err
	}
	if err := json.Unmarshal(p.state.point, v); err != nil {
		return false, fmt.Errorf("job: the checkpoint does not decode into %T: %w", v, err)
	}
	return true, nil
}

// Restore begins an attempt with what earlier ones kept, nil for nothing: an engine's affair. The bytes are aliased.
func (m *Message) Restore(kept []byte) {
	if m.progress == nil && len(kept) == 0 {
		return
	}
	m.progress = &progress{raw: kept, last: kept}
}

// Progress is what the next attempt is to be restored with, nil for nothing. It must not be changed.
func (m *Message) Progress() []byte {
	if m.progress == nil {
		return nil
	}
	m.progress.mu.Lock()
	defer m.progress.mu.Unlock()
	return m.progress.last
}

// own is the progress of this attempt. An engine restores what there is before the attempt begins, so that nobody makes two.
func (m *Message) own() *progress {
	if p := m.progress; p != nil {
		return p
	}
	m.progress = &progress{}
	return m.progress
}

// progress is that of one attempt. Steps of one job may run side by side once the first has been called.
type progress struct {
	mu     sync.Mutex
	raw    []byte // as restored, not looked into yet
	state  state
	last   []byte // encoded
	called []string
}

type step struct {
	name   string
	result []byte
}

type state struct {
	order ProgressOrder
	steps []step
	point []byte // checkpoint; nil for none
}

// open decodes what was restored. The caller holds p.mu.
func (p *progress) open() (err error) {
	if p.raw == nil {
		return nil
	}
	if p.state, err = decodeState(p.raw); err != nil {
		return fmt.Errorf("job: what earlier attempts kept cannot be read: %w", err)
	}
	p.raw = nil
	return nil
}

func (p *progress) begin(name string, formerly []string) (saved []byte, found bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := text("step", name, MaxStepName); err != nil || name == "" {
		return nil, false, Dead(fmt.Errorf("job: %q is no name of a step: use 1 to %d bytes of printable text", name, MaxStepName))
	}
	if slices.Contains(p.called, name) {
		return nil, false, Dead(fmt.Errorf("job: step %q was called twice in one attempt: number the steps of a loop", name))
	}
	p.called = append(p.called, name)
	if err := p.open(); err != nil {
		return nil, false, err
	}
	for _, s := range p.state.steps {
		if s.name == name || slices.Contains(formerly, s.name) {
			return s.result, true, nil
		}
	}
	return nil, false, nil
}

// keep changes the state and makes it durable. What happened stays in memory when that fails: a retry by this process is
// told of it all the same.
func (p *progress) keep(ctx context.Context, m *Message, change func(*state), what string) error {
	p.mu.Lock()
	if err := p.open(); err != nil {
		p.mu.Unlock()
		return err
	}
	next := state{order: p.state.order, steps: slices.Clip(p.state.steps), point: p.state.point}
	next.order.Number++
	change(&next)
	b := next.encode()
	if len(b) > MaxProgress {
		p.mu.Unlock()
		return Dead(fmt.Errorf("job: %s does not fit: steps and checkpoint of the job would take %d bytes, %d is the most. Keep large results in a database and return their keys", what, len(b), MaxProgress))
	}
	p.state, p.last = next, b
	p.mu.Unlock()
	k, ok := ctx.Value(keeperKey{}).(Keeper)
	if !ok {
		return nil
	}
	if err := k.Keep(ctx, m, b); err != nil {
		return fmt.Errorf("job: %s is not known to be durable: %w", what, err)
	}
	return nil
}

// ProgressOrder tells which of two states of a job is the later one: the epoch of the owner that made it durable, then how
// often the job had kept something. An owner knows all that was durable when it began, so its states stand above those that a
// predecessor makes durable although the job is no longer its own.
type ProgressOrder struct {
	Epoch  int64
	Number uint64
}

// OrderOfProgress reads the order of an encoded state; ok is false for bytes that are none, and for nil.
func OrderOfProgress(b []byte) (o ProgressOrder, ok bool) {
	if len(b) < orderAt {
		return o, false
	}
	n, size := binary.Uvarint(b[orderAt:])
	return ProgressOrder{int64(binary.BigEndian.Uint64(b[1:])), n}, size > 0
}

// After reports whether o is later than p.
func (o ProgressOrder) After(p ProgressOrder) bool {
	return o.Epoch > p.Epoch || o.Epoch == p.Epoch && o.Number > p.Number
}

// StampProgress is an encoded state as its owner of that epoch makes it durable: a copy. Bytes that are no state are as they
// were.
func StampProgress(b []byte, epoch int64) []byte {
	if len(b) < orderAt {
		return b
	}
	b = slices.Clone(b)
	binary.BigEndian.PutUint64(b[1:], uint64(epoch))
	return b
}

// The encoding: 1 byte version, now 1; the epoch, 8 bytes big endian; uvarint, how often something was kept; these three are
// the same in every version to come. Then uvarint number of steps, each a name and a result; the checkpoint, empty for none.
// Texts are a uvarint length and that many bytes. JSON is never empty, so an empty checkpoint is none.
const (
	stateVersion = 1
	orderAt      = 9
)

func (s *state) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{stateVersion}, uint64(s.order.Epoch))
	b = binary.AppendUvarint(b, s.order.Number)
	b = binary.AppendUvarint(b, uint64(len(s.steps)))
	for _, x := range s.steps {
		b = appendText(b, x.name)
		b = appendText(b, x.result)
	}
	return appendText(b, s.point)
}

func appendText[T string | []byte](b []byte, t T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(t))), t...)
}

func decodeState(b []byte) (s state, err error) {
	if b[0] != stateVersion {
		return state{}, fmt.Errorf("it is of version %d, this Waybill reads version %d: upgrade it", b[0], stateVersion)
	}
	var ok bool
	if s.order, ok = OrderOfProgress(b); !ok {
		return state{}, errors.New("it is damaged")
	}
	_, n := binary.Uvarint(b[orderAt:])
	rest, bad := b[orderAt+n:], false
	number := func() uint64 {
		v, n := binary.Uvarint(rest)
		if n <= 0 || v > MaxProgress {
			bad = true
			return 0
		}
		rest = rest[n:]
		return v
	}
	next := func() []byte {
		n := number()
		if n > uint64(len(rest)) {
			bad = true
			return nil
		}
		t := rest[:n:n]
		rest = rest[n:]
		return t
	}
	for range number() {
		name := next()
		result := next()
		if bad {
			break
		}
		s.steps = append(s.steps, step{string(name), result})
	}
	if t := next(); len(t) > 0 {
		s.point = t
	}
	if bad || len(rest) > 0 {
		return state{}, errors.New("it is damaged")
	}
	return s, nil
}
