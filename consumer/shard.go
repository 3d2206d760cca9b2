package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// shard is one goroutine that owns the machines of some tasks. Inputs come through its inbox, which never blocks whoever
// posts; after each round of inputs it carries out the effects of the machines that were touched.
type shard struct {
	c    *Consumer
	wake chan struct{}
	stop chan struct{} // closed to end the goroutine
	end  chan struct{} // closed by it

	mu    sync.Mutex
	inbox []input

	// below: the goroutine's own
	handles map[*handle]struct{}
	tally   *task.Tally // nil without metrics
	touched []*handle
	records []task.Record // on their way into a machine
	copies  copies
	nextDue time.Time     // by the local clock: before it nothing is released between ticks
	acks    time.Duration // how long the ack of a segment took lately
	expired int64
	soonest int64 // no machine has something to release earlier; 0: none has
}

type input struct {
	h     *handle
	apply func(m *task.Machine, now int64)
}

func newShard(c *Consumer) *shard {
	s := &shard{c: c, wake: make(chan struct{}, 1), stop: make(chan struct{}), end: make(chan struct{}), handles: map[*handle]struct{}{}, tally: c.metrics.tally()}
	go s.run()
	return s
}

// post queues an input for the machine of h.
func (s *shard) post(h *handle, apply func(m *task.Machine, now int64)) {
	s.mu.Lock()
	s.inbox = append(s.inbox, input{h, apply})
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// ask posts an input and waits until it was applied, with its effects carried out, or the shard is closed; then it may
// not have been applied, but never will be later.
func (s *shard) ask(h *handle, apply func(m *task.Machine, now int64)) {
	done := make(chan struct{})
	s.post(h, func(m *task.Machine, now int64) { apply(m, now); s.post(h, func(*task.Machine, int64) { close(done) }) })
	select {
	case <-done:
	case <-s.end: // not stop: an input under way may still touch what the caller reads next
	}
}

// settle waits until everything posted before was applied, with its effects carried out.
func (s *shard) settle() { s.ask(nil, func(*task.Machine, int64) {}) }

// close ends the goroutine and joins it; inputs posted later are ignored.
func (s *shard) close() {
	close(s.stop)
	<-s.end
}

// run serves the inbox, and ticks by the local clock: the corrected one may be set back, and a tick must not wait for that.
func (s *shard) run() {
	defer close(s.end)
	timer := time.NewTimer(s.c.cfg.Tick)
	defer timer.Stop()
	next := time.Now().Add(s.c.cfg.Tick)
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
		s.drainInbox()
		if local := time.Now(); local.Before(next) {
			if !local.Before(s.nextDue) && s.due(s.c.clock.now()) {
				s.nextDue = local.Add(dueStep)
			}
		} else {
			due := next
			next = local.Add(s.untilTick())
			s.tick(s.c.clock.now())
			s.c.metrics.ticked(due)
		}
		local := time.Now()
		timer.Reset(s.nextWake(next.Sub(local), s.nextDue.Sub(local)))
	}
}

// untilTick is how long to wait for the next tick. What a crash has run again is what ended since the last segment that was acked was sent,
// and that shall be no more than Config.Tick: so ticks come as much earlier as acks take, up to an eighth, since with many partitions
// segments cost.
func (s *shard) untilTick() time.Duration { return s.c.cfg.Tick - min(s.acks, s.c.cfg.Tick/8) }

// acked remembers how long a segment took: the longest, until shorter ones have made it forgotten.
func (s *shard) acked(took time.Duration) { s.acks = max(took, s.acks-s.acks/16) }

func (s *shard) drainInbox() {
	s.mu.Lock()
	inbox := s.inbox
	s.inbox = nil
	s.mu.Unlock()
	if len(inbox) == 0 {
		return
	}
	now := s.c.clock.now()
	if s.tally != nil {
		s.tally.Skew = time.Duration(now - time.Now().UnixNano())
	}
	for i := range inbox {
		h := inbox[i].h
		if h == nil { // settle
			inbox[i].apply(nil, now)
			continue
		}
		inbox[i].apply(h.m, now)
		if len(s.touched) == 0 || s.touched[len(s.touched)-1] != h {
			s.touched = append(s.touched, h)
		}
	}
	s.carryAll()
}

func (s *shard) carryAll() {
	for _, h := range s.touched {
		s.carry(h)
	}
	clear(s.touched)
	s.touched = s.touched[:0]
}

// tick moves every machine on, and tells them when the lease ended or came back.
func (s *shard) tick(now int64) {
	leased := s.c.lease.valid()
	expire := now-s.expired > int64(s.c.cfg.Window/8)
	if expire {
		s.expired = now
	}
	for h := range s.handles {
		if leased != h.leased {
			s.setLease(h, leased, now)
		}
		if expire {
			h.m.Expire(s.c.cfg.Window, now)
		}
		h.m.Tick(true, now)
		s.touched = append(s.touched, h)
	}
	s.carryAll()
}

func (s *shard) setLease(h *handle, leased bool, now int64) {
	h.leased = leased
	if leased {
		if !h.stopped.Load() {
			h.attempts.Store(newAttempts(h))
		}
	} else {
		h.attempts.Load().cancel()
	}
	h.m.Hold(task.Lease, !leased, now)
}

// dueStep is how long after something was released the next is: thousands that come due in a second cost a look at their
// task, a way to the pool and the waking of a worker for each few of them, not for each.
const dueStep = 2 * time.Millisecond

// due serves the machines that have something to release before the next tick, and reports whether there were any. It asks all of
// them only when that time has come for one: a shard wakes often, and may have hundreds.
func (s *shard) due(now int64) (released bool) {
	if s.soonest == 0 || s.soonest > now {
		return false
	}
	s.soonest = 0
	for h := range s.handles {
		if at := h.m.NextDue(); at != 0 && at <= now {
			h.m.Tick(false, now)
			s.touched = append(s.touched, h)
			released = true
		} else {
			s.expect(at)
		}
	}
	s.carryAll()
	return released
}

// expect notes when a machine has something to release; 0: it has not.
func (s *shard) expect(at int64) {
	if at != 0 && (s.soonest == 0 || at < s.soonest) {
		s.soonest = at
	}
}

// nextWake is how long to wait: until the tick, or until something is due before, though not shorter than step.
func (s *shard) nextWake(tick, step time.Duration) time.Duration {
	if s.soonest != 0 {
		tick = min(tick, max(step, time.Duration(s.soonest-s.c.clock.now())))
	}
	return max(0, tick)
}

// carry does what a machine wants done.
func (s *shard) carry(h *handle) {
	f := &h.m.Out
	c := s.c
	h.turn.Store(h.m.Turn())
	if h.failed() { // the vault begins anew; until then what was offered is handed back unbegun, and nothing is written
		h.stopped.Store(true)
		f.Writes, f.Segment, f.Commit = nil, nil, nil
	}
	if f.Own {
		c.own(h)
	}
	if f.Read != nil {
		c.read(h, *f.Read, h.m.Restoring())
	}
	if f.Anew {
		c.watch.look()
		c.vault.forget(h)
		c.spawn(func(ctx context.Context) { c.anew(ctx, []*handle{h}) })
	}
	if f.Prove {
		c.prover.ask(h)
	}
	c.fetch.apply(h, f)
	if f.Reread != nil {
		c.reread(h, *f.Reread)
	}
	s.offer(h, f.Run)
	for _, w := range f.Writes {
		c.write(h, w)
	}
	for _, e := range f.Cleared {
		c.suspects.leave(e)
	}
	for _, k := range f.Kept {
		k.Done()
	}
	if f.Segment != nil {
		c.segment(h, f.Segment)
	}
	if f.Late != nil {
		c.late(h, f.Late)
	}
	s.report(h, f)
	s.expect(h.m.NextDue())
	h.load.look(h.m, &c.ease)
	drained := f.Drained
	f.Reset()
	if drained && !h.done {
		h.done = true
		close(h.drained)
	}
	if h.done && h.m.Gone() && h.m.Idle() {
		delete(s.handles, h)
		if h.shelf != nil {
			_ = h.shelf.Close() // the disk keeps what it knows
		}
	}
}

// offer hands entries to the pools of their classes, in runs of one class; suspects wait for their turn first.
func (s *shard) offer(h *handle, es []*task.Entry) {
	for i := 0; i < len(es); {
		if es[i].Suspicion() != task.NoSuspect {
			s.c.suspects.add(h, es[i])
			i++
			continue
		}
		class := es[i].Kind.Class
		j := i + 1
		for j < len(es) && es[j].Kind.Class == class && es[j].Suspicion() == task.NoSuspect {
			j++
		}
		s.c.pools[class].Submit(es[i:j])
		i = j
	}
}

// finish marks a handle as let go, so that it is forgotten once its last attempt is back.
func (s *shard) finish(h *handle) {
	if !h.done {
		h.done = true
		close(h.drained)
	}
}
