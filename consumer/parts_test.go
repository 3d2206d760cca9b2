package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/dedupe"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		ahead := func(want, tolerance time.Duration) {
			t.Helper()
			if got := time.Duration(c.now() - time.Now().UnixNano()); (got - want).Abs() > tolerance {
				t.Errorf("the corrected clock is ahead by %v, want %v", got, want)
			}
		}
		ahead(0, 0)
		if _, ok := c.skew(); ok {
			t.Error("a skew of no sample")
		}
		see := func(d time.Duration) { c.sample(time.Now().Add(d), time.Now()) }
		see(-time.Hour) // the first bound, however loose, is all that is known
		ahead(-time.Hour, 0)
		see(-time.Second)
		ahead(-time.Second, 0)
		for range 1000 { // a backlog: bounds that say nothing
			see(-3 * time.Hour)
		}
		ahead(-time.Second, 0)
		see(2 * time.Second) // the broker's clock is ahead
		ahead(2*time.Second, 0)
		if skew, ok := c.skew(); !ok || skew != 2*time.Second {
			t.Errorf("skew %v, %v", skew, ok)
		}
		time.Sleep(time.Hour) // a bound loses with age, so that it never is ahead of a broker whose clock runs slower
		ahead(200*time.Millisecond, time.Millisecond)
		see(time.Second)
		ahead(time.Second, 0)
	})
}

// An old bound is still a bound, however the clocks drift within what quartz does: nothing is run early (I7).
func TestClockNeverAheadOfTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c clock
		start := time.Now()
		broker := func() time.Time { // runs 0.02 % slower
			since := time.Since(start)
			return start.Add(5*time.Second + since - since/5000)
		}
		for i := range 200 {
			if i%7 == 0 {
				c.sample(broker().Add(-time.Duration(i)*time.Second), time.Now())
			}
			if i == 50 {
				c.sample(broker(), time.Now())
			}
			time.Sleep(time.Duration(i) * time.Second)
			if now := c.now(); now > broker().UnixNano() && i >= 7 {
				t.Fatalf("step %d: %v ahead of the broker", i, time.Duration(now-broker().UnixNano()))
			}
		}
	})
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLease(10 * time.Second)
		answered := func(key int16, took time.Duration, err error) {
			l.OnBrokerE2E(kgo.BrokerMetadata{}, key, kgo.BrokerE2E{TimeToRead: took, ReadErr: err})
		}
		check := func(what string, valid, doubted bool) {
			t.Helper()
			if l.valid() != valid {
				t.Errorf("%s: valid is %v", what, !valid)
			}
			select {
			case <-l.doubts:
				if !doubted {
					t.Errorf("%s: a proof is asked for", what)
				}
			default:
				if doubted {
					t.Errorf("%s: no proof is asked for", what)
				}
			}
		}
		check("at first", false, false)
		answered(heartbeatKey, 0, nil)
		check("a heartbeat before an assignment", false, false)
		l.begin("a")
		check("an assignment of nothing that was answered", false, false)
		answered(syncKey, 4*time.Second, nil)
		check("before the assignment is heard of", false, false)
		time.Sleep(time.Second)
		l.begin("a")
		time.Sleep(time.Second)
		answered(heartbeatKey, time.Second, nil)
		time.Sleep(9*time.Second - 1) // counted from when the request was sent
		check("after a heartbeat", true, false)
		answered(heartbeatKey, 8*time.Second, nil) // an answer that came late moves it all the same
		check("after a slow one", true, false)
		time.Sleep(time.Second)
		answered(heartbeatKey, 9*time.Second, nil) // and is no step back
		time.Sleep(time.Second - 1)
		check("a moment before it runs out", true, false)
		time.Sleep(2 * time.Nanosecond)
		check("when it has run out", false, false)
		answered(heartbeatKey, 0, errors.New("cut"))
		check("after a failure", false, false)
		answered(heartbeatKey, 0, nil) // which may say that the member is not known
		check("after an answer to a member whose lease had run out", false, true)
		l.proven("b", time.Now())
		check("after a proof for another", false, false)
		l.proven("a", time.Now().Add(-time.Second))
		check("after the proof", true, false)
		time.Sleep(9 * time.Second)
		check("a session after its request", false, false)
		answered(syncKey, 0, nil)
		l.begin("b")
		check("as another member", true, false)
		l.endOf("a")
		check("when a former member is not known", true, false)
		l.endOf("b")
		check("when the member is not known", false, false)
		answered(heartbeatKey, 0, nil)
		l.proven("b", time.Now()) // both were on their way
		check("late answers", false, false)
		answered(syncKey, 0, nil)
		l.begin("c")
		l.end()
		check("when the group is lost", false, false)
		answered(heartbeatKey, 0, nil)
		check("a late answer", false, false)
	})
}

// A lease that has ended is not given back by a heartbeat or a proof, whatever the moment.
func TestLeaseEndsForGood(t *testing.T) {
	for i := range 1000 {
		l := newLease(time.Hour)
		l.move("a", time.Now(), true)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { l.OnBrokerE2E(kgo.BrokerMetadata{}, heartbeatKey, kgo.BrokerE2E{}) })
			wg.Go(func() { l.proven("a", time.Now()) })
		}
		if i%2 == 0 {
			l.end()
		} else {
			l.endOf("a")
		}
		wg.Wait()
		if l.valid() {
			t.Fatal("the lease came back")
		}
	}
}

// A corrected clock that is set back by hours does not keep a shard from ticking: segments, commits and the lease go on.
func TestShardTicksByTheLocalClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &Consumer{cfg: Config{Tick: 100 * time.Millisecond, Window: time.Hour}, log: zap.NewNop(), lease: newLease(time.Minute)}
		c.fetch = newFetchControl(c)
		s := newShard(c)
		h := &handle{shard: s, drained: make(chan struct{}), leased: true, m: task.New(task.Config{Store: dedupe.NewMemory(time.Hour)})}
		h.attempts.Store(newAttempts(h))
		time.Sleep(10 * time.Millisecond) // the first tick is planned
		c.clock.sample(time.Now().Add(-3*time.Hour), time.Now())
		s.ask(h, func(*task.Machine, int64) { s.handles[h] = struct{}{} })
		time.Sleep(time.Second)
		s.ask(h, func(*task.Machine, int64) {
			if h.leased {
				t.Error("no tick within a second: the end of the lease is not noticed")
			}
		})
		if h.attempts.Load().ctx.Err() == nil {
			t.Error("attempts go on without a lease")
		}
		s.close()
		s.ask(h, func(*task.Machine, int64) { t.Error("applied after the shard was closed") })
		s.settle()
	})
}

func TestSplit(t *testing.T) {
	frontiers := []dedupe.Frontier{{Topic: dedupe.TopicID{1}, Offset: 7}}
	for _, c := range []struct{ receipts, result, want int }{
		{0, 0, 1}, {1, 0, 1}, {7000, 0, 1}, {7282, 0, 1}, {7283, 0, 2}, {20000, 0, 3}, {20000, dedupe.MaxResult, 13},
	} {
		t.Run(fmt.Sprintf("%d receipts of %d", c.receipts, c.result), func(t *testing.T) {
			seg := &task.Segment{Epoch: 3, Frontiers: frontiers}
			for i := range c.receipts {
				seg.Receipts = append(seg.Receipts, dedupe.Receipt{State: dedupe.Done, Origin: int64(i), Result: make([]byte, c.result)})
			}
			entries := split(seg)
			if len(entries) != c.want {
				t.Errorf("%d records, want %d", len(entries), c.want)
			}
			next := int64(0)
			for i, e := range entries {
				value := dedupe.AppendSegment(nil, e.Segment)
				if len(value) > maxSegment+dedupe.SegmentOverhead+dedupe.MaxReceiptSize {
					t.Errorf("record %d has %d bytes", i, len(value))
				}
				decoded, err := dedupe.Decode(value)
				if err != nil || decoded.Segment.Epoch != 3 {
					t.Fatalf("record %d: %+v, %v", i, decoded, err)
				}
				if last := i == len(entries)-1; last != (len(decoded.Segment.Frontiers) == 1) {
					t.Errorf("record %d of %d holds %d frontiers: they are the last one's", i, len(entries), len(decoded.Segment.Frontiers))
				}
				for _, r := range decoded.Segment.Receipts {
					if r.Origin != next {
						t.Fatalf("receipt %d stands where %d belongs", r.Origin, next)
					}
					next++
				}
			}
			if next != int64(c.receipts) {
				t.Errorf("%d receipts of %d", next, c.receipts)
			}
		})
	}
}

// The goroutines of an instance may be asked for at any time; none starts once they are joined.
func TestBackground(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		b := background{ctx: ctx}
		var running, late atomic.Int64
		var joined atomic.Bool
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 20 {
					b.run(func(ctx context.Context) {
						running.Add(1)
						defer running.Add(-1)
						if joined.Load() {
							late.Add(1)
						}
						<-ctx.Done()
					})
				}
			})
		}
		cancel()
		b.join()
		if n := running.Load(); n != 0 {
			t.Fatalf("%d run after the join", n)
		}
		joined.Store(true)
		wg.Wait()
		if n := late.Load(); n != 0 {
			t.Fatalf("%d started after the join", n)
		}
	}
}

// What the group says to a heartbeat, and what it proves.
func TestProver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, "jobs"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(network.DialContext), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("jobs"),
			kgo.HeartbeatInterval(time.Minute), kgo.SessionTimeout(5*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		outsider, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(network.DialContext), kgo.ConsumerGroup("g"))
		if err != nil {
			t.Fatal(err)
		}
		defer outsider.Close()
		p := prover{c: &Consumer{cfg: Config{Group: "g"}, group: outsider, writer: outsider, lease: newLease(time.Minute)}}
		if _, err := p.heartbeat(t.Context()); err == nil {
			t.Error("a proof without having joined the group")
		}
		p.c.group = cl
		time.Sleep(10 * time.Second)
		me, _ := cl.GroupMetadata()
		var code atomic.Int32
		c.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
			resp.ErrorCode = int16(code.Load())
			return resp, nil, resp.ErrorCode != 0
		})
		for _, x := range []struct {
			err    *kerr.Error
			member string
			again  bool
		}{
			{nil, me, false},
			{kerr.RebalanceInProgress, me, false}, // still a member: the tasks are ours until they are revoked
			{kerr.UnknownMemberID, "", false},
			{kerr.FencedInstanceID, "", false},
			{kerr.IllegalGeneration, "", true}, // a rebalance has just ended: ask again
			{kerr.GroupAuthorizationFailed, "", true},
		} {
			code.Store(0)
			if x.err != nil {
				code.Store(int32(x.err.Code))
			}
			p.c.lease.move(me, time.Now().Add(-2*time.Minute), true) // run out
			member, err := p.heartbeat(t.Context())
			if member != x.member || (err != nil) != x.again {
				t.Errorf("%v: member %q, %v", x.err, member, err)
			}
			if p.c.lease.valid() != (member != "") {
				t.Errorf("%v: the lease is valid: %v", x.err, p.c.lease.valid())
			}
			p.c.lease.end()
		}
		code.Store(0)
	})
}

// After a barrier nothing that was polled before it is on its way; it returns at once when nobody polls any more.
func TestBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, "jobs"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		cl, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(network.DialContext), kgo.ConsumeTopics("jobs"))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		inflater, err := newInflater(1<<20, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		of := &Consumer{group: cl, log: zap.NewNop(), inflater: inflater}
		of.fetch = newFetchControl(of)
		p := newPoller(of)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); p.run(ctx) }()
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		start := time.Now()
		for range 20 {
			wg.Go(func() {
				for range 20 {
					p.barrier()
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took > time.Second {
			t.Errorf("the barriers took %v while the poll waits for records", took)
		}
		cancel()
		<-ended
		p.barrier()
	})
}
