package dedupetest

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/dedupe/refold"
	"github.com/waybill-dev/waybill/job"
)

// cases each name one rule of dedupe.Store. They get a fresh store and say what it does wrong.
var cases = []struct {
	name  string
	check func(dedupe.Store) error
}{
	{"a new store knows nothing", caseNew},
	{"receipts count whoever wrote them", caseReceiptsOfAnybody},
	{"marks count only under the newest ownership record", caseMarks},
	{"frontiers join within an epoch and are replaced by a newer one", caseFrontiers},
	{"a segment without frontiers leaves them alone", caseNoFrontiers},
	{"entries folded before are ignored", caseReplay},
	{"a release counts until the next ownership record, and only of the newest", caseRelease},
	{"of a job that may be enqueued again the newest enqueue counts", caseRepeats},
	{"the mark of one found started stands above that of one that was not", caseSuspects},
	{"any receipt renews the window", caseRenewed},
	{"a forgotten job can be known again", caseForgotten},
	{"an order to forget counts for what stands before it", caseForget},
	{"results are kept whole and apart", caseResults},
	{"an entry must be one thing", caseInvalid},
	{"many jobs", caseMany},
	{"strange times", caseTimes},
}

var noon = time.Unix(1_750_000_000, 0)

func newPair(s dedupe.Store, n int) *pair { return &pair{store: s, plain: refold.New(), jobs: jobs(n)} }

func done(id job.Identity) []dedupe.Receipt {
	return []dedupe.Receipt{{Identity: id, State: dedupe.Done, Attempt: 1}}
}

func caseNew(s dedupe.Store) error {
	return newPair(s, 1).compare()
}

func caseReceiptsOfAnybody(s dedupe.Store) error {
	p := newPair(s, 4)
	return errors.Join(
		p.apply(3, noon, nil, &dedupe.Segment{Epoch: 1, Receipts: done(p.jobs[0])}), // its owner's record was retained away
		p.apply(4, noon, &dedupe.Owner{Instance: "a"}, nil),
		p.apply(5, noon, nil, &dedupe.Segment{Epoch: 4, Receipts: done(p.jobs[1])}),
		p.apply(6, noon, &dedupe.Owner{Instance: "b"}, nil),
		p.apply(7, noon, nil, &dedupe.Segment{Epoch: 4, Receipts: done(p.jobs[2])}), // a's late success
		p.apply(8, noon, nil, &dedupe.Segment{Epoch: 99, Receipts: done(p.jobs[3])}),
		want(s.Len(), 4, "jobs known"),
	)
}

func caseMarks(s dedupe.Store) error {
	p := newPair(s, 4)
	mark := func(id job.Identity) []dedupe.Receipt {
		return []dedupe.Receipt{{Identity: id, State: dedupe.Started}}
	}
	return errors.Join(
		p.apply(0, noon, nil, &dedupe.Segment{Epoch: -1, Marks: mark(p.jobs[0])}), // void: nobody owns
		p.apply(1, noon, &dedupe.Owner{Instance: "a"}, nil),
		p.apply(2, noon, nil, &dedupe.Segment{Epoch: 1, Marks: mark(p.jobs[1])}),
		p.apply(3, noon, &dedupe.Owner{Instance: "b"}, nil),
		p.apply(4, noon, nil, &dedupe.Segment{Epoch: 1, Marks: mark(p.jobs[2])}), // void: a owns no more
		p.apply(5, noon, nil, &dedupe.Segment{Epoch: 3, Marks: mark(p.jobs[3])}),
		want(s.Len(), 2, "jobs known"),
	)
}

func caseFrontiers(s dedupe.Store) error {
	p := newPair(s, 0)
	main, tier := dedupe.TopicID{1}, dedupe.TopicID{2}
	claim := func(offset, epoch, atMain, atTier int64) error {
		return p.apply(offset, noon, nil, &dedupe.Segment{Epoch: epoch, Frontiers: []dedupe.Frontier{{Topic: main, Offset: atMain}, {Topic: tier, Offset: atTier}}})
	}
	expect := func(epoch, atMain, atTier int64) error {
		got := s.Position()
		if got.FrontierEpoch != epoch || !reflect.DeepEqual(got.Frontiers, map[dedupe.TopicID]int64{main: atMain, tier: atTier}) {
			return fmt.Errorf("frontiers %v of epoch %d, want %d and %d of epoch %d", got.Frontiers, got.FrontierEpoch, atMain, atTier, epoch)
		}
		return nil
	}
	return errors.Join(
		p.apply(0, noon, &dedupe.Owner{}, nil),
		claim(1, 0, 10, 5), expect(0, 10, 5),
		claim(2, 0, 8, 6), expect(0, 10, 6), // each topic by its maximum
		p.apply(3, noon, &dedupe.Owner{}, nil), expect(0, 10, 6), // still in force
		claim(4, 0, 50, 50), expect(0, 10, 6), // void
		claim(5, 3, 2, 7), expect(3, 2, 7), // an operator's rewind
		claim(6, 3, 3, 7), expect(3, 3, 7),
	)
}

func caseNoFrontiers(s dedupe.Store) error {
	p := newPair(s, 1)
	err := errors.Join(
		p.apply(0, noon, &dedupe.Owner{}, nil),
		p.apply(1, noon, nil, &dedupe.Segment{Epoch: 0, Frontiers: []dedupe.Frontier{{Topic: dedupe.TopicID{1}, Offset: 10}}}),
		p.apply(2, noon, &dedupe.Owner{}, nil),
		p.apply(3, noon, nil, &dedupe.Segment{Epoch: 2, Receipts: done(p.jobs[0])}),
	)
	if at, ok := s.Position().Frontiers[dedupe.TopicID{1}]; !ok || at != 10 {
		err = errors.Join(err, fmt.Errorf("the frontier of 10 became %d, %v", at, ok))
	}
	return err
}

func caseReplay(s dedupe.Store) error {
	p := newPair(s, 2)
	return errors.Join(
		p.apply(7, noon, &dedupe.Owner{Instance: "a"}, nil),
		p.apply(8, noon, nil, &dedupe.Segment{Epoch: 7, Receipts: done(p.jobs[0])}),
		p.apply(8, noon, nil, &dedupe.Segment{Epoch: 7, Receipts: done(p.jobs[1])}), // not the same, but at a folded offset
		p.apply(7, noon, &dedupe.Owner{Instance: "b"}, nil),
		p.apply(-1, noon, &dedupe.Owner{Instance: "c"}, nil),
		want(s.Position().Next, 9, "next offset"),
		want(s.Len(), 1, "jobs known"),
	)
}

func caseRelease(s dedupe.Store) error {
	p := newPair(s, 1)
	own := func(offset int64) error { return p.apply(offset, noon, &dedupe.Owner{Instance: "a"}, nil) }
	release := func(offset, epoch int64, how, want dedupe.Release) error {
		err := p.apply(offset, noon, nil, &dedupe.Segment{Epoch: epoch, Release: how})
		if got := s.Position().Release; got != want {
			err = errors.Join(err, fmt.Errorf("after entry %d the release is %v, want %v", offset, got, want))
		}
		return err
	}
	return errors.Join(
		release(0, -1, dedupe.Released, dedupe.Held), // nobody's
		own(1), release(2, 1, dedupe.LeftSuspects, dedupe.LeftSuspects), release(3, 1, dedupe.Released, dedupe.Released),
		release(4, 1, dedupe.Held, dedupe.Released), // a late segment takes nothing back
		own(5), release(6, 1, dedupe.Released, dedupe.Held), // void
		release(7, 5, dedupe.Released, dedupe.Released),
		want(s.Len(), 0, "jobs known"),
	)
}

func caseRepeats(s dedupe.Store) error {
	p := newPair(s, 1)
	at := func(offset, origin int64, state dedupe.State, result string) error {
		return p.apply(offset, noon.Add(time.Duration(offset)*time.Minute), nil, &dedupe.Segment{Receipts: []dedupe.Receipt{{Identity: p.jobs[0],
			State: state, Origin: origin, Repeats: true, Result: []byte(result)}}})
	}
	expect := func(origin int64, state dedupe.State) error {
		if r, _ := s.Get(p.jobs[0]); r.Origin != origin || r.State != state || !r.Repeats {
			return fmt.Errorf("the job is %+v, want %v of the enqueue at %d", r, state, origin)
		}
		return nil
	}
	return errors.Join(
		at(0, 3, dedupe.Retrying, "kept"), at(1, 3, dedupe.Done, "of 3"), expect(3, dedupe.Done),
		at(2, 7, dedupe.Retrying, ""), expect(7, dedupe.Retrying), // enqueued again, though done before
		at(3, 3, dedupe.Done, "late"), expect(7, dedupe.Retrying),
		at(4, 7, dedupe.Done, "of 7"), expect(7, dedupe.Done),
	)
}

func caseSuspects(s dedupe.Store) error {
	p := newPair(s, 1)
	mark := func(offset int64, code job.Code, want job.Code) error {
		err := p.apply(offset, noon, nil, &dedupe.Segment{Epoch: 0, Marks: []dedupe.Receipt{{Identity: p.jobs[0], State: dedupe.Started, Code: code}}})
		if r, _ := s.Get(p.jobs[0]); r.Code != want {
			err = errors.Join(err, fmt.Errorf("after mark %d the job has %v, want %v", offset, r.Code, want))
		}
		return err
	}
	return errors.Join(
		p.apply(0, noon, &dedupe.Owner{}, nil),
		mark(1, job.CodeNone, job.CodeNone), mark(2, job.CodeSuspect, job.CodeSuspect), mark(3, job.CodeNone, job.CodeSuspect),
	)
}

func caseRenewed(s dedupe.Store) error {
	p := newPair(s, 3)
	first := []dedupe.Receipt{{Identity: p.jobs[0], State: dedupe.Dead, Result: []byte("kept")}, {Identity: p.jobs[1], State: dedupe.Done}, {Identity: p.jobs[2], State: dedupe.Done}}
	lesser := []dedupe.Receipt{{Identity: p.jobs[0], State: dedupe.Retrying}, {Identity: p.jobs[1], State: dedupe.Done}}
	const day = 24 * time.Hour
	return errors.Join(
		p.apply(1, noon, nil, &dedupe.Segment{Receipts: first}),
		p.apply(2, noon.Add(day), nil, &dedupe.Segment{Receipts: lesser}),
		p.apply(3, noon.Add(-day), nil, &dedupe.Segment{Receipts: first}), // an earlier time takes nothing away
		p.expire(noon.Add(day)),
		want(s.Len(), 2, "jobs known"),
		p.expire(noon.Add(2*day)),
		want(s.Len(), 0, "jobs known"),
	)
}

func caseForgotten(s dedupe.Store) error {
	p := newPair(s, 2)
	const day = 24 * time.Hour
	return errors.Join(
		p.apply(1, noon, nil, &dedupe.Segment{Receipts: done(p.jobs[0])}),
		p.expire(noon.Add(day)),
		p.apply(2, noon.Add(day), nil, &dedupe.Segment{Receipts: []dedupe.Receipt{{Identity: p.jobs[0], State: dedupe.Retrying, Hop: 1}}}),
		p.apply(3, noon, nil, &dedupe.Segment{Receipts: done(p.jobs[1])}), // appended before what was forgotten
		p.expire(noon.Add(day)),
		want(s.Len(), 1, "jobs known"),
	)
}

func caseForget(s dedupe.Store) error {
	p := newPair(s, 4)
	order := func(offset, epoch int64, receipts []dedupe.Receipt, ids ...job.Identity) error {
		return p.apply(offset, noon, nil, &dedupe.Segment{Epoch: epoch, Forget: ids, Receipts: receipts})
	}
	receipt := func(id job.Identity, state dedupe.State, gen uint32) []dedupe.Receipt {
		return []dedupe.Receipt{{Identity: id, State: state, Gen: gen, Hop: 1, Result: []byte("kept")}}
	}
	return errors.Join(
		p.apply(0, noon, &dedupe.Owner{}, nil),
		order(1, 0, done(p.jobs[0])), order(2, 0, done(p.jobs[1])),
		order(3, -1, nil, p.jobs[0], p.jobs[3]), // nobody's: it counts; and a job of which nothing is known
		want(s.Len(), 1, "jobs known"),
		p.apply(1, noon, nil, &dedupe.Segment{Epoch: 0, Receipts: done(p.jobs[0])}), // read again: no news
		want(s.Len(), 1, "jobs known"),
		order(4, 0, receipt(p.jobs[0], dedupe.Retrying, 0)), // below what was forgotten
		want(s.Len(), 2, "jobs known"),
		order(5, 0, receipt(p.jobs[1], dedupe.Step, 0), p.jobs[1], p.jobs[1]), // what stands beside the order stands
		want(s.Len(), 2, "jobs known"),
		order(6, 0, receipt(p.jobs[2], dedupe.Dead, 3)), order(7, -1, nil, p.jobs[2]), order(8, 0, receipt(p.jobs[2], dedupe.Retrying, 1)),
		p.expire(noon.Add(24*time.Hour)),
		want(s.Len(), 0, "jobs known"),
	)
}

func caseResults(s dedupe.Store) error {
	p := newPair(s, 2000)
	var all []dedupe.Receipt
	for i, id := range p.jobs {
		r := dedupe.Receipt{Identity: id, State: dedupe.Retrying, Hop: 1}
		n := i % (dedupe.MaxResult + 1)
		if i%100 == 0 {
			n = dedupe.MaxProgress - i/100
		}
		if n > 0 {
			r.Result = bytes.Repeat([]byte{byte(i)}, n)
		}
		all = append(all, r)
	}
	err := p.apply(0, noon, nil, &dedupe.Segment{Receipts: all})
	held, _ := s.Get(p.jobs[9])
	held.Result = append(held.Result, "more"...) // must not run into a neighbour
	for i := range all {
		all[i].Hop, all[i].Result = 2, nil
		if i%3 > 0 {
			all[i].Result = []byte(fmt.Sprint(i))
		}
	}
	err = errors.Join(err, p.compare(), p.apply(1, noon.Add(2*time.Hour), nil, &dedupe.Segment{Receipts: all}))
	if !bytes.Equal(held.Result[:9], bytes.Repeat([]byte{9}, 9)) {
		err = errors.Join(err, fmt.Errorf("a result that was handed out changed to %x", held.Result))
	}
	return err
}

func caseInvalid(s dedupe.Store) error {
	p := newPair(s, 1)
	err := p.apply(0, noon, &dedupe.Owner{Instance: "a"}, nil)
	for _, e := range []dedupe.Entry{
		{Offset: 1, Time: noon},
		{Offset: 1, Time: noon, Owner: &dedupe.Owner{}, Segment: &dedupe.Segment{Receipts: done(p.jobs[0])}},
	} {
		if got := s.Apply(&e); !errors.Is(got, dedupe.ErrInvalidEntry) {
			err = errors.Join(err, fmt.Errorf("Apply of %+v: %w", e, got))
		}
	}
	nothing := dedupe.Segment{Receipts: []dedupe.Receipt{{Identity: p.jobs[0]}, {Identity: p.jobs[0], State: dedupe.Done + 1}}}
	if got := s.Apply(&dedupe.Entry{Offset: 0, Time: noon, Segment: &nothing}); got != nil {
		err = errors.Join(err, fmt.Errorf("Apply of a folded entry: %w", got))
	}
	err = errors.Join(err, p.compare())
	if got := s.Apply(&dedupe.Entry{Offset: 1, Time: noon, Segment: &nothing}); got != nil {
		err = errors.Join(err, fmt.Errorf("Apply of receipts that say nothing: %w", got))
	}
	return errors.Join(err, want(s.Len(), 0, "jobs known"))
}

func caseMany(s dedupe.Store) error {
	const n, segment, hours = 40_000, 500, 8
	ids := jobs(n)
	at := func(i int) time.Time { return noon.Add(time.Duration(i*hours/n) * time.Hour) }
	var err error
	for i := 0; i < n; i += segment {
		e := dedupe.Entry{Offset: int64(i), Time: at(i), Segment: &dedupe.Segment{}}
		for j := i; j < i+segment; j++ {
			e.Segment.Receipts = append(e.Segment.Receipts, dedupe.Receipt{Identity: ids[j], State: dedupe.Done, Origin: int64(j)})
		}
		err = errors.Join(err, s.Apply(&e))
	}
	check := func(from, to int) error {
		for i, id := range ids {
			if r, ok := s.Get(id); ok != (i >= from && i < to) || ok && (r.Origin != int64(i) || r.Identity != id) {
				return fmt.Errorf("of jobs %d to %d: job %d is known: %v, %+v", from, to, i, ok, r)
			}
		}
		return want(s.Len(), to-from, "jobs known")
	}
	err = errors.Join(err, check(0, n))
	for hour := 1; hour <= hours; hour += 3 {
		s.Expire(noon.Add(time.Duration(hour) * time.Hour))
		from := n / hours * (hour - 1) // what was appended just a bucket before may be kept or not, but as a whole
		if _, ok := s.Get(ids[from]); !ok {
			from = n / hours * hour
		}
		err = errors.Join(err, check(from, n))
	}
	return err
}

func caseTimes(s dedupe.Store) error {
	p := newPair(s, 4)
	err := errors.Join(
		p.apply(0, time.Time{}, nil, &dedupe.Segment{Receipts: done(p.jobs[0])}),
		p.apply(1, time.UnixMilli(-1), nil, &dedupe.Segment{Receipts: done(p.jobs[1])}), // Kafka's "no timestamp"
		p.apply(2, time.UnixMilli(1<<62), nil, &dedupe.Segment{Receipts: done(p.jobs[2])}),
		p.apply(3, noon, nil, &dedupe.Segment{Receipts: done(p.jobs[3])}),
	)
	s.Expire(noon)
	for i, id := range p.jobs {
		if _, ok := s.Get(id); ok != (i >= 2) {
			err = errors.Join(err, fmt.Errorf("job %d is known after the expiry: %v", i, ok))
		}
	}
	return err
}

func want[T comparable](got, want T, what string) error {
	if got != want {
		return fmt.Errorf("%s: %v, want %v", what, got, want)
	}
	return nil
}
