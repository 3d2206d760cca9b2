package consumer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waybill-dev/waybill/consumer/internal/task"
)

// Ready is nil while the instance is a member of its group and not draining; the error says what is missing. It is never
// about a downstream.
func (c *Consumer) Ready() error {
	switch {
	case c.draining.Load():
		return errors.New("draining")
	case !c.joined.Load():
		return c.because(errors.New("not yet a member of group " + c.cfg.Group))
	case !c.lease.valid():
		return c.because(errors.New("no heartbeat was answered within the session timeout"))
	}
	return nil
}

// because adds to an error what the group said last, while that is news.
func (c *Consumer) because(err error) error {
	if said := c.complaints.of(groupTrouble); said != "" {
		return fmt.Errorf("%w: %s", err, said)
	}
	return err
}

// TaskStatus is one task as this instance sees it.
type TaskStatus = task.Status

// Status is what an instance does.
type Status struct {
	Instance string        `json:"instance"`
	Group    string        `json:"group"`
	Ready    string        `json:"ready"` // "yes", or what is missing
	Skew     time.Duration `json:"clock_skew"`
	Topics   []TopicFault  `json:"topics"` // those that are not as they must be
	Tasks    []TaskStatus  `json:"tasks"`
	Pools    []PoolStatus  `json:"pools"`
	// Troubles are what failed within the last minute and is being tried again, the oldest first.
	Troubles []Trouble `json:"troubles"`
}

// PoolStatus is the load of one class.
type PoolStatus struct {
	Class   string `json:"class"`
	Workers int    `json:"workers"`
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

// Status gathers what every task does; it takes as long as the busiest shard needs for one round.
func (c *Consumer) Status() Status {
	s := Status{Instance: c.cfg.Instance, Group: c.cfg.Group, Ready: "yes"}
	if err := c.Ready(); err != nil {
		s.Ready = err.Error()
	}
	s.Skew, _ = c.clock.skew()
	c.mu.Lock()
	hs := make([]*handle, 0, len(c.handles))
	for _, h := range c.handles {
		hs = append(hs, h)
	}
	pools := c.pools
	c.mu.Unlock()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, h := range hs {
		wg.Add(1)
		go func() {
			defer wg.Done()
			h.shard.ask(h, func(m *task.Machine, _ int64) {
				st := m.Status()
				c.refusals.show(&st)
				mu.Lock()
				defer mu.Unlock()
				s.Tasks = append(s.Tasks, st)
			})
		}()
	}
	wg.Wait()
	s.Topics = withStopped(c.watch.list(), s.Tasks)
	for class, i := range c.classes {
		if i < len(pools) {
			running, waiting := pools[i].Load()
			s.Pools = append(s.Pools, PoolStatus{class, c.workers[i], running, waiting})
		}
	}
	s.Troubles = c.complaints.list()
	return s
}

// Handler serves /healthz (200 while the process works), /readyz (200 or 503 with the reason), /status (JSON) and, when
// Config.Metrics is a Gatherer too, /metrics: all that is registered there.
func (c *Consumer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := c.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(c.Status())
	})
	if g, ok := c.cfg.Metrics.(prometheus.Gatherer); ok {
		mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	}
	return mux
}
