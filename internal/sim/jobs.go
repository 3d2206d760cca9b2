package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/waybill-dev/waybill/internal/checker"
	"github.com/waybill-dev/waybill/internal/ledger"
	"github.com/waybill-dev/waybill/internal/witness"
	"github.com/waybill-dev/waybill/job"
	"github.com/waybill-dev/waybill/processor"
)

// script is a payload that says how its handler behaves.
type script struct {
	N      int           `json:"n"`
	Fails  int           `json:"fails,omitempty"`  // attempts that fail before it ends
	Snooze bool          `json:"snooze,omitempty"` // the first look snoozes
	Slow   time.Duration `json:"slow,omitempty"`
	Panic  bool          `json:"panic,omitempty"`  // failing attempts panic
	After  time.Duration `json:"after,omitempty"`  // failing attempts ask for this delay
	Emits  int           `json:"emits,omitempty"`  // jobs its success emits
	Linger time.Duration `json:"linger,omitempty"` // between its effect and its end
	End    string        `json:"end,omitempty"`    // done, dead, discard; never ends: attempts are used up
	Again  uint32        `json:"again,omitempty"`  // redrives that end as the first generation did
}

type (
	keyed     struct{ script }
	parted    struct{ script }
	unordered struct{ script }
	batched   struct{ script }
	again     struct{ script } // at least once
	once      struct{ script } // at most once
	asked     struct{ script } // reconciled
	strictly  struct{ script } // in order through retries
	holding   struct{ script } // and a dead one holds its key
	soon      struct{ script } // may be enqueued again a window after its end
	until     struct{ script } // may be as soon as it has ended
)

func (keyed) Kind() string     { return "sim.keyed" }
func (parted) Kind() string    { return "sim.parted" }
func (unordered) Kind() string { return "sim.unordered" }
func (batched) Kind() string   { return "sim.batched" }
func (again) Kind() string     { return "sim.again" }
func (once) Kind() string      { return "sim.once" }
func (asked) Kind() string     { return "sim.asked" }
func (strictly) Kind() string  { return "sim.strictly" }
func (holding) Kind() string   { return "sim.holding" }
func (soon) Kind() string      { return "sim.soon" }
func (until) Kind() string     { return "sim.until" }

const (
	maxAttempts = 5
	soonWindow  = 8 * time.Second
)

var policy = job.Policy{MaxAttempts: maxAttempts, Timeout: 20 * time.Second}

var orders = witness.Orders{"sim.parted": job.ByPartition, "sim.unordered": job.Unordered, "sim.strictly": job.ByKeyStrict, "sim.holding": job.ByKeyStrict}

var guarantees = map[string]checker.Guarantee{"sim.again": checker.AtLeastOnce, "sim.once": checker.AtMostOnce, "sim.asked": checker.Reconciled}

// mux is the handlers of one process, each writing to that process's ledger; tight ones have no kind under job.UntilDone. happened asks the
// downstream about an effect.
func mux(sink ledger.Sink, tight bool, happened func(idempotencyKey string) bool) *processor.Mux {
	m := processor.NewMux()
	m.Use(witness.Middleware(sink, orders))
	processor.Handle(m, func(ctx context.Context, j *job.Job[keyed]) error { return play(ctx, sink, j.Message, j.Args.script) }, policy)
	repeats := policy
	repeats.Guarantee = job.AtLeastOnce
	processor.Handle(m, func(ctx context.Context, j *job.Job[again]) error { return play(ctx, sink, j.Message, j.Args.script) }, repeats)
	marked := policy
	marked.Guarantee = job.AtMostOnce
	processor.Handle(m, func(ctx context.Context, j *job.Job[once]) error { return play(ctx, sink, j.Message, j.Args.script) }, marked)
	reconciled := policy
	reconciled.Guarantee = job.Reconciled
	processor.Register(m, processor.Kind[asked]{Policy: reconciled,
		Handle:    func(ctx context.Context, j *job.Job[asked]) error { return play(ctx, sink, j.Message, j.Args.script) },
		Reconcile: func(_ context.Context, j *job.Job[asked]) (bool, error) { return happened(j.IdempotencyKey()), nil }})
	strict := policy
	strict.Order, strict.MaxFollowers = job.ByKeyStrict, 6
	processor.Handle(m, func(ctx context.Context, j *job.Job[strictly]) error {
		return play(ctx, sink, j.Message, j.Args.script)
	}, strict)
	strict.OnDead = job.Block
	processor.Handle(m, func(ctx context.Context, j *job.Job[holding]) error { return play(ctx, sink, j.Message, j.Args.script) }, strict)
	windowed := policy
	windowed.Window, windowed.MaxAge = soonWindow, soonWindow/2
	processor.Handle(m, func(ctx context.Context, j *job.Job[soon]) error { return play(ctx, sink, j.Message, j.Args.script) }, windowed)
	if windowed.Window, windowed.MaxAge = job.UntilDone, 0; !tight { // while it is registered nothing is set aside
		processor.Handle(m, func(ctx context.Context, j *job.Job[until]) error { return play(ctx, sink, j.Message, j.Args.script) }, windowed)
	}
	parts, free := policy, policy
	parts.Order, free.Order = job.ByPartition, job.Unordered
	free.Class = "free"
	free.Backoff = job.Backoff{Initial: 700 * time.Millisecond, Max: 20 * time.Second, Factor: 3}
	processor.Handle(m, func(ctx context.Context, j *job.Job[parted]) error { return play(ctx, sink, j.Message, j.Args.script) }, parts)
	processor.Handle(m, func(ctx context.Context, j *job.Job[unordered]) error {
		return play(ctx, sink, j.Message, j.Args.script)
	}, free)
	processor.Register(m, processor.Kind[batched]{Policy: policy, BatchSize: 8, Batch: func(ctx context.Context, js []*job.Job[batched]) []error {
		errs := make([]error, len(js))
		for i, j := range js {
			errs[i] = play(ctx, sink, j.Message, j.Args.script)
		}
		return errs
	}})
	return m
}

func play(ctx context.Context, sink ledger.Sink, m *job.Message, s script) error {
	if err := witness.Rest(ctx, s.Slow); err != nil {
		return err
	}
	if s.Snooze && m.Hop == 0 && m.Generation == 0 {
		return job.Snooze(1500 * time.Millisecond)
	}
	if m.Attempt <= s.Fails && m.Generation == 0 {
		switch {
		case s.Panic:
			panic(fmt.Sprintf("job %d panics", s.N))
		case s.After > 0:
			return job.RetryAfter(s.After, errors.New("busy"))
		}
		return errors.New("not yet")
	}
	if m.Generation <= s.Again {
		switch s.End {
		case "dead":
			return job.Dead(errors.New("hopeless"))
		case "discard":
			return job.Discard("superseded")
		}
	}
	for i := range s.Emits {
		if _, err := m.Emit(keyed{script{N: s.N*100 + i}}, nil); err != nil {
			return err
		}
	}
	witness.Applied(sink, m)
	return witness.Rest(ctx, s.Linger)
}

// enqueue is one record to be produced.
type enqueue struct {
	args   job.Args
	opts   job.Options
	intent string
	life   time.Duration // expires so long after it is enqueued; 0: never
	raw    *rawRecord
}

// rawRecord is a record that no producer of Waybill would write.
type rawRecord struct {
	key, value []byte
	headers    []job.Header
}

// workload is the jobs of a seed, in order.
func workload(r *rand.Rand, n int, redriven bool) []enqueue {
	var out []enqueue
	for i := range n {
		s := behaviour(r, i)
		e, complete := ofKind(r, s)
		if complete {
			out = append(out, e)
			continue
		}
		e.opts.ID = fmt.Sprintf("job-%d", i)
		if r.IntN(4) > 0 {
			e.opts.Key = fmt.Appendf(nil, "key-%d", r.IntN(7))
		}
		if r.IntN(20) == 0 {
			e.life = time.Duration(1+r.IntN(20)) * time.Second
			e.intent = "" // it depends on what else happens
		} else if r.IntN(12) == 0 {
			e.opts.At = time.Now().Add(time.Duration(r.IntN(90)) * time.Second)
		}
		out = append(out, e)
		switch r.IntN(14) {
		case 0: // the same job again
			again := e
			again.intent = ""
			out = append(out, again)
		case 1:
			out = append(out, strange(r, i))
		case 2: // the same identity with another payload
			other := e
			s.N += 1000
			other.args, other.intent = unordered{s}, ""
			if e.args.Kind() == other.args.Kind() {
				out = append(out, other)
			}
		}
	}
	for i := range out {
		if redriven && out[i].intent == "dead" {
			out[i].intent = "" // it ends otherwise once it is redriven
		}
	}
	return out
}

// heat gives half of the jobs that have a key the same one, and leaves out the kind under job.UntilDone.
func heat(r *rand.Rand, jobs []enqueue) {
	for i := range jobs {
		if e := &jobs[i]; e.opts.Key != nil && r.IntN(2) == 0 {
			e.opts.Key = []byte("key-0")
		}
		if u, ok := jobs[i].args.(until); ok {
			jobs[i].args = soon(u)
		}
	}
}

// ofKind is a job of some kind that behaves like that. One that may be enqueued again is complete.
func ofKind(r *rand.Rand, s script) (e enqueue, complete bool) {
	e = enqueue{intent: s.End}
	switch e.intent {
	case "":
		e.intent = string(ledger.OutcomeDone)
	case "discard":
		e.intent = string(ledger.OutcomeDiscarded)
	}
	switch r.IntN(19) {
	case 16, 17, 18:
		return enqueuedAgain(r, s), true
	case 12, 13, 14:
		e.args = strictly{s}
	case 15:
		if s.End == "dead" {
			e.intent = "" // what releases its key may end it otherwise
			s.Again = uint32(r.IntN(2))
		}
		e.args = holding{s}
	case 11:
		s.Linger = time.Duration(r.IntN(4000)) * time.Millisecond
		e.args = asked{s}
	case 10:
		e.args, e.intent = once{s}, "" // a crash may leave its outcome unknown
	case 0, 1, 2, 3:
		e.args = keyed{s}
	case 8, 9:
		e.args = again{s}
	case 4:
		e.args = parted{s}
	case 5:
		e.args = batched{s}
	default:
		e.args = unordered{s}
	}
	return e, false
}

// enqueuedAgain is one of a few jobs that may be enqueued again, mostly with the payload it always has.
func enqueuedAgain(r *rand.Rand, s script) (e enqueue) {
	n := r.IntN(5)
	if r.IntN(4) > 0 {
		s = script{N: 5000 + n}
		if n%2 == 0 {
			s.Slow = 500 * time.Millisecond
		}
	}
	e.args = until{s}
	if n < 2 {
		e.args = soon{s}
	}
	e.opts = job.Options{ID: fmt.Sprintf("again-%d", n), Key: fmt.Appendf(nil, "key-%d", n)}
	return e
}

func behaviour(r *rand.Rand, n int) script {
	s := script{N: n}
	switch r.IntN(10) {
	case 0:
		s.Fails = 1 + r.IntN(3)
	case 1:
		s.Fails, s.Panic = 1, true
	case 2:
		s.Fails, s.After = 1, time.Duration(1+r.IntN(15000))*time.Millisecond
	case 3:
		s.Fails, s.End = maxAttempts, "dead"
	case 4:
		s.End = "dead"
	case 5:
		s.End = "discard"
	case 6:
		s.Snooze = true
	}
	if r.IntN(6) == 0 {
		s.Emits = 1 + r.IntN(3)
	}
	if r.IntN(5) == 0 {
		s.Slow = time.Duration(r.IntN(3000)) * time.Millisecond
	}
	return s
}

// strange is a record of a kind nobody knows, without headers, malformed, or not decodable.
func strange(r *rand.Rand, n int) enqueue {
	raw := &rawRecord{key: fmt.Appendf(nil, "key-%d", r.IntN(7)), value: []byte("{")}
	h := func(k, v string) { raw.headers = append(raw.headers, job.Header{Key: k, Value: []byte(v)}) }
	e := enqueue{raw: raw, intent: "dead"}
	switch r.IntN(4) {
	case 0: // malformed: an id of control characters
		h(job.HeaderKind, "sim.keyed")
		h(job.HeaderID, fmt.Sprintf("\x00%d", n))
	case 1: // does not decode
		h(job.HeaderKind, "sim.unordered")
		h(job.HeaderID, fmt.Sprintf("torn-%d", n))
	case 2: // foreign, served by the topic's default kind
		raw.value, _ = json.Marshal(unordered{script{N: n}})
		raw.key = nil
		e.intent = "done"
	case 3: // a kind nobody knows: filed after KeepUnknown
		h(job.HeaderKind, "sim.unknown")
		h(job.HeaderID, fmt.Sprintf("unknown-%d", n))
	}
	return e
}
