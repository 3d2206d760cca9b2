package consumer

import (
	"sync"
	"time"
)

// clock is the local clock corrected towards the brokers'. Every record that a broker stamped on append and that is then
// seen here is a sample: its stamp is not later than the broker's clock now, so stamp - now is a lower bound of the
// difference. The largest recent bound is used, hence the corrected clock is never ahead of the broker's and nothing
// delayed is run early (I7). Its methods are safe for concurrent use.
type clock struct {
	mu      sync.Mutex
	offset  time.Duration
	samples [64]time.Duration
	n       int
}

func (c *clock) now() int64 {
	c.mu.Lock()
	off := c.offset
	c.mu.Unlock()
	return time.Now().UnixNano() + int64(off)
}

// sample tells that at local time seen a record stamped stamp was already appended.
func (c *clock) sample(stamp, seen time.Time) {
	d := stamp.Sub(seen)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[c.n%len(c.samples)] = d
	c.n++
	c.offset = d
	for _, s := range c.samples[:min(c.n, len(c.samples))] {
		c.offset = max(c.offset, s)
	}
}

// skew is the correction in force, and whether any sample was seen.
func (c *clock) skew() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset, c.n > 0
}
