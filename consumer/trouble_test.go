package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/job"
)

// A broker that does not answer at the start keeps Run only as long as its context; one that refuses ends it.
func TestBrokerAwayAtStart(t *testing.T) {
	within(t, func(r *rig) {
		silent := kgo.Dialer(func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() })
		a := r.launch("a", func(c *consumer.Config) { c.Opts = []kgo.Opt{silent} })
		time.Sleep(5 * time.Second)
		if err := a.Ready(); err == nil || len(a.done) > 0 {
			t.Errorf("ready: %v; %d Runs returned", err, len(a.done))
		}
		start := time.Now()
		if err := a.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("Run returned after %v", took)
		}
		b := r.launch("b", func(c *consumer.Config) { c.Brokers = []string{"localhost:1"} })
		time.Sleep(3 * time.Minute)
		if len(b.done) == 0 {
			t.Error("Run goes on without ever having found a broker")
		}
		if err := b.stop(); err == nil {
			t.Error("no error")
		}
	})
}

// A broker that is away at the end delays it by the drain timeout and a bound, whether or not jobs wait to be settled.
func TestBrokerDiesBeforeTheEnd(t *testing.T) {
	for name, away := range map[string]func(*wire){"cut": (*wire).cut, "silent": (*wire).hush} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", busy=", busy), func(t *testing.T) {
				within(t, func(r *rig) {
					r.handle = func(context.Context, *job.Job[note]) error { time.Sleep(2 * time.Second); return nil }
					a := r.start("a", func(c *consumer.Config) { c.DrainTimeout = 10 * time.Second })
					if busy {
						r.put(0, "job", "")
						time.Sleep(time.Second)
					}
					away(a.wire)
					start := time.Now()
					err := a.stop()
					if took := time.Since(start); took > 25*time.Second {
						t.Errorf("Run returned after %v", took)
					}
					if busy == (err == nil) {
						t.Errorf("Run: %v", err)
					}
				})
			})
		}
	}
}

// Brokers that fall silent while an instance runs, and take every new connection without a word or let nobody connect: whatever
// it asks of them just then, Run ends within its bound, and so does everything that it began.
func TestSilentBrokersDoNotKeepRun(t *testing.T) {
	for _, accepts := range []bool{false, true} {
		for _, since := range []time.Duration{0, 20 * time.Second, 5 * time.Minute} {
			for _, dir := range []string{"", t.TempDir()} {
				t.Run(fmt.Sprint("accepts=", accepts, ", since=", since, ", disk=", dir != ""), func(t *testing.T) {
					within(t, func(r *rig) {
						a := r.start("a", onDisk(dir), func(c *consumer.Config) { c.DrainTimeout = 5 * time.Second })
						b := r.start("b")
						r.put(0, "job", "")
						time.Sleep(time.Second) // virtual: it is done, and that is durable
						a.wire.deafen(accepts)
						time.Sleep(since)
						began := time.Now()
						_ = a.stop() // that what it wrote last is not acked is no fault
						if took := time.Since(began); took > 25*time.Second {
							t.Errorf("Run returned after %v", took)
						}
						time.Sleep(time.Minute)
						r.expectRuns("job", 1)
						b.clean()
					})
				})
			}
		}
	}
}

// The same before it has ever reached one.
func TestSilentBrokersAtStart(t *testing.T) {
	for _, accepts := range []bool{false, true} {
		within(t, func(r *rig) {
			hushed := &wire{net: &r.net, conns: map[net.Conn]struct{}{}, silent: true, accepts: accepts}
			a := r.launch("a", func(c *consumer.Config) { c.Opts = []kgo.Opt{kgo.Dialer(hushed.dial)} })
			time.Sleep(3 * time.Second)
			began := time.Now()
			if err := a.stop(); err == nil {
				t.Error("no error")
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("accepts=%v: Run returned after %v", accepts, took)
			}
		})
	}
}

// A network that is gone for longer than the session and comes back: the lease ends, attempts are cancelled, and in the end
// every job is done.
func TestNetworkComesBack(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(ctx context.Context, j *job.Job[note]) error {
			if len(r.attempts("job")) > 0 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}
		a := r.start("a", func(c *consumer.Config) { c.SessionTimeout, c.Heartbeat = 10*time.Second, time.Second })
		r.put(0, "job", "")
		time.Sleep(time.Second)
		if err := a.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		a.wire.cut()
		time.Sleep(11 * time.Second)
		if err := a.Ready(); err == nil {
			t.Error("ready without a heartbeat in the session timeout")
		}
		if got := r.attempts("job"); len(got) != 1 || !errors.Is(got[0].err, context.Canceled) {
			t.Errorf("without a lease: %+v", got)
		}
		time.Sleep(time.Minute)
		a.wire.heal()
		time.Sleep(2 * time.Minute)
		if err := a.Ready(); err != nil {
			t.Errorf("not ready again: %v", err)
		}
		r.expectRuns("job", 2)
		a.clean()
	})
}

// A batch that a broker refuses for its size says nothing of the records in it: each is sent again alone.
func TestRefusedBatch(t *testing.T) {
	within(t, func(r *rig) {
		r.handle = func(_ context.Context, j *job.Job[note]) error {
			if j.Attempt == 1 {
				return errors.New("not yet")
			}
			return nil
		}
		a := r.start("a")
		refused := false
		r.cluster.ControlKey(int16(kmsg.Produce), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
			r.cluster.KeepControl()
			req := kreq.(*kmsg.ProduceRequest)
			resp := req.ResponseKind().(*kmsg.ProduceResponse)
			for _, t := range req.Topics {
				rt := kmsg.NewProduceResponseTopic()
				rt.Topic, rt.TopicID = t.Topic, t.TopicID
				if info := r.cluster.TopicIDInfo(t.TopicID); info != nil {
					rt.Topic = info.Topic
				}
				for _, p := range t.Partitions {
					rp := kmsg.NewProduceResponseTopicPartition()
					rp.Partition, rp.ErrorCode = p.Partition, kerr.MessageTooLarge.Code
					rt.Partitions = append(rt.Partitions, rp)
				}
				resp.Topics = append(resp.Topics, rt)
			}
			if refused || len(resp.Topics) != 1 || !strings.Contains(resp.Topics[0].Topic, ".retry.") {
				return nil, nil, false
			}
			refused = true
			return resp, nil, true
		})
		r.put(0, "job", "")
		time.Sleep(5 * time.Minute)
		r.expectRuns("job", 2)
		if got := r.values(topicName + "." + groupName + ".dlq"); len(got) != 0 {
			t.Errorf("%d letters", len(got))
		}
		a.clean()
	})
}

// Brokers that refuse whatever is asked of them for a while cost time and nothing else: ownership, restore, proof, copies,
// receipts and commits are all tried again.
func TestBrokersRefuseForAWhile(t *testing.T) {
	for key, refusal := range map[kmsg.Key]*kerr.Error{kmsg.Produce: kerr.TopicAuthorizationFailed, kmsg.Fetch: kerr.TopicAuthorizationFailed,
		kmsg.ListOffsets: kerr.TopicAuthorizationFailed, kmsg.OffsetFetch: kerr.GroupAuthorizationFailed, kmsg.OffsetCommit: kerr.TopicAuthorizationFailed} {
		t.Run(key.Name(), func(t *testing.T) {
			within(t, func(r *rig) {
				r.handle = func(_ context.Context, j *job.Job[note]) error {
					if j.Attempt == 1 {
						return errors.New("not yet")
					}
					return nil
				}
				r.start("a").clean() // makes the topics
				for p := range int32(4) {
					r.put(p, fmt.Sprint("early-", p), "")
				}
				ofTheLayout := func(req kmsg.Request) bool { // without it Run ends
					list, ok := req.(*kmsg.ListOffsetsRequest)
					return ok && strings.HasSuffix(list.Topics[0].Topic, ".control")
				}
				refuse := func() (end func()) {
					h := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: refusal, Count: -1, When: func(req kmsg.Request) bool { return !ofTheLayout(req) }})
					return func() {
						if h.Remove(); h.Hits() == 0 {
							t.Error("nothing was refused")
						}
					}
				}
				var end func()
				if key == kmsg.ListOffsets || key == kmsg.OffsetFetch {
					end = refuse()
				}
				b := r.launch("b")
				time.Sleep(10 * time.Millisecond) // the layout is read
				if end == nil {
					end = refuse()
				}
				time.Sleep(30 * time.Second)
				end()
				time.Sleep(3 * time.Minute)
				r.expectRuns("early-", 8)
				for p := range int32(4) {
					r.put(p, fmt.Sprint("late-", p), "")
				}
				if key == kmsg.Produce || key == kmsg.Fetch || key == kmsg.OffsetCommit { // the others are asked at the start only
					end := refuse()
					time.Sleep(30 * time.Second)
					end()
				}
				time.Sleep(5 * time.Minute)
				r.expectRuns("late-", 8)
				for p := range int32(4) {
					if at, _ := r.committed(topicName, p); at != 2 {
						t.Errorf("partition %d is committed at %d, want 2", p, at)
					}
				}
				for p, s := range b.tasks() {
					if len(s.Sources[0].Pauses) != 0 || s.Writes != 0 {
						t.Errorf("task %d: %+v", p, s)
					}
				}
				b.clean()
			})
		})
	}
}
