package dedupetest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// op is one step of a random log. The zero values of what it does not use are ignored.
type op struct {
	Kind      opKind
	Later     int // minutes by which the clock moves, perhaps back
	Gap       int // offsets that hold nothing
	Back      int // replay: entries back from the newest; claim: ownership records back from the newest
	Age       int // expire: minutes before the clock
	Frontiers []dedupe.Frontier
	Receipts  []dedupe.Receipt
	Marks     []dedupe.Receipt
	Release   dedupe.Release
	Forget    []job.Identity
}

type opKind uint8

const (
	opOwn    opKind = iota // an ownership record
	opClaim                // a segment, of the newest owner or an earlier one
	opReplay               // an entry that was folded before
	opExpire
)

func jobs(n int) (ids []job.Identity) {
	for i := range n {
		ids = append(ids, job.IdentityOf("kind", nil, fmt.Sprint(i)))
	}
	return ids
}

const randomJobs = 5

func receipts(least int) *rapid.Generator[[]dedupe.Receipt] {
	one := rapid.Custom(func(t *rapid.T) dedupe.Receipt {
		r := dedupe.Receipt{
			Identity: jobs(randomJobs)[rapid.IntRange(0, randomJobs-1).Draw(t, "job")],
			Gen:      rapid.Uint32Range(0, 2).Draw(t, "gen"),
			Hop:      rapid.Uint32Range(0, 3).Draw(t, "hop"),
			State:    dedupe.State(rapid.IntRange(int(dedupe.Retrying), int(dedupe.Done)).Draw(t, "state")),
			Attempt:  rapid.Uint32Range(0, 3).Draw(t, "attempt"),
			Origin:   rapid.Int64Range(0, 1<<40).Draw(t, "origin"),
			KeyHash:  rapid.Uint64().Draw(t, "key"),
			Digest:   rapid.Uint64().Draw(t, "digest"),
			Code:     job.Code(rapid.IntRange(0, int(job.CodeScheduled)).Draw(t, "code")),
		}
		if rapid.Bool().Draw(t, "suspect") {
			r.Code = job.CodeSuspect
		}
		if r.State == dedupe.Dead && rapid.Bool().Draw(t, "holding") {
			r.Code = job.CodeHolding
		}
		if rapid.IntRange(0, 2).Draw(t, "repeats") == 0 { // of enqueues near each other
			r.Repeats, r.Origin = true, rapid.Int64Range(0, 2).Draw(t, "enqueue")
		}
		if b := rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "result"); len(b) > 0 {
			r.Result = b
		}
		if r.State != dedupe.Done && rapid.Bool().Draw(t, "progress") { // version, epoch, number, and something
			r.Result = append([]byte{1, 0, 0, 0, 0, 0, 0, 0, rapid.Byte().Draw(t, "epoch"), rapid.ByteMax(3).Draw(t, "number")}, r.Result...)
		}
		return r
	})
	return rapid.SliceOfN(one, least, 4)
}

// program generates a log and what happens to a store while it is folded.
var program = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) op {
	o := op{Kind: rapid.SampledFrom([]opKind{opOwn, opClaim, opClaim, opClaim, opClaim, opReplay, opExpire}).Draw(t, "op")}
	o.Later = rapid.SampledFrom([]int{0, 0, 1, 20, 60, 200, -90}).Draw(t, "later")
	o.Gap = rapid.SampledFrom([]int{0, 0, 0, 1, 100}).Draw(t, "gap")
	switch o.Kind {
	case opReplay:
		o.Back = rapid.IntRange(0, 9).Draw(t, "back")
	case opExpire:
		o.Age = rapid.SampledFrom([]int{-30, 0, 30, 90, 240}).Draw(t, "age")
	case opClaim:
		o.Back = rapid.SampledFrom([]int{0, 0, 0, 1, 2}).Draw(t, "back")
		o.Receipts = receipts(0).Draw(t, "receipts")
		o.Marks = receipts(0).Draw(t, "marks")
		o.Release = rapid.SampledFrom([]dedupe.Release{dedupe.Held, dedupe.Held, dedupe.LeftSuspects, dedupe.Released}).Draw(t, "release")
		for range rapid.SampledFrom([]int{0, 0, 0, 0, 1, 2}).Draw(t, "forget") {
			o.Forget = append(o.Forget, jobs(randomJobs)[rapid.IntRange(0, randomJobs-1).Draw(t, "forgotten")])
		}
		for range rapid.IntRange(0, 3).Draw(t, "frontiers") {
			o.Frontiers = append(o.Frontiers, dedupe.Frontier{
				Topic:  dedupe.TopicID{rapid.ByteRange(0, 2).Draw(t, "topic")},
				Offset: rapid.Int64Range(-1, 20).Draw(t, "offset")})
		}
	}
	return o
}), 1, 40)

// play runs a program against a store and the plain fold and returns the first difference.
func play(ops []op, store dedupe.Store) error {
	p := newPair(store, randomJobs)
	clock := time.Unix(1_700_000_000, 0)
	next := int64(17) // retention took what was before
	var owners []int64
	for i, o := range ops {
		clock = clock.Add(time.Duration(o.Later) * time.Minute)
		var err error
		switch o.Kind {
		case opOwn:
			next += int64(o.Gap)
			err = p.apply(next, clock, &dedupe.Owner{Instance: fmt.Sprint("i", i), Generation: int32(i), Intake: next, Of: dedupe.Place{Cluster: fmt.Sprint("c", i%3)}}, nil)
			owners = append(owners, next)
			next++
		case opClaim:
			next += int64(o.Gap)
			epoch := int64(o.Back) - 1 // nobody's
			if n := len(owners) - 1 - o.Back; n >= 0 {
				epoch = owners[n]
			}
			err = p.apply(next, clock, nil, &dedupe.Segment{Epoch: epoch, Frontiers: o.Frontiers, Receipts: o.Receipts, Marks: o.Marks, Release: o.Release, Forget: o.Forget})
			next++
		case opReplay:
			if n := len(p.log) - 1 - o.Back; n >= 0 {
				e := p.log[n]
				err = p.apply(e.Offset, clock, e.Owner, e.Segment)
			}
		case opExpire:
			err = p.expire(clock.Add(-time.Duration(o.Age) * time.Minute))
		}
		if err != nil {
			return fmt.Errorf("step %d, %+v: %w", i, o, err)
		}
	}
	return nil
}
