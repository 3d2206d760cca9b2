package commit

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	groupName = "g"
	topicName = "jobs"
)

// rig is a broker in virtual time, one member of a group, and a manager that commits for it.
type rig struct {
	*Manager
	t       *testing.T
	cluster *kfake.Cluster
	opts    []kgo.Opt
	client  *kgo.Client
	admin   *kadm.Client
	member  string

	mu   sync.Mutex
	told []error
	ok   map[Partition]int64
	asks []map[int32]int64 // what each request that reached the broker carried

	// answer is asked for the error of a partition in a request; nil: none, but what the broker finds.
	answer func(partition int32, offset int64) *kerr.Error
	during func() // called while a request is on its way
}

// run runs test beside a manager; join says whether the client is a member by then.
func run(t *testing.T, join bool, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var network kfake.VirtualNetwork
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(4, topicName))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := &rig{t: t, cluster: c, ok: map[Partition]int64{}, opts: []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...), kgo.Dialer(network.DialContext)}}
		r.client = r.join(join)
		defer r.client.Close()
		r.admin = kadm.NewClient(r.client)
		topics, err := r.admin.ListTopics(t.Context(), topicName)
		if err != nil {
			t.Fatal(err)
		}
		id := [16]byte(topics[topicName].ID)
		r.member, _ = r.client.GroupMetadata()
		if join && r.member == "" {
			t.Fatal("not joined")
		}
		c.ControlKey(int16(kmsg.OffsetCommit), r.control)
		r.Manager = New(Config{Client: r.client, Group: groupName, TopicID: func(string) [16]byte { return id },
			Failed:    func(_ string, err error) { r.note(func() { r.told = append(r.told, err) }) },
			Committed: func(p Partition, off int64) { r.note(func() { r.ok[p] = off }) }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		test(r)
		cancel()
		<-ended
	})
}

func (r *rig) join(member bool) *kgo.Client {
	r.t.Helper()
	opts := []kgo.Opt{kgo.ConsumerGroup(groupName), kgo.DisableAutoCommit(), kgo.Balancers(kgo.CooperativeStickyBalancer())}
	if member {
		opts = append(opts, kgo.ConsumeTopics(topicName))
	}
	cl, err := kgo.NewClient(append(opts, r.opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	return cl
}

func (r *rig) note(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// control sees every commit request and answers it where the test wants.
func (r *rig) control(kreq kmsg.Request) (kmsg.Response, error, bool) {
	r.cluster.KeepControl()
	req := kreq.(*kmsg.OffsetCommitRequest)
	asked := map[int32]int64{}
	var answer func(int32, int64) *kerr.Error
	var during func()
	r.note(func() { answer, during = r.answer, r.during })
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	injected := false
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			asked[p.Partition] = p.Offset
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			if answer != nil {
				if err := answer(p.Partition, p.Offset); err != nil {
					rp.ErrorCode, injected = err.Code, true
				}
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	r.note(func() { r.asks = append(r.asks, asked) })
	if during != nil {
		r.cluster.SleepControl(during)
	}
	if injected {
		return resp, nil, true
	}
	return nil, nil, false
}

func at(partition int32) Partition { return Partition{topicName, partition} }

// flush flushes within a second of virtual time.
func (r *rig) flush(ps ...Partition) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Second)
	defer cancel()
	return r.Flush(ctx, ps...)
}

// committed checks what the broker has: partition to offset.
func (r *rig) committed(want map[int32]int64) {
	r.t.Helper()
	got, err := r.admin.FetchOffsets(r.t.Context(), groupName)
	if err != nil {
		r.t.Fatal(err)
	}
	have := map[int32]int64{}
	got.Each(func(o kadm.OffsetResponse) {
		have[o.Partition] = o.At
		if o.Metadata != Metadata {
			r.t.Errorf("partition %d has the metadata %q, want %q", o.Partition, o.Metadata, Metadata)
		}
	})
	if !maps.Equal(have, want) {
		r.t.Errorf("committed %v, want %v", have, want)
	}
}

func TestCommit(t *testing.T) {
	run(t, true, func(r *rig) {
		r.Hold(at(0), r.member)
		r.Hold(at(1), r.member)
		r.Set(at(0), 10, -1)
		r.Set(at(1), 0, -1) // the frontier of a partition of which nothing is settled
		r.Set(at(2), 7, -1) // not held
		if err := r.flush(at(0), at(1), at(2)); err != nil {
			t.Error(err)
		}
		r.committed(map[int32]int64{0: 10, 1: 0})
		r.Set(at(0), 9, -1) // never back
		r.Set(at(0), 10, -1)
		if err := r.flush(at(0)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		r.committed(map[int32]int64{0: 10, 1: 0})
		r.Set(at(0), 12, -1)
		if err := r.flush(at(0)); err != nil {
			t.Error(err)
		}
		r.committed(map[int32]int64{0: 12, 1: 0})
		r.note(func() {
			if len(r.told) > 0 || r.ok[at(0)] != 12 || r.ok[at(1)] != 0 || len(r.ok) != 2 {
				t.Errorf("told %v and %v", r.told, r.ok)
			}
			for _, a := range r.asks[len(r.asks)-1:] {
				if !maps.Equal(a, map[int32]int64{0: 12}) {
					t.Errorf("the last request carries %v: what is committed is not committed again", a)
				}
			}
		})
	})
}

// Only the member that a partition was assigned to commits it: a callback may run under a new member id.
func TestStamp(t *testing.T) {
	run(t, true, func(r *rig) {
		r.Hold(at(0), "who we were before")
		r.Hold(at(1), r.member)
		r.Set(at(0), 10, -1)
		r.Set(at(1), 11, -1)
		if err := r.flush(at(0), at(1)); err != nil {
			t.Errorf("a commit that can never be made is waited for: %v", err)
		}
		time.Sleep(time.Minute)
		r.committed(map[int32]int64{1: 11})
	})
}

// Without a membership nothing is sent: the broker would take it for an empty group.
func TestNoMember(t *testing.T) {
	run(t, false, func(r *rig) {
		r.Hold(at(0), "")
		r.Set(at(0), 10, -1)
		time.Sleep(time.Minute)
		if err := r.flush(at(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		r.note(func() {
			if len(r.asks) > 0 {
				t.Errorf("requests %v", r.asks)
			}
		})
	})
}

// A client that was thrown out and joined again is another member: what it held before is not committed under the new id.
func TestRejoin(t *testing.T) {
	run(t, true, func(r *rig) {
		r.Hold(at(0), r.member)
		r.answer = func(int32, int64) *kerr.Error { return kerr.UnknownMemberID }
		r.Set(at(0), 5, -1)
		synctest.Wait()
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group = groupName
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = r.member
		leave.Members = append(leave.Members, m)
		leave.MemberID = r.member
		if _, err := leave.RequestWith(r.t.Context(), r.client); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if now, _ := r.client.GroupMetadata(); now == r.member || now == "" {
			t.Fatalf("the member is %q still", now)
		}
		r.note(func() { r.answer = nil; r.asks = nil })
		r.Set(at(0), 6, -1)
		time.Sleep(time.Minute)
		r.committed(map[int32]int64{})
		if err := r.flush(at(0)); err != nil {
			t.Error(err)
		}
	})
}

func TestRelease(t *testing.T) {
	run(t, true, func(r *rig) {
		r.Hold(at(0), r.member)
		r.Hold(at(1), r.member)
		r.answer = func(p int32, _ int64) *kerr.Error {
			if p == 0 {
				return kerr.RebalanceInProgress
			}
			return nil
		}
		r.Set(at(0), 10, -1)
		time.Sleep(1100 * time.Millisecond) // between two tries: what is on its way when a partition is released may land
		r.Release(at(0), at(3))
		r.note(func() { r.answer = nil })
		r.Set(at(0), 11, -1)
		if err := r.flush(at(0)); err != nil {
			t.Errorf("what is released is waited for: %v", err)
		}
		time.Sleep(time.Minute)
		r.committed(map[int32]int64{})
	})
}

// A commit on its way when its ownership ends says nothing of the next one, which may begin lower by an operator's order.
func TestHeldAnewWhileOnItsWay(t *testing.T) {
	run(t, true, func(r *rig) {
		r.Hold(at(0), r.member)
		r.during = func() {
			r.note(func() { r.during = nil })
			r.Release(at(0))
			r.Hold(at(0), r.member)
			r.Set(at(0), 3, -1)
		}
		r.Set(at(0), 10, -1)
		time.Sleep(time.Minute)
		r.committed(map[int32]int64{0: 3})
		r.note(func() {
			if r.ok[at(0)] != 3 {
				t.Errorf("told of %v", r.ok)
			}
		})
	})
}

// Whatever a request ends with, the newest offset is committed in the end, and others with it meanwhile.
func TestErrors(t *testing.T) {
	for _, kind := range []*kerr.Error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID,
		kerr.TopicAuthorizationFailed, kerr.UnknownTopicID, kerr.OffsetMetadataTooLarge} {
		t.Run(kind.Message, func(t *testing.T) {
			run(t, true, func(r *rig) {
				var asked atomic.Int64
				r.answer = func(int32, int64) *kerr.Error {
					if asked.Add(1) <= 3 {
						return kind
					}
					return nil
				}
				r.Hold(at(0), r.member)
				r.Set(at(0), 10, -1)
				time.Sleep(300 * time.Millisecond)
				r.Set(at(0), 20, -1)
				time.Sleep(10 * time.Second)
				r.committed(map[int32]int64{0: 20})
				r.note(func() {
					if len(r.told) != 3 || !errors.Is(r.told[0], kind) {
						t.Errorf("told %v, want %v three times", r.told, kind.Message)
					}
				})
			})
		})
	}
}

// A partition that is refused keeps no other from being committed.
func TestOneIsRefused(t *testing.T) {
	run(t, true, func(r *rig) {
		r.answer = func(p int32, _ int64) *kerr.Error {
			if p == 0 {
				return kerr.TopicAuthorizationFailed
			}
			return nil
		}
		r.Hold(at(0), r.member)
		r.Hold(at(1), r.member)
		r.Set(at(0), 10, -1)
		r.Set(at(1), 11, -1)
		if err := r.flush(at(1)); err != nil {
			t.Error(err)
		}
		r.note(func() {
			if r.ok[at(1)] != 11 {
				t.Errorf("told of %v", r.ok)
			}
		})
		if err := r.flush(at(0), at(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
	})
}

// Flush waits for what was asked before it, not for what others ask all the time.
func TestFlush(t *testing.T) {
	run(t, true, func(r *rig) {
		if err := r.flush(); err != nil {
			t.Error(err)
		}
		r.Hold(at(0), r.member)
		r.Hold(at(1), r.member)
		next := int64(0)
		r.during = func() {
			next++
			r.Set(at(1), next, -1) // another one for the next round, always
			time.Sleep(100 * time.Millisecond)
		}
		r.Set(at(1), 0, -1)
		time.Sleep(time.Second)
		start := time.Now()
		r.Set(at(0), 10, -1)
		if err := r.flush(at(0)); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took < 100*time.Millisecond || took > 250*time.Millisecond {
			t.Errorf("it took %v, want the request on its way and one more", took)
		}
		r.note(func() { r.during = nil })
	})
}

// A coordinator that is away is asked again; the end does not wait for it.
func TestBrokerAway(t *testing.T) {
	run(t, true, func(r *rig) {
		r.Hold(at(0), r.member)
		away := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Count: -1})
		r.Set(at(0), 10, -1)
		time.Sleep(time.Minute)
		if err := r.flush(at(0)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		away.Remove()
		time.Sleep(time.Minute)
		r.committed(map[int32]int64{0: 10})
	})
}
