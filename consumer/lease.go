package consumer

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lease is this instance's own view of its membership: it lasts one session timeout from the start of the last heartbeat
// that was answered. The broker counts from when that heartbeat arrived, so the lease ends first, and an instance that is
// cut off stops before another is given its tasks (I12). It is a client hook.
type lease struct {
	session time.Duration
	until   atomic.Int64 // unix nanoseconds of the local clock; 0: no lease
}

var _ kgo.HookBrokerE2E = (*lease)(nil)

const heartbeatKey = 12 // the protocol's number of Heartbeat requests

// OnBrokerE2E renews the lease. A transport without error is no proof (UNKNOWN_MEMBER_ID is also an answer): that ends the
// lease through end.
func (l *lease) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key == heartbeatKey && e2e.Err() == nil && l.until.Load() != 0 {
		l.renew(time.Now().Add(-e2e.DurationE2E()))
	}
}

func (l *lease) renew(from time.Time) {
	until := from.Add(l.session).UnixNano()
	for {
		old := l.until.Load()
		if old >= until || l.until.CompareAndSwap(old, until) {
			return
		}
	}
}

func (l *lease) end() { l.until.Store(0) }

func (l *lease) valid() bool { return time.Now().UnixNano() < l.until.Load() }
