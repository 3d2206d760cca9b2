package processor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/waybill-dev/waybill/job"
)

// DefaultBatchSize is how many jobs a Batch is given at most, unless Kind.BatchSize says otherwise.
const DefaultBatchSize = 100

// Kind is the full registration of the kind that T names. Exactly one of Handle and Batch is required; the zero value of
// every other field is its default.
type Kind[T job.Args] struct {
	// Handle handles one job. See Handler for what its error means.
	Handle func(ctx context.Context, j *job.Job[T]) error
	// Batch handles several jobs at once, in the order given, and returns one error for each, at its index; a nil slice is
	// not "all done" but a wrong number of errors. A wrong number, or a panic, fails every job that has no error of its own.
	// Policy.Timeout bounds the whole call. It must not use the jobs after it returned.
	//
	// The ctx is that of the whole batch: what middleware puts into the context of a message is not in it.
	Batch func(ctx context.Context, js []*job.Job[T]) []error
	// Reconcile is asked, instead of Handle being called, of a job with an attempt that nobody knows the end of: its process died
	// or lost the task meanwhile. true: the effect happened, the job is done; false: it did not, and Handle is called next, in the
	// same attempt. Its errors are Handle's: the job is retried, and Reconcile asked again. Required for job.Reconciled,
	// and only there.
	Reconcile func(ctx context.Context, j *job.Job[T]) (happened bool, err error)
	// BatchSize is the most jobs Batch is given at once. Defaults to DefaultBatchSize; set it only with Batch.
	BatchSize int

	// Version of the payload's shape that this code knows. Payloads of a later version are not handled here. Defaults to 0.
	Version int
	// Upcast turns a payload of an older version into one of Version. Without it older payloads are decoded as they are,
	// which suits shapes that only ever gained optional fields. It needs a Version above 0, and must not change the slice
	// it is given nor keep it.
	Upcast func(from int, payload []byte) ([]byte, error)
	// Aliases are the kind's former names, OLDEST FIRST. Jobs under them are handled as this kind. Identity is taken over
	// the first of them, so that a renamed kind keeps its receipts: never remove or reorder, only append.
	Aliases []string
	// Codec of the payload. Defaults to job.JSON.
	Codec job.Codec
	// Use is middleware around this kind alone, inside the Mux's; the first is the outermost.
	Use []Middleware
	// Policy is how the kind is run.
	Policy job.Policy
	// Card is what people should know of the kind.
	Card Card
}

// Card describes a kind for people; nothing interprets it.
type Card struct {
	Owner       string   // team or person to ask
	Description string   // one sentence: what a job of this kind does
	Links       []string // runbooks, dashboards, code
}

// register checks k and freezes it: later changes of the caller's slices change nothing.
func register[T job.Args](k Kind[T]) registration {
	k.Aliases, k.Use, k.Card.Links = slices.Clone(k.Aliases), slices.Clone(k.Use), slices.Clone(k.Card.Links)
	name, err := kindOf[T]()
	r := registration{name: name, aliases: k.Aliases}
	for _, e := range append([]error{err}, k.faults()...) {
		if e != nil {
			r.faults = append(r.faults, fmt.Errorf("kind %q (%v): %w", name, reflect.TypeFor[T](), e))
		}
	}
	r.build = func(global []Middleware) (*Processor, error) {
		p, err := build(k, name, global)
		if err != nil {
			err = fmt.Errorf("kind %q (%v): %w", name, reflect.TypeFor[T](), err)
		}
		return p, err
	}
	return r
}

// kindOf asks the zero value of T for its kind; of a pointer type a value that is not nil.
func kindOf[T job.Args]() (name string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("method Kind panics on the zero value: %v; return a constant", r)
		}
	}()
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Interface {
		return "", errors.New("the arguments are of an interface type; register a concrete type")
	}
	name = fresh[T]()().Kind()
	if err := job.ValidateKind(name); err != nil {
		return "", fmt.Errorf("method Kind: %w", err)
	}
	return name, nil
}

// fresh returns what makes a T to decode into: new(E) where T is *E, else the zero value.
func fresh[T any]() func() T {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Pointer {
		return func() (zero T) { return zero }
	}
	return func() T { return reflect.New(t.Elem()).Convert(t).Interface().(T) }
}

// faults are the mistakes in k that need no other kind to be seen.
func (k *Kind[T]) faults() []error {
	var errs []error
	add := func(bad bool, format string, a ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, a...))
		}
	}
	add(k.Handle == nil && k.Batch == nil, "neither Handle nor Batch is set; set one")
	add(k.Handle != nil && k.Batch != nil, "both Handle and Batch are set; set one")
	add(k.Reconcile == nil && k.Policy.Guarantee == job.Reconciled, "Reconcile: is not set; under job.Reconciled it says whether an effect happened")
	add(k.Reconcile != nil && k.Policy.Guarantee != job.Reconciled, "Reconcile: is set under %v; set Policy.Guarantee to job.Reconciled, or leave it out", k.Policy.Guarantee)
	add(k.Batch != nil && k.Policy.Guarantee.Marked(), "Policy.Guarantee: %v marks one job at a time; set Handle, not Batch", k.Policy.Guarantee)
	add(k.BatchSize < 0, "BatchSize: %d is negative; 0 means %d", k.BatchSize, DefaultBatchSize)
	add(k.BatchSize > 0 && k.Batch == nil, "BatchSize: %d is set without Batch; leave it at 0", k.BatchSize)
	add(k.Version < 0, "Version: %d is negative; count versions from 0", k.Version)
	add(k.Upcast != nil && k.Version == 0, "Upcast: is set, but no payload is older than Version 0; raise Version or leave it out")
	for i, a := range k.Aliases {
		if err := job.ValidateKind(a); err != nil {
			errs = append(errs, fmt.Errorf("Aliases[%d]: %w", i, err))
		}
	}
	for i, mw := range k.Use {
		add(mw == nil, "Use[%d]: is nil; leave it out", i)
	}
	if err := k.Policy.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errs
}

// build makes the processor of a kind without faults.
func build[T job.Args](k Kind[T], name string, global []Middleware) (*Processor, error) {
	if k.Codec == nil {
		k.Codec = job.JSON
	}
	if k.Batch != nil && k.BatchSize == 0 {
		k.BatchSize = DefaultBatchSize
	}
	p := &Processor{
		marks: k.Policy.Guarantee.Marked(), name: name, first: name, policy: k.Policy.WithDefaults(), version: k.Version, batchSize: k.BatchSize, card: k.Card,
	}
	if len(k.Aliases) > 0 {
		p.first = k.Aliases[0]
	}
	r := &runner[T]{
		name: name, handle: k.Handle, reconcile: k.Reconcile, batch: k.Batch, version: k.Version, upcast: k.Upcast, codec: k.Codec,
		contentType: k.Codec.ContentType(), timeout: p.policy.Timeout,
	}
	if reflect.TypeFor[T]().Kind() == reflect.Pointer {
		r.fresh = fresh[T]()
	}
	inner := Handler(r.one)
	if k.Batch != nil {
		inner = r.seated
		p.many = r.direct
	}
	mw := slices.Concat(global, k.Use)
	if k.Batch == nil && len(mw) == 0 {
		p.plain = r.single
	}
	var err error
	if p.chain, err = wrap(inner, mw); err != nil {
		return nil, err
	}
	if k.Batch != nil && len(mw) > 0 {
		p.many = func(ctx context.Context, ms []*job.Message, out []job.Outcome) { r.gather(ctx, p, ms, out) }
	}
	return p, nil
}
