package consumer

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lease is this instance's own view of its membership: it lasts one session timeout from the start of the last request of
// the group that was answered. The broker counts from when that request arrived, so the lease ends first, and an instance
// that is cut off stops before another is given its tasks (I12).
//
// It is a hook of the group's client, which sees that a heartbeat was answered, but not what the answer was: to a member that
// was expired while the network, the broker or this machine stood still it is UNKNOWN_MEMBER_ID, and the tasks run elsewhere.
// So an answer prolongs a lease only while it lasts. One that has run out comes back by an assignment or by a proof, whose
// answer is looked at (prover). Its methods are safe for concurrent use.
type lease struct {
	session time.Duration
	term    atomic.Pointer[term]      // nil: no lease
	synced  atomic.Pointer[time.Time] // when the last answered SyncGroup was sent
	doubts  chan struct{}             // receives when the membership should be proven
}

// term is how long a lease of a member lasts.
type term struct {
	member string
	until  time.Time
}

func newLease(session time.Duration) *lease {
	return &lease{session: session, doubts: make(chan struct{}, 1)}
}

var _ kgo.HookBrokerE2E = (*lease)(nil)

// The protocol's numbers of requests.
const (
	heartbeatKey = 12
	syncKey      = 14
)

// OnBrokerE2E prolongs the lease, or asks for a proof where it has run out.
func (l *lease) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != heartbeatKey && key != syncKey || e2e.Err() != nil {
		return
	}
	now := time.Now()
	sent := now.Add(-e2e.DurationE2E())
	if key == syncKey {
		l.synced.Store(&sent)
		return
	}
	switch t := l.term.Load(); {
	case t == nil:
	case t.valid(now):
		l.move(t.member, sent, false)
	default:
		l.doubt()
	}
}

// doubt asks for a proof of the membership.
func (l *lease) doubt() {
	select {
	case l.doubts <- struct{}{}:
	default: // one is asked for
	}
}

// begin gives the lease that an assignment brings: it counts from the SyncGroup that brought it, since the callback may
// come late.
func (l *lease) begin(member string) {
	if from := l.synced.Load(); from != nil {
		l.move(member, *from, true)
	}
}

// proven prolongs the lease of a member that the group knew when a request was answered that was sent at a time, also one
// that has run out.
func (l *lease) proven(member string, sent time.Time) { l.move(member, sent, false) }

// move moves the end of a member's lease, never back. A member that has none gets one only anew.
func (l *lease) move(member string, from time.Time, anew bool) {
	next := &term{member, from.Add(l.session)}
	for {
		old := l.term.Load()
		if mine := old != nil && old.member == member; mine && !old.until.Before(next.until) || !mine && !anew || l.term.CompareAndSwap(old, next) {
			return
		}
	}
}

// end ends the lease, whosever it is.
func (l *lease) end() { l.term.Store(nil) }

// endOf ends the lease of a member that the group does not know. A later member's goes on.
func (l *lease) endOf(member string) {
	for {
		old := l.term.Load()
		if old == nil || old.member != member || l.term.CompareAndSwap(old, nil) {
			return
		}
	}
}

func (l *lease) valid() bool { return l.validAt(time.Now()) }

func (l *lease) validAt(now time.Time) bool {
	t := l.term.Load()
	return t != nil && t.valid(now)
}

// valid compares both readings of the clock: the monotonic one stands still while a machine sleeps, the wall clock can be
// set back.
func (t *term) valid(now time.Time) bool {
	return now.Before(t.until) && now.Round(0).Before(t.until.Round(0))
}
