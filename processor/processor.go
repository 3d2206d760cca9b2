package processor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/job"
)

// Processor runs the attempts of one kind. It is immutable and safe for concurrent use.
type Processor struct {
	name, first string
	policy      job.Policy
	version     int
	batchSize   int
	marks       bool // an attempt begins with a durable mark
	card        Card
	chain       Handler                                                        // everything, from the outermost middleware in
	plain       func(ctx context.Context, m *job.Message, now time.Time) error // the same where there is no middleware; else nil
	many        func(ctx context.Context, ms []*job.Message, out []job.Outcome)
}

// Name is the kind's present name.
func (p *Processor) Name() string { return p.name }

// FirstName is the first name the kind ever had: the one its identities are taken over.
func (p *Processor) FirstName() string { return p.first }

// Policy is the kind's policy with its defaults.
func (p *Processor) Policy() job.Policy { return p.policy }

// Version is the newest version of the payload that the handler knows.
func (p *Processor) Version() int { return p.version }

// BatchSize is the most messages RunBatch should be given; 0 when the kind is handled one job at a time.
func (p *Processor) BatchSize() int { return p.batchSize }

// Card is what people should know of the kind.
func (p *Processor) Card() Card {
	c := p.card
	c.Links = slices.Clone(c.Links)
	return c
}

// Run runs one attempt and returns how it ended. It blocks until the handler has returned, however long that takes after
// ctx or the deadline has ended, and never panics. The handler runs in a goroutine of its own, because nothing else keeps
// a call of runtime.Goexit in it from ending the caller's; a worker that runs many attempts pays less with Serve. Of a
// kind with Batch it is a batch of one. When ctx has ended already, nothing is called.
func (p *Processor) Run(ctx context.Context, m *job.Message) job.Outcome {
	e := &errand{p: p, ctx: ctx, m: m}
	e.wg.Add(1)
	go e.run()
	e.wg.Wait()
	return e.out
}

// errand is one attempt in a goroutine of its own.
type errand struct {
	wg  sync.WaitGroup
	p   *Processor
	ctx context.Context
	m   *job.Message
	out job.Outcome
}

func (e *errand) run() {
	defer e.wg.Done()
	e.p.attempt(e.ctx, e.m, time.Time{}, &e.out)
}

// attempt runs one attempt in this goroutine. When the handler calls Goexit, it sets out and does not return.
func (p *Processor) attempt(ctx context.Context, m *job.Message, now time.Time, out *job.Outcome) {
	ok := false
	defer func() {
		if !ok {
			*out = unreturned(recover())
		}
	}()
	if err := ctx.Err(); err != nil {
		*out = job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled, Text: "not started: " + err.Error()}
	} else if err := p.mark(ctx, m); err != nil { // whatever it is, nothing of the attempt has begun
		*out = job.Outcome{Verdict: job.VerdictCancelled, Code: job.CodeCancelled, Text: "not started: " + job.Bounded(err.Error())}
	} else if p.plain != nil {
		*out = classify(ctx, p.plain(ctx, m, now))
	} else {
		*out = classify(ctx, p.chain(ctx, m))
	}
	ok = true
}

// mark makes durable that an attempt begins, before anything of it runs, middleware included.
func (p *Processor) mark(ctx context.Context, m *job.Message) error {
	if !p.marks {
		return nil
	}
	return job.Start(ctx, m)
}

// RunBatch runs one attempt of each message and sets out at the same index; out must be as long as ms. Of a kind with Batch
// it is one call of Batch, without the messages that do not decode: they fail alone. ms may be longer than BatchSize;
// nothing splits it. Of another kind the messages are run one after another. It blocks until everything it started has
// returned, and never panics.
//
// With middleware each message passes the chain in a goroutine of its own. They meet before Batch: one whose middleware
// returns without calling the next handler is not in the batch, and one that has not come within Policy.Timeout, say
// because its middleware waits for another's end, is run as a batch of one when it comes.
func (p *Processor) RunBatch(ctx context.Context, ms []*job.Message, out []job.Outcome) {
	out = out[:len(ms)]
	switch err := ctx.Err(); {
	case len(ms) == 0:
	case err != nil:
		for i := range out {
			p.attempt(ctx, ms[i], time.Time{}, &out[i])
		}
	case p.many == nil:
		for i := range ms {
			out[i] = p.Run(ctx, ms[i])
		}
	default:
		p.many(ctx, ms, out)
	}
}
