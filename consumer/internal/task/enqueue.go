package task

import (
	"bytes"
	"slices"

	"github.com/waybill-dev/waybill/dedupe"
	"github.com/waybill-dev/waybill/job"
)

// A kind with a window of its own (job.Policy.Window) lets a job that has ended be enqueued again. The origin, the offset at
// which a record entered the job topic, tells a second enqueue from a second reading of the first: receipts of such a job
// are joined by it before all else, and what has an older origin than they is settled, whatever replays it.
//
// Under a window a second enqueue is told by its time: within the window of the last receipt it is a duplicate, whenever it
// is read. Under job.UntilDone its time says nothing that could be relied on: clocks of producers differ by more than there
// is between the end of a job and the next of its name. There what was read before the job was done is a duplicate, and
// what is read later is not. That must stay so when it is read again; so a job that is done with duplicates behind it
// says how far it reaches (Machine.reach). The owner says that, not the fact: a mark, void once the task has another owner,
// who may have begun what an older one took for a duplicate. What ends in another way than done reaches no further than its own
// record, and the next of its name that was not yet settled runs in its place.

// standing is how a record stands to what is known of its job.
type standing uint8

const (
	itsOwn   standing = iota // what is known is of this enqueue of the job, or of any
	begins                   // nothing is known of this enqueue, and it is one of its own
	second                   // another enqueue came before, which is not done or whose window goes on
	outdated                 // another enqueue came after
)

// standing tells an enqueue from others of its job, and notes whether receipts of it must.
func (m *Machine) standing(e *Entry, r *dedupe.Receipt) standing {
	windowed := e.Kind != nil && e.Kind.Policy.Window != 0
	e.env.Repeats = windowed || r.Repeats
	origin := e.env.Origin.Offset
	switch {
	case r.State == dedupe.StateNone || !e.env.Repeats || origin == r.Origin:
		return itsOwn
	case origin < r.Origin && r.Repeats:
		return outdated
	case origin < r.Origin: // its kind had no window then
		return itsOwn
	case e.src.tier >= 0: // a copy is never skipped because a receipt is missing
		return begins
	case e.Kind == nil:
		if r.Unfinished() {
			return second
		}
		return begins
	case m.mayBegin(e, r):
		return begins
	}
	return second
}

// mayBegin reports whether a record of the job topic that is not of the enqueue that r tells of is a job of its own. A kind
// that has no window any more keeps to the instance's.
func (m *Machine) mayBegin(e *Entry, r *dedupe.Receipt) bool {
	switch w := e.Kind.Policy.Window; {
	case r.Unfinished() || w == 0:
		return false
	case w == job.UntilDone:
		return true
	default: // a clock ahead makes nobody wait less
		at := min(nanos(e.env.Origin.Time), m.now)
		return at > int64(r.At)*1e9+int64(w)
	}
}

// spans is what is known beyond receipts of the jobs of kinds under job.UntilDone.
type spans struct {
	held  map[job.Identity][]*Entry // records of the job topic not yet settled, in log order
	reach map[job.Identity]*span    // of jobs that are done, until the log says it
}

type span struct {
	receipt dedupe.Receipt
	sent    bool // in the segment on the way
}

func untilDone(e *Entry) bool { return e.Kind != nil && e.Kind.Policy.Window == job.UntilDone }

// hold notes a record of the job topic.
func (x *spans) hold(e *Entry) {
	if e.src.tier >= 0 || !untilDone(e) {
		return
	}
	if x.held == nil {
		x.held = map[job.Identity][]*Entry{}
	}
	x.held[e.env.Identity] = append(x.held[e.env.Identity], e)
}

// settled forgets it.
func (x *spans) settled(e *Entry) {
	if e.src.tier >= 0 || !untilDone(e) {
		return
	}
	id := e.env.Identity
	if rest := slices.DeleteFunc(x.held[id], func(o *Entry) bool { return o == e }); len(rest) > 0 {
		x.held[id] = rest
	} else {
		delete(x.held, id)
	}
}

// reach has a job that is done say up to where other records of its name are duplicates of it: those that are held, and
// those that were skipped while a copy of it was in a tier. It ends before one with another payload, which nothing may skip.
func (m *Machine) reach(e *Entry, done *dedupe.Receipt) {
	if !untilDone(e) || done.State != dedupe.Done {
		return
	}
	x, to := &m.spans, m.main.next-1
	others := 0
	for _, o := range x.held[e.env.Identity] {
		if o == e || o.env.Offset <= done.Origin {
			continue
		}
		others++
		if o.env.Digest != done.Digest {
			to = min(to, o.env.Offset-1)
			break
		}
	}
	if to <= done.Origin || e.src.tier < 0 && others == 0 {
		return
	}
	r := *done
	r.Origin, r.At = to, m.stamp32()
	if x.reach == nil {
		x.reach = map[job.Identity]*span{}
	}
	x.reach[r.Identity] = &span{receipt: r}
}

// view adds what is not yet in the log.
func (x *spans) view(id *job.Identity, r dedupe.Receipt) dedupe.Receipt {
	if len(x.reach) > 0 {
		if s := x.reach[*id]; s != nil {
			return dedupe.Join(r, s.receipt)
		}
	}
	return r
}

// send hands out what the next segment says.
func (x *spans) send(marks []dedupe.Receipt) []dedupe.Receipt {
	first := len(marks)
	for _, s := range x.reach {
		s.sent = true
		marks = append(marks, s.receipt)
	}
	slices.SortFunc(marks[first:], func(a, b dedupe.Receipt) int { return bytes.Compare(a.Identity[:], b.Identity[:]) })
	return marks
}

// durable forgets what the log says by now; with sent false nothing of it counted, and all is to be said again.
func (x *spans) durable(durable bool) {
	for id, s := range x.reach {
		switch {
		case !s.sent:
		case durable:
			delete(x.reach, id)
		default:
			s.sent = false
		}
	}
}

// stamp32 is now as Receipt.At has it.
func (m *Machine) stamp32() uint32 { return dedupe.Stamp(m.time()) }
