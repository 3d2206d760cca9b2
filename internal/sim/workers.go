package sim

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/inject"
	"github.com/waybill-dev/waybill/internal/ledger"
)

// worker is one process of the group.
type worker struct {
	name   string
	host   *host
	tap    *ledger.Tap
	c      *consumer.Consumer
	cancel context.CancelFunc
	died   time.Time     // killed, or stopped, then
	ended  chan struct{} // closed when Run has returned err
	err    error
	frozen bool
	dir    string       // of its receipts; empty: in memory
	stall  atomic.Int64 // nanoseconds that its next poll with records takes to come back
}

// OnFetchRecordUnbuffered implements kgo.HookFetchRecordUnbuffered: a poll that has taken records comes back late, as that of
// a process does which gets no processor for a while.
func (k *worker) OnFetchRecordUnbuffered(_ *kgo.Record, polled bool) {
	if polled {
		if d := k.stall.Swap(0); d > 0 {
			time.Sleep(time.Duration(d))
		}
	}
}

// start brings a new worker up.
func (w *world) start() error {
	w.born++
	k := &worker{name: fmt.Sprintf("worker-%d", w.born), host: newHost(w.net), ended: make(chan struct{})}
	k.tap = w.rec.For(k.name)
	if w.disks != nil {
		var err error
		if k.dir, err = w.disks.next(w); err != nil {
			return err
		}
	}
	workers, free := 6, 4
	if w.tight > 0 {
		workers, free = 2, 1
	}
	c, err := consumer.New(consumer.Config{
		Brokers: []string{"localhost:9092", "localhost:9093"}, Group: groupName, Mux: mux(k.tap, w.tight > 0, w.reconcile), Dir: k.dir,
		Foreign: []consumer.Topic{{Name: topicName, DefaultKind: "sim.unordered"}},
		Tiers:   tiers, Setup: consumer.Create, Workers: workers, Classes: map[string]int{"free": free}, KeepUnknown: 3 * time.Minute,
		Instance: k.name, ClientID: k.name, SessionTimeout: session, Heartbeat: heartbeat, RebalanceTimeout: 15 * time.Second, DrainTimeout: drain,
		Tick: tick, Logger: w.log.Named(k.name), Opts: []kgo.Opt{kgo.Dialer(k.host.dial), kgo.MetadataMinAge(100 * time.Millisecond), kgo.DisableClientMetrics(), kgo.WithHooks(k)},
	})
	if err != nil {
		return err
	}
	k.c = c
	ctx := w.disks.small(context.Background(), w.rand)
	if w.tight > 0 {
		ctx = inject.WithRecords(ctx, w.tight)
	}
	ctx, cancel := context.WithCancel(ctx)
	k.cancel = cancel
	go func() {
		defer close(k.ended)
		k.err = c.Run(ctx)
	}()
	w.workers = append(w.workers, k)
	return nil
}

// remove takes a random worker out of the living.
func (w *world) remove() *worker {
	i := w.rand.IntN(len(w.workers))
	k := w.workers[i]
	w.workers = append(w.workers[:i], w.workers[i+1:]...)
	w.past = append(w.past, k)
	return k
}

// kill ends a worker without warning: from here on nothing it does counts or lands.
func (w *world) kill() {
	k := w.remove()
	w.die(k)
	w.counts["kill"]++
	w.disks.died(k)
	k.cancel()
}

func (w *world) die(k *worker) {
	k.died = time.Now()
	k.tap.Freeze()
	w.driver.Record(ledger.Event{Type: ledger.Faulted, Fault: ledger.Kill, Target: k.name})
	k.host.cut()
}

// killAt ends a worker at one of its next messages, before it leaves: between a produce and its commit, say.
func (w *world) killAt(n int) {
	k := w.workers[w.rand.IntN(len(w.workers))]
	if k.c.Ready() != nil {
		return
	}
	fired := make(chan struct{})
	k.host.arm(n, func() {
		w.die(k)
		close(fired)
	})
	select {
	case <-fired:
		w.counts["kill at an effect"]++
		w.counts["kill"]++
	case <-time.After(20 * time.Second):
		k.host.arm(0, nil)
		return
	}
	w.workers = slices.DeleteFunc(w.workers, func(x *worker) bool { return x == k })
	w.past = append(w.past, k)
	w.disks.died(k)
	k.cancel()
}

// stop tells a worker to shut down and waits until it has.
func (w *world) stop() {
	k := w.remove()
	w.fault(ledger.Stop, k.name, "")
	k.host.heal()
	k.cancel()
	<-k.ended
	k.died = time.Now()
	if k.err != nil {
		w.log.Warn("worker stopped", zap.String("worker", k.name), zap.Error(k.err))
	}
	w.fault(ledger.Exit, k.name, "")
	w.disks.left(k.dir)
}

// zombie freezes a worker's network for longer or shorter than its session lasts; what it sent meanwhile lands late.
func (w *world) zombie(d time.Duration) {
	w.zombieOf(w.workers[w.rand.IntN(len(w.workers))], d)
}

func (w *world) zombieOf(k *worker, d time.Duration) {
	if k.frozen {
		return
	}
	k.frozen = true
	w.fault(ledger.Cut, k.name, d.String())
	if d > session {
		w.counts["zombie"]++
	}
	k.host.freeze()
	time.Sleep(d)
	w.fault(ledger.Heal, k.name, "")
	k.host.heal()
	k.frozen = false
}
