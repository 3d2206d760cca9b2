package dedupetest

import (
	"slices"
	"testing"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// broken is a store with a planted mistake.
type broken struct {
	dedupe.Store
	apply  func(s dedupe.Store, e *dedupe.Entry) error
	get    func(s dedupe.Store, id job.Identity) (dedupe.Receipt, bool)
	expire func(s dedupe.Store, before time.Time)
	pos    func(s dedupe.Store) dedupe.Position
	len    func(s dedupe.Store) int
}

func (b *broken) Apply(e *dedupe.Entry) error {
	if b.apply != nil {
		return b.apply(b.Store, e)
	}
	return b.Store.Apply(e)
}

func (b *broken) Get(id job.Identity) (dedupe.Receipt, bool) {
	if b.get != nil {
		return b.get(b.Store, id)
	}
	return b.Store.Get(id)
}

func (b *broken) Expire(before time.Time) {
	if b.expire != nil {
		b.expire(b.Store, before)
		return
	}
	b.Store.Expire(before)
}

func (b *broken) Position() dedupe.Position {
	if b.pos != nil {
		return b.pos(b.Store)
	}
	return b.Store.Position()
}

func (b *broken) Len() int {
	if b.len != nil {
		return b.len(b.Store)
	}
	return b.Store.Len()
}

// segment applies a changed copy of e's segment.
func segment(s dedupe.Store, e *dedupe.Entry, change func(*dedupe.Segment)) error {
	c := *e
	if c.Segment != nil {
		seg := *e.Segment
		change(&seg)
		c.Segment = &seg
	}
	return s.Apply(&c)
}

var plants = map[string]func() *broken{
	"void marks count": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(g *dedupe.Segment) { g.Receipts = append(g.Receipts[:len(g.Receipts):len(g.Receipts)], g.Marks...) })
		}}
	},
	"marks never count": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(g *dedupe.Segment) { g.Marks = nil })
		}}
	},
	"a zombie's frontiers count": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(g *dedupe.Segment) { g.Epoch = s.Position().Epoch })
		}}
	},
	"a zombie's receipts do not count": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(g *dedupe.Segment) {
				if g.Epoch != s.Position().Epoch {
					g.Receipts = nil
				}
			})
		}}
	},
	"the last receipt wins": func() *broken {
		last := map[job.Identity]dedupe.Receipt{}
		return &broken{
			apply: func(s dedupe.Store, e *dedupe.Entry) error {
				if e.Segment != nil && e.Offset >= s.Position().Next {
					for _, r := range e.Segment.Receipts {
						r.Result = append([]byte(nil), r.Result...)
						last[r.Identity] = r
					}
				}
				return s.Apply(e)
			},
			get: func(s dedupe.Store, id job.Identity) (dedupe.Receipt, bool) {
				r, ok := s.Get(id)
				if l, has := last[id]; ok && has {
					return l, true
				}
				return r, ok
			},
		}
	},
	"a replay is folded again": func() *broken {
		shift := int64(0)
		return &broken{
			apply: func(s dedupe.Store, e *dedupe.Entry) error {
				c := *e
				if next := s.Position().Next; c.Offset+shift < next {
					shift = next - c.Offset
				}
				c.Offset += shift
				return s.Apply(&c)
			},
		}
	},
	"expiry forgets too much": func() *broken {
		return &broken{expire: func(s dedupe.Store, before time.Time) { s.Expire(before.Add(3 * time.Hour)) }}
	},
	"expiry forgets too little": func() *broken {
		return &broken{expire: func(s dedupe.Store, before time.Time) { s.Expire(before.Add(-2 * time.Hour)) }}
	},
	"expiry forgets nothing": func() *broken {
		return &broken{expire: func(dedupe.Store, time.Time) {}}
	},
	"the window runs from the first receipt": func() *broken {
		first := map[job.Identity]time.Time{}
		return &broken{
			apply: func(s dedupe.Store, e *dedupe.Entry) error {
				if e.Segment != nil {
					for _, r := range e.Segment.Receipts {
						if _, ok := first[r.Identity]; !ok {
							first[r.Identity] = e.Time
						}
					}
				}
				return s.Apply(e)
			},
			get: func(s dedupe.Store, id job.Identity) (dedupe.Receipt, bool) {
				if t, ok := first[id]; ok && t.IsZero() {
					return dedupe.Receipt{}, false
				}
				return s.Get(id)
			},
			expire: func(s dedupe.Store, before time.Time) {
				for id, t := range first {
					if t.Before(before.Add(-2 * widest)) {
						first[id] = time.Time{}
					}
				}
				s.Expire(before)
			},
		}
	},
	"the owner is not kept": func() *broken {
		return &broken{pos: func(s dedupe.Store) dedupe.Position {
			p := s.Position()
			p.Owner = dedupe.Owner{}
			return p
		}}
	},
	"an ownership record leaves the release": func() *broken {
		var was dedupe.Release
		return &broken{pos: func(s dedupe.Store) dedupe.Position {
			p := s.Position()
			was = max(was, p.Release)
			p.Release = was
			return p
		}}
	},
	"anybody releases": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			if e.Segment != nil && e.Offset >= s.Position().Next && e.Segment.Release > dedupe.Held {
				e2 := *e
				seg := *e.Segment
				seg.Epoch, seg.Frontiers, seg.Marks = s.Position().Epoch, nil, nil
				e2.Segment = &seg
				return s.Apply(&e2)
			}
			return s.Apply(e)
		}}
	},
	"enqueues are not told apart": func() *broken {
		return &broken{get: func(s dedupe.Store, id job.Identity) (dedupe.Receipt, bool) {
			r, ok := s.Get(id)
			r.Repeats = false
			return r, ok
		}}
	},
	"the time of the append is lost": func() *broken {
		return &broken{get: func(s dedupe.Store, id job.Identity) (dedupe.Receipt, bool) {
			r, ok := s.Get(id)
			r.At = 0
			return r, ok
		}}
	},
	"orders to forget are not heard": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(c *dedupe.Segment) { c.Forget = nil })
		}}
	},
	"only the owner may order to forget": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(c *dedupe.Segment) {
				if c.Epoch != s.Position().Epoch {
					c.Forget = nil
				}
			})
		}}
	},
	"what stands beside an order is forgotten": func() *broken {
		return &broken{apply: func(s dedupe.Store, e *dedupe.Entry) error {
			return segment(s, e, func(c *dedupe.Segment) {
				keep := func(list []dedupe.Receipt) (kept []dedupe.Receipt) {
					for _, r := range list {
						if !slices.Contains(c.Forget, r.Identity) {
							kept = append(kept, r)
						}
					}
					return kept
				}
				c.Receipts, c.Marks = keep(c.Receipts), keep(c.Marks)
			})
		}}
	},
	"forgotten jobs are counted": func() *broken {
		most := 0
		return &broken{len: func(s dedupe.Store) int {
			most = max(most, s.Len())
			return most
		}}
	},
}

// conforms plays cases and random logs, as Run does, and returns the first difference.
func conforms(open func() dedupe.Store) error {
	for _, c := range cases {
		if err := c.check(open()); err != nil {
			return err
		}
	}
	return onRandomLogs(open)
}

func onRandomLogs(open func() dedupe.Store) error {
	for seed := range 150 {
		if err := play(program.Example(seed), open()); err != nil {
			return err
		}
	}
	return nil
}

// A suite that finds nothing proves nothing: every planted mistake must be found by the random logs alone, and the store
// without one must pass.
func TestPlantedMistakesAreFound(t *testing.T) {
	memory := func() dedupe.Store { return dedupe.NewMemory(time.Hour) }
	if err := conforms(memory); err != nil {
		t.Fatalf("without a mistake: %v", err)
	}
	for name, plant := range plants {
		t.Run(name, func(t *testing.T) {
			if onRandomLogs(func() dedupe.Store {
				b := plant()
				b.Store = memory()
				return b
			}) == nil {
				t.Error("not found")
			}
		})
	}
}

func TestPlantedAlgebraIsFound(t *testing.T) {
	good := algebra{join: dedupe.Join, stale: dedupe.Receipt.Stale, staleAt: dedupe.Receipt.StaleAt}
	if err := good.check(); err != nil {
		t.Fatalf("without a mistake: %v", err)
	}
	by := func(higher func(a, b dedupe.Receipt) bool) algebra {
		return algebra{stale: dedupe.Receipt.Stale, staleAt: dedupe.Receipt.StaleAt, join: func(a, b dedupe.Receipt) dedupe.Receipt {
			if higher(b, a) {
				return b
			}
			return a
		}}
	}
	for name, bad := range map[string]algebra{
		"the last wins":   by(func(b, a dedupe.Receipt) bool { return true }),
		"the first wins":  by(func(b, a dedupe.Receipt) bool { return false }),
		"hop above final": by(func(b, a dedupe.Receipt) bool { return b.Hop > a.Hop || b.Hop == a.Hop && b.State > a.State }),
		"started is lowest": by(func(b, a dedupe.Receipt) bool {
			return a.State == dedupe.Started || dedupe.Join(a, b).KeyHash == b.KeyHash
		}),
		"of two enqueues the first counts": by(func(b, a dedupe.Receipt) bool {
			return (!a.Repeats || !b.Repeats || a.Origin >= b.Origin) && dedupe.Join(a, b).KeyHash == b.KeyHash
		}),
		"an earlier enqueue is not stale": {join: dedupe.Join, stale: dedupe.Receipt.Stale, staleAt: func(r dedupe.Receipt, origin int64, gen, hop uint32) bool {
			return r.StaleAt(origin, gen, hop) && (!r.Repeats || origin >= r.Origin)
		}},
		"ignores the hop": {join: dedupe.Join, staleAt: dedupe.Receipt.StaleAt, stale: func(r dedupe.Receipt, gen, _ uint32) bool {
			return r.Stale(gen, 1<<30)
		}},
		"done of an older generation": {join: dedupe.Join, staleAt: dedupe.Receipt.StaleAt, stale: func(r dedupe.Receipt, gen, hop uint32) bool {
			return r.Stale(gen, hop) && gen <= r.Gen
		}},
	} {
		if bad.check() == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
