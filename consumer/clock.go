package consumer

import (
	"sync"
	"time"
)

// clock is the local clock corrected towards the brokers'. Every record that a broker stamped on append and that is then
// seen here is a sample: its stamp is not later than the broker's clock now, so stamp - now is a lower bound of the
// difference. The largest bound is used, hence the corrected clock is never ahead of the broker's and nothing delayed is
// run early (I7). Most bounds are loose (a record may have lain in its topic for hours before it was read), so a lower one
// does not replace a higher one; but clocks drift apart, so a bound loses clockDrift of its age. A broker whose clock was
// set back by less than a bound has lost is believed too late, by that much.
//
// The local clock is the monotonic one, counted from the first use, so that setting the wall clock changes nothing.
// Its methods are safe for concurrent use; its zero value works.
type clock struct {
	mu      sync.Mutex
	base    time.Time     // of the first use, with its monotonic reading
	offset  time.Duration // bound in force, as of
	at      time.Duration // after base
	sampled bool
}

// clockDrift is far above how much two clocks of quartz drift apart (0.02 %) and costs 2 s of lateness an hour where no
// fresh record is seen for that long.
const clockDrift = 1.0 / 2000

// local is the local clock at t, and how long after base that is. The caller holds c.mu.
func (c *clock) local(t time.Time) (wall int64, since time.Duration) {
	if c.base.IsZero() {
		c.base = t
	}
	since = t.Sub(c.base)
	return c.base.UnixNano() + int64(since), since
}

// bound is the offset in force. The caller holds c.mu.
func (c *clock) bound(since time.Duration) time.Duration {
	if !c.sampled {
		return 0
	}
	return c.offset - time.Duration(float64(max(0, since-c.at))*clockDrift)
}

// now is the corrected clock in nanoseconds of Unix time. It may jump, back too, when a sample comes.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, since := c.local(time.Now())
	return wall + int64(c.bound(since))
}

// sample tells that at local time seen a record stamped stamp was already appended.
func (c *clock) sample(stamp, seen time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, since := c.local(seen)
	d := time.Duration(stamp.UnixNano() - wall)
	if c.sampled && d <= c.bound(since) {
		return
	}
	c.offset, c.at, c.sampled = d, since, true
}

// skew is the correction in force, and whether any sample was seen.
func (c *clock) skew() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, since := c.local(time.Now())
	return c.bound(since), c.sampled
}
