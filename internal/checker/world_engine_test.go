package checker

import (
	"maps"
	"slices"
	"strings"
)

func idOf(h *held) string { return h.kind + "/" + h.key + "/" + h.id }

func stale(h *held, r receipt) bool {
	return r.done || h.gen < r.gen || h.gen == r.gen && (r.final || h.hop < r.hop)
}

func conflicts(h *held, r receipt) bool {
	return h.tier < 0 && r.known && r.gen == 0 && r.digest != h.payload
}

// merge joins a fact into the store, to be durable with the next tick.
func (w *world) merge(t *task, h *held, f func(*receipt)) {
	r := t.store[idOf(h)]
	if w.bug == "forgets receipts" && w.chance(30) {
		return
	}
	if !r.known {
		r = receipt{known: true, digest: h.payload, origin: originOf(h), key: h.key, strict: strings.HasPrefix(h.kind, "strict")}
	}
	f(&r)
	t.store[idOf(h)] = r
	t.pending = append(t.pending, idOf(h))
}

// originOf is the offset in the job topic from which a record came.
func originOf(h *held) int64 { return h.origin.Offset }

func (r *receipt) join(o receipt) {
	switch {
	case r.done || o.done:
		r.done = true
	case o.gen > r.gen:
		r.gen, r.hop, r.final = o.gen, o.hop, o.final
	case o.gen == r.gen:
		r.hop, r.final = max(r.hop, o.hop), r.final || o.final
	}
}

// decide looks at every record that waits, in log order, and settles, hops or starts it.
func (w *world) decide(t *task) {
	blocked := map[string]bool{} // identities of records before, which wait
	first := map[string]int64{}  // of each lane the first offset in the job topic that waits
	for i := range t.logs {
		for k := 0; k < len(t.logs[i]); k++ { // hops append
			h := t.logs[i][k]
			if i == 0 && w.bug == "starts out of order" {
				h = t.logs[0][len(t.logs[0])-1-k]
			}
			if h.state != waits || h.due > w.now {
				continue
			}
			lane := laneOf(h)
			at, waiting := first[lane]
			if w.bug == "overlaps keys" && h.tier >= 0 {
				lane = idOf(h)
			}
			inTurn := !waiting || w.bug == "starts out of order" || h.tier >= 0 && !(strings.HasPrefix(lane, "strict") && h.gen == 0 && at < originOf(h))
			if r := t.store[idOf(h)]; (stale(h, r) || conflicts(h, r)) && !t.busy(h, "") && w.bug != "runs what is stale" {
				w.admit(t, h) // whoever is before it in its lane: it will not run
				continue
			}
			if !blocked[idOf(h)] && inTurn && !t.busy(h, lane) && !t.behind(h) {
				w.admit(t, h)
			}
			if h.state == waits {
				blocked[idOf(h)] = true
				if h.tier < 0 && !waiting {
					first[lane] = h.pos.Offset
				}
			}
		}
	}
}

func laneOf(h *held) string {
	switch word, _, _ := strings.Cut(h.kind, "."); word {
	case "key", "strict":
		return word + " " + h.key
	case "part":
		return word
	}
	return "job " + idOf(h)
}

func (t *task) busy(h *held, lane string) bool {
	return slices.ContainsFunc(slices.Concat(t.running, t.parked), func(a *attempt) bool {
		return !a.late && (laneOf(a.held) == lane || idOf(a.held) == idOf(h))
	})
}

// behind: under strict order a job waits for every earlier one of its key that is known and not final.
func (t *task) behind(h *held) bool {
	if !strings.HasPrefix(h.kind, "strict") || h.gen > 0 {
		return false
	}
	for id, r := range maps.All(t.store) {
		if r.strict && r.key == h.key && id != idOf(h) && r.origin < originOf(h) && !r.done && !r.final && r.gen == 0 {
			return true
		}
	}
	return false
}

func (w *world) admit(t *task, h *held) {
	r := t.store[idOf(h)]
	mark := [2]int{h.gen + 1, h.hop}
	switch {
	case conflicts(h, r):
		if w.down > 0 {
			return
		}
		w.file(w.now, h.pos, 0, 0, "conflict")
		h.state = settled
	case stale(h, r) && w.bug != "runs what is stale":
		h.state = settled
	case h.expires > 0 && h.expires <= w.now:
		h.state = settled
		w.merge(t, h, func(r *receipt) { r.final = true })
	case w.down > 0 && (h.kind == "key.amo" || h.at > w.now):
	case r.started == mark:
		w.dead(t, h, h.attempts, "outcome_unknown")
	case h.tier < 0 && h.at > w.now:
		w.copy(t, h, h.attempts, h.at-w.now)
	case w.down == 0 && !strings.HasPrefix(h.kind, "strict") && w.chance(2):
		w.copy(t, h, h.attempts, 5)
	default:
		if h.kind == "key.amo" && w.bug != "marks nothing" {
			w.merge(t, h, func(r *receipt) { r.started = mark })
			t.saved[idOf(h)] = t.store[idOf(h)]
		}
		h.state = runs
		w.call(w.now, t.owner.name, t.fence, h.pos)
		t.running = append(t.running, &attempt{held: h, by: t.owner, end: w.now + 1 + w.rng.IntN(12)})
	}
}

// copy hops a record into a tier and settles it.
func (w *world) copy(t *task, h *held, attempts, delay int) {
	tier, hop := w.rng.IntN(2), h.hop+1
	delay = min(delay, tierShort)
	if w.bug == "skips a hop" {
		hop++
	}
	if w.bug != "loses copies" || w.chance(80) {
		pos := w.hop(w.now, tier, h.origin, h.gen, hop, attempts, delay)
		if w.bug == "runs early" {
			delay /= 2
		}
		w.read(pos, tier, delay)
	}
	if w.bug == "copies twice" {
		w.read(w.hop(w.now, tier, h.origin, h.gen, hop, attempts, delay), tier, delay)
	}
	h.state = settled
	w.merge(t, h, func(r *receipt) { r.join(receipt{gen: h.gen, hop: h.hop + 1}) })
}

func (w *world) dead(t *task, h *held, attempts int, code string) {
	if w.bug != "files nothing" {
		w.file(w.now, h.origin, h.gen, attempts, code)
	}
	h.state = settled
	w.merge(t, h, func(r *receipt) { r.join(receipt{gen: h.gen, final: true}) })
}
