package checker

import (
	"cmp"
	"math"
	"slices"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// faults is what the driver did, by whom it befell. What a fault excuses:
//
//	kill                      calls it interrupted; reruns of what returned within RerunWindow before it
//	stop, revoke              calls that outlived Drain: their overlap; their rerun, of a success within RerunWindow
//	pause, cut, lost,         from its begin until Lease after its end: overlaps with and reruns of calls that touch it,
//	broker_down (of everybody) of a success until RerunWindow after that; and a fence that is behind
//	forget                    reruns of its job
//	rewind                    the order of first starts in its partition; reruns of at_least_once
//	any                       doubled copies and letters (anywhere in the run), reruns of at_least_once
type faults struct {
	procs  map[string]*process
	global []outage
	first  int // rank of the first fault that excuses anything, beyond all ranks if there is none
	rewind map[ledger.Pos]bool
}

// outage is a time in which a process may not act for its tasks, or not make durable what it did. Times in ns.
type outage struct {
	fault    ledger.Fault
	target   string
	from, to int64 // to includes Lease
	healed   int64 // to without Lease
	stat     int   // index into Stats.Faults
}

// graceful reports whether the process was asked, and so had the time to write what it did.
func (o *outage) graceful() bool { return o.fault == ledger.Revoke || o.fault == ledger.Stop }

// process is one run of one process.
type process struct {
	name    string
	outages []outage
	ended   bool  // killed or gone
	killed  bool  // without warning
	endRank int   // of the kill or exit
	endT    int64 // its time
	endStat int
	stuck   bool
}

const forever = math.MaxInt64

func (f *faults) process(name string) *process {
	p := f.procs[name]
	if p == nil {
		p = &process{name: name}
		f.procs[name] = p
	}
	return p
}

// readFaults reads all fault events before anything else of the ledger.
func (c *check) readFaults() {
	f := &c.faults
	*f = faults{procs: map[string]*process{}, rewind: map[ledger.Pos]bool{}, first: len(c.events)}
	lease := int64(c.in.Timing.Lease)
	for rank, e := range c.events {
		if e.Type != ledger.Faulted || e.Fault == ledger.Other {
			continue
		}
		f.first = min(f.first, rank)
		at := e.Time.UnixNano()
		stat := len(c.res.Stats.Faults)
		o := outage{fault: e.Fault, target: e.Target, from: at, to: at + lease, healed: at, stat: stat}
		switch e.Fault {
		case ledger.Resume:
			heal(f.process(e.Target).outages, ledger.Pause, e, lease)
			continue
		case ledger.Heal:
			heal(f.process(e.Target).outages, ledger.Cut, e, lease)
			continue
		case ledger.BrokerUp:
			heal(f.global, ledger.BrokerDown, e, lease)
			continue
		case ledger.Pause, ledger.Cut:
			o.to, o.healed = forever, forever
			fallthrough
		case ledger.Lost, ledger.Revoke, ledger.Stop:
			p := f.process(e.Target)
			p.outages = append(p.outages, o)
		case ledger.BrokerDown:
			o.to, o.healed = forever, forever
			f.global = append(f.global, o)
		case ledger.Kill, ledger.Exit:
			f.process(e.Target).end(e.Fault == ledger.Kill, rank, at, stat)
		case ledger.Stuck:
			f.process(e.Target).stuck = true
		case ledger.Rewind:
			f.rewind[ledger.Pos{Topic: e.Record.Topic, Partition: e.Record.Partition}] = true
		}
		c.res.Stats.Faults = append(c.res.Stats.Faults, FaultStat{Fault: e.Fault, Target: e.Target, Time: e.Time})
	}
}

// heal ends the outages of one kind and target that still last.
func heal(all []outage, fault ledger.Fault, by *ledger.Event, lease int64) {
	for i := range all {
		if o := &all[i]; o.fault == fault && o.target == by.Target && o.healed == forever {
			o.healed = by.Time.UnixNano()
			o.to = o.healed + lease
		}
	}
}

func (p *process) end(killed bool, rank int, at int64, stat int) {
	if !p.ended {
		p.ended, p.killed, p.endRank, p.endT, p.endStat = true, killed, rank, at, stat
	}
}

// during is the outage of p, its own or everybody's, that touches the time from..to and satisfies ok, or nil.
func (f *faults) during(p *process, from, to int64, ok func(*outage) bool) *outage {
	for _, all := range [][]outage{p.outages, f.global} {
		for i := range all {
			if o := &all[i]; o.from <= to && o.to >= from && ok(o) {
				return o
			}
		}
	}
	return nil
}

// excusesOverlap reports whether late may have started while early still ran: early's process had lost its tasks, or
// late's had and did not know yet.
func (c *check) excusesOverlap(early, late *call) bool {
	if c.faults.during(early.proc, early.startT, late.startT, func(*outage) bool { return true }) != nil {
		return true
	}
	return c.faults.during(late.proc, late.startT, late.startT, func(o *outage) bool { return !o.graceful() }) != nil
}

// excusesRerun is the fault because of which what done settled may not have been known when again started; -1 if there
// is none. done has returned. A success is written also when it comes too late, so it is known soon after its process can
// write again; any other result dies with the ownership it was made under.
func (c *check) excusesRerun(done, again *call) (stat int) {
	p, window := done.proc, int64(c.in.Timing.RerunWindow)
	if p.killed && c.unwritten(done, p.endT) {
		return p.endStat
	}
	o := c.caught(done, func(o *outage) bool {
		known := max(o.to, done.endT)
		if o.graceful() {
			known = done.endT
			if done.endT < o.from+int64(c.in.Timing.Drain) {
				return false // it returned in time to be settled
			}
		}
		return done.result() != ledger.Done || known > forever-window || again.startT <= known+window
	})
	if o == nil {
		return -1
	}
	return o.stat
}

// troubled reports whether a fault met the process of a call while it ran, or before what it settled was durable.
func (c *check) troubled(x *call) bool {
	return x.ret == nil || x.proc.killed && c.unwritten(x, x.proc.endT) || c.caught(x, func(*outage) bool { return true }) != nil
}

// caught is an outage of a call's process that satisfies ok and met the call, or what it settled before it was durable.
func (c *check) caught(x *call, ok func(*outage) bool) *outage {
	return c.faults.during(x.proc, x.startT, forever, func(o *outage) bool { return c.unwritten(x, o.from) && ok(o) })
}

// unwritten reports whether what a call settled may not have been durable by a time.
func (c *check) unwritten(x *call, by int64) bool {
	return by-x.endT-c.silent(x.proc, x.endT, by) <= int64(c.in.Timing.RerunWindow)
}

// silent is for how long of from..to the process could not write.
func (c *check) silent(p *process, from, to int64) (ns int64) {
	all := slices.Concat(p.outages, c.faults.global)
	slices.SortFunc(all, func(a, b outage) int { return cmp.Compare(a.from, b.from) })
	for _, o := range all {
		if a, b := max(o.from, from), min(o.to, to); b > a && !o.graceful() {
			ns, from = ns+b-a, b
		}
	}
	return ns
}
