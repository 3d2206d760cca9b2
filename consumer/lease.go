package consumer

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lease is this instance's own view of its membership: it lasts one session timeout from the start of the last request of
// the group that was answered. The broker counts from when that request arrived, so the lease ends first, and an instance
// that is cut off stops before another is given its tasks (I12). It is a client hook; its methods are safe for concurrent use.
type lease struct {
	session time.Duration
	until   atomic.Pointer[time.Time] // nil: no lease
	synced  atomic.Pointer[time.Time] // when the last answered SyncGroup was sent
}

var _ kgo.HookBrokerE2E = (*lease)(nil)

// The protocol's numbers of requests.
const (
	heartbeatKey = 12
	syncKey      = 14
)

// OnBrokerE2E renews the lease. A transport without error is no proof (UNKNOWN_MEMBER_ID is also an answer): that ends the
// lease through end.
func (l *lease) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != heartbeatKey && key != syncKey || e2e.Err() != nil {
		return
	}
	sent := time.Now().Add(-e2e.DurationE2E())
	if key == syncKey {
		l.synced.Store(&sent)
		return
	}
	l.renew(sent, false)
}

// begin gives the lease that an assignment brings: it counts from the SyncGroup that brought it, since the callback may
// come late.
func (l *lease) begin() {
	if from := l.synced.Load(); from != nil {
		l.renew(*from, true)
	}
}

// renew moves the end of the lease, never back. One that has ended is given anew by begin only.
func (l *lease) renew(from time.Time, anew bool) {
	until := from.Add(l.session)
	for {
		old := l.until.Load()
		if old == nil && !anew || old != nil && !old.Before(until) || l.until.CompareAndSwap(old, &until) {
			return
		}
	}
}

func (l *lease) end() { l.until.Store(nil) }

// valid compares both readings of the clock: the monotonic one stands still while a machine sleeps, the wall clock can be
// set back.
func (l *lease) valid() bool { return l.validAt(time.Now()) }

func (l *lease) validAt(now time.Time) bool {
	until := l.until.Load()
	return until != nil && now.Before(*until) && now.Round(0).Before(until.Round(0))
}
