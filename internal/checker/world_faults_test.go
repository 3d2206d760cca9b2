package checker

import (
	"maps"
	"slices"
	"time"

	"github.com/waybill-dev/waybill/internal/ledger"
)

// draw is how an attempt ends.
func (w *world) draw() ledger.Result {
	switch n := w.rng.IntN(100); {
	case n < 70:
		return ledger.Done
	case n < 82:
		return ledger.Retry
	case n < 86:
		return ledger.Panic
	case n < 91:
		return ledger.Snooze
	case n < 95:
		return ledger.Dead
	}
	return ledger.Discard
}

// ends returns the attempts whose time has come. A paused process returns nothing before it wakes.
func (w *world) ends(t *task) {
	for _, a := range slices.Clone(t.running) {
		if a.by.wakes > 0 || a.end > w.now {
			continue
		}
		a.got = w.draw()
		if a.got == ledger.Done {
			w.effect(w.now, a.pos)
		}
		w.returned(t, a)
		switch {
		case a.late:
			w.tooLate(t, a)
		case w.down > 0:
			t.parked = append(t.parked, a)
		default:
			w.settle(t, a)
		}
	}
}

// returned writes the end of an attempt and takes it off the running ones.
func (w *world) returned(t *task, a *attempt) {
	w.returns(w.now, a.by.name, a.pos, a.got)
	if a.got == ledger.Snooze {
		a.delay = 1 + w.rng.IntN(40)
		w.in.Ledger[len(w.in.Ledger)-1].Delay = time.Duration(a.delay) * time.Millisecond
	}
	t.running = slices.DeleteFunc(t.running, func(o *attempt) bool { return o == a })
}

// settle makes of a result what the engine must.
func (w *world) settle(t *task, a *attempt) {
	h := a.held
	switch a.got {
	case ledger.Done:
		h.state = settled
		if h.kind != "free.alo" || h.tier >= 0 {
			w.merge(t, h, func(r *receipt) { r.done = true })
		}
	case ledger.Retry, ledger.Panic:
		if h.attempts+1 >= 3 {
			w.dead(t, h, h.attempts+1, "handler_error")
		} else {
			w.copy(t, h, h.attempts+1, w.rng.IntN(40))
		}
	case ledger.Snooze:
		burnt := h.attempts
		if w.bug == "burns attempts" {
			burnt++
		}
		w.copy(t, h, burnt, a.delay)
	case ledger.Dead:
		w.dead(t, h, h.attempts+1, "dead")
	case ledger.Discard:
		h.state = settled
		w.merge(t, h, func(r *receipt) { r.join(receipt{gen: h.gen, final: true}) })
	case ledger.Cancelled:
		h.state = waits
	}
}

// tooLate is the end of an attempt whose task has moved on: a success is true all the same, a failure may leave a copy.
func (w *world) tooLate(t *task, a *attempt) {
	switch {
	case a.got == ledger.Done && (a.kind != "free.alo" || a.tier >= 0):
		r := t.store[idOf(a.held)]
		if !r.known {
			w.merge(t, a.held, func(*receipt) {})
			r = t.store[idOf(a.held)]
		}
		r.done = true
		t.store[idOf(a.held)], t.saved[idOf(a.held)] = r, r
	case a.got == ledger.Retry && w.down == 0 && w.chance(50) && a.attempts+1 < 3:
		w.read(w.hop(w.now, 0, a.origin, a.gen, a.hop+1, a.attempts+1, 7), 0, 7)
	}
}

// assign gives a task to a process that runs, from a time on.
func (w *world) assign(t *task, from int) {
	t.owner, t.from, t.drains = w.alive[w.rng.IntN(len(w.alive))], from, 0
	if w.bug != "reuses fences" {
		t.fence += 1 + int64(w.rng.IntN(3))
	}
	w.restart(t)
}

// restart forgets what was not durable: the next owner knows receipts and committed offsets, no more.
func (w *world) restart(t *task) {
	t.store, t.pending, t.parked = maps.Clone(t.saved), nil, nil
	for i, topic := range append([]string{"jobs"}, tierTopics...) {
		for _, h := range t.logs[i] {
			if h.pos.Offset >= w.in.Committed.At(topic, t.p, 0) {
				h.state = waits
			}
		}
	}
}

// faults lets the faults that were asked for happen, now and then, and end.
func (w *world) faults() {
	if w.down > 0 && w.now >= w.down {
		w.down = 0
		w.script.fault(w.now, ledger.BrokerUp, "b1")
	}
	for _, t := range w.tasks {
		w.drained(t)
	}
	if w.left == 0 || !w.chance(2) {
		w.wake()
		return
	}
	switch x, t := w.alive[w.rng.IntN(len(w.alive))], w.tasks[w.rng.IntN(len(w.tasks))]; w.rng.IntN(6) {
	case 0:
		w.kill(x)
	case 1:
		w.pause(x)
	case 2:
		w.revoke(t)
	case 3:
		if w.fault[ledger.BrokerDown] && w.down == 0 {
			w.down = w.now + 1 + w.rng.IntN(80)
			w.script.fault(w.now, ledger.BrokerDown, "b1")
		}
	case 4:
		w.rewind(t)
	case 5:
		w.redriveSome()
	}
	w.wake()
}

// leave takes a process out of the running and gives its tasks away once the group has noticed.
func (w *world) leave(x *worker) {
	w.alive = slices.DeleteFunc(w.alive, func(o *worker) bool { return o == x })
	w.spawn()
	for _, t := range w.tasks {
		if t.owner == x {
			w.assign(t, w.now+lease/2+w.rng.IntN(lease/2))
		}
	}
}

func (w *world) kill(x *worker) {
	if !w.fault[ledger.Kill] {
		return
	}
	w.script.fault(w.now, ledger.Kill, x.name)
	for _, t := range w.tasks {
		t.running = slices.DeleteFunc(t.running, func(a *attempt) bool { return a.by == x })
	}
	w.leave(x)
}

func (w *world) pause(x *worker) {
	if !w.fault[ledger.Pause] {
		return
	}
	w.script.fault(w.now, ledger.Pause, x.name)
	x.wakes = w.now + 1 + w.rng.IntN(200)
	for _, t := range w.tasks {
		for _, a := range t.running {
			a.late = a.late || a.by == x
		}
		if t.owner != x {
			continue
		}
		for _, a := range t.parked {
			if a.got == ledger.Done {
				w.settle(t, a)
			}
		}
		for _, id := range t.pending {
			x.owed = append(x.owed, owed{t, id, t.store[id]})
		}
	}
	w.paused = append(w.paused, x)
	w.leave(x)
}

// wake lets paused processes go on: what they had settled is written, what they run ends soon, and then they are no more.
func (w *world) wake() {
	w.paused = slices.DeleteFunc(w.paused, func(x *worker) bool {
		if w.now < x.wakes || w.down > 0 {
			return false
		}
		x.wakes = 0
		w.script.fault(w.now, ledger.Resume, x.name)
		for _, o := range x.owed {
			r := o.task.store[o.id]
			if !r.known {
				r = o.r
			}
			r.join(o.r)
			o.task.store[o.id], o.task.saved[o.id] = r, r
		}
		for _, t := range w.tasks {
			for _, a := range t.running {
				if a.by == x {
					a.end = w.now + w.rng.IntN(10)
				}
			}
		}
		return true
	})
}

func (w *world) revoke(t *task) {
	if w.fault[ledger.Revoke] && t.owner.wakes == 0 && t.drains == 0 && w.now >= t.from && w.down == 0 {
		w.script.fault(w.now, ledger.Revoke, t.owner.name)
		t.drains = w.now + drain
	}
}

// drained ends a revocation: what has not returned is cancelled, or goes on and comes too late.
func (w *world) drained(t *task) {
	if t.drains == 0 || w.down > 0 || w.now < t.drains {
		return
	}
	for _, a := range slices.Clone(t.running) {
		switch {
		case a.late:
		case w.chance(50):
			a.got = ledger.Cancelled
			w.returned(t, a)
			w.settle(t, a)
		default:
			a.late, a.end = true, w.now+1+w.rng.IntN(20)
		}
	}
	w.work(t) // what was parked
	if w.bug != "revokes without a flush" {
		w.flush(t)
	}
	w.assign(t, w.now+1)
}

func (w *world) rewind(t *task) {
	if !w.fault[ledger.Rewind] || len(t.running)+len(t.parked) > 0 || t.owner.wakes > 0 || w.down > 0 || t.drains > 0 || w.now < t.from {
		return
	}
	w.flush(t)
	to := w.in.Committed.At("jobs", t.p, 0) / 2
	w.in.Committed.Set("jobs", t.p, to)
	w.event(w.now, "operator", ledger.Event{Type: ledger.Faulted, Fault: ledger.Rewind, Record: ledger.Pos{Topic: "jobs", Partition: t.p, Offset: to}})
	t.fence++
	w.restart(t)
}

// redriveSome sends a dead letter back, sometimes twice at once.
func (w *world) redriveSome() {
	for _, t := range w.tasks {
		for _, h := range t.logs[0] {
			r := t.saved[idOf(h)]
			if !w.fault["redrive"] || !r.final || r.done || r.digest != h.payload || r.gen > 0 || !w.wasFiled(h) || w.down > 0 {
				continue
			}
			for range 1 + w.rng.IntN(2) {
				w.read(w.redrive(w.now, h.pos, 1), 0, 0)
			}
			return
		}
	}
}

func (w *world) wasFiled(h *held) bool {
	return slices.ContainsFunc(w.in.Topics[dlqTopic], func(r Record) bool {
		return slices.ContainsFunc(r.Headers, func(x Header) bool {
			return x.Key == "waybill-origin" && string(x.Value) == originHeader(h.pos)
		}) && string(r.Value) == h.payload
	})
}
