package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-dev/waybill/job"
)

// Handler handles one job. Nil is done; every other error says what happens next: see package job. It must return soon
// after ctx ends and must not use m afterwards.
type Handler func(ctx context.Context, m *job.Message) error

// Middleware wraps a Handler. It is called once, when the Set is compiled; the Handler it returns is called for each
// attempt, from many goroutines.
type Middleware func(Handler) Handler

// Mux collects handlers, and the mistakes made in registering them, until Compile. The zero Mux is empty and ready. It is
// not safe for concurrent use.
type Mux struct {
	use   []Middleware
	kinds []registration
}

// registration is one kind as it was registered, whatever its type.
type registration struct {
	faults  []error // each already names the kind
	name    string  // empty when there is none to be had
	aliases []string
	build   func(global []Middleware) (*Processor, error)
}

// NewMux returns an empty Mux.
func NewMux() *Mux { return &Mux{} }

// Use adds middleware around every kind, registered before or after; the first is the outermost.
func (m *Mux) Use(mw ...Middleware) { m.use = append(m.use, mw...) }

// Handle registers h for the kind that T names, with at most one Policy. It is Register with Kind.Handle and Kind.Policy.
func Handle[T job.Args](m *Mux, h func(ctx context.Context, j *job.Job[T]) error, policy ...job.Policy) {
	k := Kind[T]{Handle: h}
	if len(policy) > 0 {
		k.Policy = policy[0]
	}
	r := register(k)
	if len(policy) > 1 {
		r.faults = append(r.faults, fmt.Errorf("kind %q: %d policies are given; give one", r.name, len(policy)))
	}
	m.kinds = append(m.kinds, r)
}

// Register registers a kind in full. What is wrong with it is said by Compile.
func Register[T job.Args](m *Mux, k Kind[T]) { m.kinds = append(m.kinds, register(k)) }

// Compile checks everything that was registered and returns the Set of processors, or all the mistakes joined. The Mux
// may be added to and compiled again; a Set never changes.
func (m *Mux) Compile() (*Set, error) {
	var errs []error
	for i, mw := range m.use {
		if mw == nil {
			errs = append(errs, fmt.Errorf("Mux.Use: middleware %d is nil; leave it out", i))
		}
	}
	if len(m.kinds) == 0 {
		errs = append(errs, errors.New("no kind is registered; call processor.Handle or processor.Register"))
	}
	owner := map[string]string{}
	for _, r := range m.kinds {
		errs = append(errs, r.faults...)
		for _, n := range append([]string{r.name}, r.aliases...) {
			if by, taken := owner[n]; taken && n != "" {
				errs = append(errs, fmt.Errorf("kind %q: the name %q is already taken by kind %q; each name and alias may stand once", r.name, n, by))
				continue
			}
			owner[n] = r.name
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return m.set()
}

func (m *Mux) set() (*Set, error) {
	var errs []error
	s := &Set{byName: make(map[string]*Processor, len(m.kinds))}
	for _, r := range m.kinds {
		p, err := r.build(m.use)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.all = append(s.all, p)
		s.byName[p.name] = p
		for _, a := range r.aliases {
			s.byName[a] = p
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	slices.SortFunc(s.all, func(a, b *Processor) int { return strings.Compare(a.name, b.name) })
	return s, nil
}

// Set is the processors of one Mux. It is immutable and safe for concurrent use.
type Set struct {
	byName map[string]*Processor
	all    []*Processor
}

// Lookup returns the processor of a kind as named on the wire, by its name or an alias; nil when there is none.
func (s *Set) Lookup(wireKind string) *Processor { return s.byName[wireKind] }

// Processors returns all processors, ordered by name. The slice is the caller's.
func (s *Set) Processors() []*Processor { return slices.Clone(s.all) }

// wrap puts the middleware around h, the first outermost.
func wrap(h Handler, mw []Middleware) (_ Handler, err error) {
	i := len(mw)
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("middleware %d of %d panics when it wraps a handler: %v", i, len(mw), r)
		}
	}()
	for i--; i >= 0; i-- {
		if h = mw[i](h); h == nil {
			return nil, fmt.Errorf("middleware %d of %d returned no handler", i, len(mw))
		}
	}
	return h, nil
}
