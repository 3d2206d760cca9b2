package task

import (
	"fmt"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// flight is a produce on its way.
type flight struct {
	p      *proc
	write  *Write
	own    bool
	seg    *Segment
	late   bool
	parts  []*dedupe.Entry
	landed int // parts
	res    WriteResult
	failed bool // the answer will be an error
	blind  bool // the ack does not say where
	done   bool // answered
}

// landWrite lets a copy, letter or audit entry reach its topic.
func (x *flight) landWrite() {
	w, e := x.p.w, x.write.Entry
	env := e.env
	switch x.write.Dest {
	case ToTier:
		if x.write.receipt.Code == job.CodeFollows {
			w.follows++
		}
		w.append(w.topic(x.write.Topic), env.Key, env.Payload, job.CopyHeaders(nil, &env, &x.write.Stamp))
	case ToDeadLetters:
		if x.write.receipt.Code == job.CodeHolding {
			w.holders++
		}
		w.letters = append(w.letters, &letter{&env, x.write.Disposition, x.write.Code, x.write.Attempts, x.write.Truncated})
	case ToJobs:
	default:
		w.audits[env.Identity] = x.write.Action
	}
	x.landed = 1
}

// answer gives the machine the end of a copy, letter or audit entry.
func (x *flight) answer() {
	p := x.p
	x.done = true
	p.writes = slices.DeleteFunc(p.writes, func(f *flight) bool { return f == x })
	if p.gone {
		return
	}
	if x.res == Acked && p.m.phase != gone {
		delete(p.active, x.write.Entry)
		if !x.write.silent {
			p.learn(x.write.receipt)
		}
	}
	if x.write.Dest == ToJobs && x.res != Refused {
		delete(p.emits, x.write.Entry.env.Identity)
	}
	if x.res == TooLarge { // ends here, or its letter follows
		delete(p.active, x.write.Entry)
	}
	p.m.Written([]Answer{{x.write, x.res}}, p.w.now)
	p.carry()
}

func (p *proc) learn(r dedupe.Receipt) {
	r.At = dedupe.Stamp(p.w.time())
	p.known[r.Identity] = p.known[r.Identity].join(factOf(&r))
}

// landLog lets the next part of the oldest log record reach the log.
func (x *flight) landLog() {
	e := *x.parts[x.landed]
	at := x.p.w.land(x.p, e)
	x.parts[x.landed].Offset, x.parts[x.landed].Time = at, x.p.w.time()
	x.landed++
}

// answerLog gives the machine the end of an ownership record or segment.
func (x *flight) answerLog() error {
	p := x.p
	x.done = true
	p.logq = slices.DeleteFunc(p.logq, func(f *flight) bool { return f == x })
	if p.gone || x.late {
		return nil
	}
	defer p.carry()
	if x.own {
		if x.failed { // the consumer writes it again
			p.m.Out.Own = p.m.Owning()
			return nil
		}
		at := x.parts[0].Offset
		if x.blind {
			at = -1
		}
		p.m.Owned(at, p.w.now)
		return nil
	}
	var failed error
	if x.failed {
		failed = fmt.Errorf("refused")
	}
	entries := make([]*dedupe.Entry, len(x.parts))
	for i, e := range x.parts {
		c := *e
		if x.blind {
			c.Offset = -1
		}
		entries[i] = &c
	}
	return p.m.SegmentAcked(x.seg, entries, failed, p.w.now)
}

func (x *flight) landAll() {
	if x.write != nil {
		x.landWrite()
		return
	}
	for x.landed < len(x.parts) {
		x.landLog()
	}
}
