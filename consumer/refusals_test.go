package consumer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/commit"
)

// A refused partition is paused for as long as it is refused, also where it was given up and came back meanwhile: not paused, it would be
// asked for, and refused, thousands of times a second.
func TestRefusedPartitionComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		c := &Consumer{cfg: Config{Group: "g", FetchWait: 100 * time.Millisecond}, log: zap.NewNop()}
		c.bg.ctx = ctx
		c.fetch = newFetchControl(c)
		c.refusals = refusals{c: c, at: map[commit.Partition]*refusal{}}
		p := commit.Partition{Topic: "jobs", Partition: 1}
		c.owners.Store(p, &handle{})
		paused := func(want bool) {
			t.Helper()
			c.fetch.mu.Lock()
			defer c.fetch.mu.Unlock()
			if got := c.fetch.parts[p].refuse; got != want {
				t.Errorf("after %v: paused %v, want %v", time.Since(epoch), got, want)
			}
		}
		refused := func() {
			t.Helper()
			if !c.refusals.refused(p, kerr.TopicAuthorizationFailed) {
				t.Error("not taken for a refusal")
			}
		}
		c.fetch.hold(p)
		refused()
		paused(true)
		c.fetch.release([]commit.Partition{p})
		c.fetch.hold(p)
		refused()
		paused(true)
		time.Sleep(firstRefusal + time.Millisecond)
		synctest.Wait()
		paused(false)
		refused() // still not granted: a longer pause
		paused(true)
		time.Sleep(firstRefusal + time.Millisecond)
		paused(true)
		time.Sleep(firstRefusal)
		synctest.Wait()
		paused(false)
		end()
		c.bg.join()
	})
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's
