package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/consumer/internal/task"
	"github.com/waybill-dev/waybill/internal/setup"
)

// prover proves membership for tasks that ask, and looks up where their partitions start: one heartbeat for all that wait,
// and one look at the cluster for those of one job topic, so that a topic that cannot be looked at holds up no other.
type prover struct {
	c    *Consumer
	asks chan *handle

	failures map[string]int // in a row, by job topic; run's own
}

func newProver(c *Consumer) *prover {
	return &prover{c: c, asks: make(chan *handle, 1024), failures: map[string]int{}}
}

func (p *prover) ask(h *handle) {
	select {
	case p.asks <- h:
	default: // full: never block a shard
		p.c.spawn(func(ctx context.Context) {
			select {
			case p.asks <- h:
			case <-ctx.Done():
			}
		})
	}
}

func (p *prover) run(ctx context.Context) {
	for {
		var waiting []*handle
		select {
		case h := <-p.asks:
			waiting = append(waiting, h)
		case <-p.c.lease.doubts:
			p.renew(ctx)
			continue
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			select {
			case h := <-p.asks:
				waiting = append(waiting, h)
			default:
				more = false
			}
		}
		p.prove(ctx, waiting)
	}
}

func (p *prover) prove(ctx context.Context, hs []*handle) {
	byTopic := map[*topic][]*handle{}
	for _, h := range hs {
		if !h.gone.Load() {
			byTopic[h.topic] = append(byTopic[h.topic], h)
		}
	}
	if len(byTopic) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	member, err := p.heartbeat(ctx)
	if err != nil {
		p.c.complain(proofTrouble, p.c.cfg.Group, err)
	}
	for t, hs := range byTopic {
		if err != nil {
			p.again(t, hs)
			continue
		}
		if member == "" {
			for _, h := range hs {
				h.shard.post(h, func(m *task.Machine, now int64) { m.Proved(false, nil, now) })
			}
			continue
		}
		p.answer(ctx, t, hs, member)
	}
}

var errNotJoined = errors.New("not in the group at the moment")

// renew brings back a lease that has run out, or ends one of a member that the group does not know. What it cannot find out
// it is asked again: with the next heartbeat that is answered.
func (p *prover) renew(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.c.lease.session)
	defer cancel()
	if _, err := p.heartbeat(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, errNotJoined) {
		p.c.complain(proofTrouble, p.c.cfg.Group, err)
	}
}

// answer tells the tasks of one job topic, or asks for them again later.
func (p *prover) answer(ctx context.Context, t *topic, hs []*handle, member string) {
	at, err := p.c.places(ctx, hs)
	if err != nil {
		if missing := p.c.missing(ctx, t); errors.Is(err, kerr.TopicAuthorizationFailed) && missing != nil {
			err = missing // names the topics, which the answer does not
		}
		p.c.complain(proofTrouble, t.name, err)
		p.again(t, hs)
		return
	}
	delete(p.failures, t.name)
	for _, h := range hs {
		starts, mine := p.c.starts(&at, h), h.member == member
		h.shard.post(h, func(m *task.Machine, now int64) { m.Proved(mine, starts, now) })
	}
}

// again asks once more for tasks that could not be answered.
func (p *prover) again(t *topic, hs []*handle) {
	p.failures[t.name]++
	p.c.later(pause(p.failures[t.name]), func() {
		for _, h := range hs {
			p.ask(h)
		}
	})
}

// heartbeat returns the member id under which the group accepts us, empty when it does not, and moves the lease accordingly.
// It goes through another client than the group's, whose lease takes any answer for a good one.
func (p *prover) heartbeat(ctx context.Context) (string, error) {
	member, generation := p.c.group.GroupMetadata()
	if member == "" || generation < 0 {
		return "", errNotJoined
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = p.c.cfg.Group, member, generation
	if p.c.cfg.StaticID != "" {
		req.InstanceID = &p.c.cfg.StaticID
	}
	sent := time.Now()
	resp, err := req.RequestWith(ctx, p.c.writer)
	if err != nil {
		return "", err
	}
	switch err := kerr.ErrorForCode(resp.ErrorCode); {
	case err == nil, errors.Is(err, kerr.RebalanceInProgress):
		p.c.lease.proven(member, sent)
		return member, nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID):
		p.c.lease.endOf(member)
		return "", nil
	default: // a generation just passed: look again
		return "", err
	}
}

// missing is every right to a job topic and its engine topics that the user lacks, nil when there is none or none is known.
func (c *Consumer) missing(ctx context.Context, t *topic) error {
	_, err := setup.Probe(ctx, c.writer, c.rights(t.name))
	var missing *setup.RightsError
	if errors.As(err, &missing) {
		return missing
	}
	return nil
}
