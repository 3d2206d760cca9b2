// Package commit mirrors the logged frontiers into the group's offsets: the only place of an instance that commits.
//
// A Manager holds the newest frontier of each partition and keeps one OffsetCommit in flight. What keeps a commit honest:
// a partition is committed only between Hold and Release, only while the client is the same member of the group that the
// partition was assigned to (the broker fences members, not owners, and a callback may run under a new member id), and
// never below what was committed before in the same hold. The log's frontier stays the truth; a commit that fails is
// simply tried again with whatever is newest then.
//
// Only package consumer may use it. It never reads offsets.
package commit

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata marks a commit as Waybill's own. A committed offset without it is an operator's order.
const Metadata = "wb1"

// Partition names one partition.
type Partition struct {
	Topic     string
	Partition int32
}

// Manager commits offsets. Its methods are safe for concurrent use.
type Manager struct {
	client  *kgo.Client
	group   string
	topicID func(topic string) [16]byte
	failed  func(topic string, err error) // see Config
	ok      func(Partition, int64)
	every   time.Duration
	wake    chan struct{}

	mu     sync.Mutex
	parts  map[Partition]*held
	turned chan struct{} // closed when a round ends, and made anew
}

// held is one ownership of one partition.
type held struct {
	member   string
	want     int64
	epoch    int32 // leader epoch of the record before want, -1: not known
	done     int64
	released bool
}

// Config says how a Manager works.
type Config struct {
	Client    *kgo.Client
	Group     string
	TopicID   func(topic string) [16]byte     // OffsetCommit names topics by id from version 10 on
	Failed    func(topic string, err error)   // told of each failed request (topic is empty) or partition; may be nil
	Committed func(p Partition, offset int64) // told of each committed offset; may be nil
	Retry     time.Duration                   // before a failed request is tried again; 0 means 250 ms
}

// New returns a manager; Run must be running for it to commit.
func New(cfg Config) *Manager {
	if cfg.Retry == 0 {
		cfg.Retry = 250 * time.Millisecond
	}
	return &Manager{client: cfg.Client, group: cfg.Group, topicID: cfg.TopicID, failed: cfg.Failed, ok: cfg.Committed,
		every: cfg.Retry, parts: map[Partition]*held{}, wake: make(chan struct{}, 1), turned: make(chan struct{})}
}

// Hold begins an ownership of a partition by that member of the group.
func (m *Manager) Hold(p Partition, member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[p] = &held{member: member, want: -1, done: -1}
}

// Release ends it: nothing of it is committed any more, save what a request in flight carries; Flush before it waits for
// that too.
func (m *Manager) Release(ps ...Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range ps {
		if h := m.parts[p]; h != nil {
			h.released = true
			delete(m.parts, p)
		}
	}
	m.turn()
}

// turn lets those look again who wait for something to change. The caller holds m.mu.
func (m *Manager) turn() {
	close(m.turned)
	m.turned = make(chan struct{})
}

// Set asks for an offset to be committed, with the leader epoch of the record before it (-1: not known). It is ignored for a
// partition that is not held and below an earlier one.
func (m *Manager) Set(p Partition, offset int64, epoch int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.parts[p]
	if h == nil || offset <= h.want {
		return
	}
	h.want, h.epoch = offset, epoch
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Flush waits until what was asked for these partitions is committed, or they are released, or the client is no longer
// the member that held them, or ctx ends; only the last is an error. What is asked for others, or later, is not waited for.
func (m *Manager) Flush(ctx context.Context, ps ...Partition) error {
	want := map[*held]int64{}
	m.mu.Lock()
	for _, p := range ps {
		if h := m.parts[p]; h != nil {
			want[h] = h.want
		}
	}
	m.mu.Unlock()
	for {
		member, _ := m.client.GroupMetadata()
		m.mu.Lock()
		waiting := false
		for h, at := range want {
			waiting = waiting || h.done < at && !h.released && h.member == member
		}
		turned := m.turned
		m.mu.Unlock()
		if !waiting {
			return nil
		}
		select {
		case <-turned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run commits until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		case <-retry.C:
		}
		if again := m.round(ctx); again {
			retry.Reset(m.every)
		}
	}
}

// wish is one offset on its way to the group, and the ownership that asked for it.
type wish struct {
	by *held
	at int64
}

// round sends one request and reports whether something is left that a later try may commit.
func (m *Manager) round(ctx context.Context) (again bool) {
	req, sent := m.request(m.client.GroupMetadata())
	if req == nil {
		return m.settle(nil)
	}
	resp, err := req.RequestWith(ctx, m.client)
	if err != nil {
		m.tell("", fmt.Errorf("commit of %d partitions: %w", len(sent), err))
		return m.settle(nil)
	}
	good := map[Partition]wish{}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := t.Topic
		if name == "" {
			name = m.nameOf(t.TopicID, sent)
		}
		for _, p := range t.Partitions {
			at := Partition{name, p.Partition}
			w, ok := sent[at]
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case err != nil:
				m.tell(name, fmt.Errorf("commit of %s/%d at %d: %w", name, p.Partition, w.at, err))
			case ok:
				good[at] = w
			}
		}
	}
	return m.settle(good)
}

func (m *Manager) nameOf(id [16]byte, sent map[Partition]wish) string {
	for p := range sent {
		if m.topicID(p.Topic) == id {
			return p.Topic
		}
	}
	return ""
}

func (m *Manager) tell(topic string, err error) {
	if m.failed != nil {
		m.failed(topic, err)
	}
}

// request gathers what may be committed under the client's present membership; nil when there is nothing.
func (m *Manager) request(member string, generation int32) (*kmsg.OffsetCommitRequest, map[Partition]wish) {
	if member == "" || generation < 0 { // an empty member would be accepted for an empty group
		return nil, nil
	}
	sent := map[Partition]wish{}
	topics := map[string][]kmsg.OffsetCommitRequestTopicPartition{}
	m.mu.Lock()
	for p, h := range m.parts {
		if h.want <= h.done || h.member != member {
			continue
		}
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = p.Partition, h.want, h.epoch, kmsg.StringPtr(Metadata)
		topics[p.Topic] = append(topics[p.Topic], rp)
		sent[p] = wish{h, h.want}
	}
	m.mu.Unlock()
	if len(sent) == 0 {
		return nil, nil
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation = m.group, member, generation
	for topic, parts := range topics {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID, rt.Partitions = topic, m.topicID(topic), parts
		req.Topics = append(req.Topics, rt)
	}
	return req, sent
}

// settle notes what was committed, and reports whether something is left to commit for the present member.
func (m *Manager) settle(good map[Partition]wish) (again bool) {
	member, _ := m.client.GroupMetadata()
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, w := range good {
		w.by.done = max(w.by.done, w.at)
		if m.ok != nil && !w.by.released {
			m.ok(p, w.at)
		}
	}
	for _, h := range m.parts {
		again = again || h.want > h.done && h.member == member
	}
	m.turn()
	return again
}
