package realkafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askTimeout bounds one question to one broker while waiting for readiness.
const askTimeout = 5 * time.Second

// WaitReady returns once every broker that was started, and is not paused, answers and
// knows all the others that were, and topics with a replica on each can be created. It
// fails at once, with the end of its log, when one has ended by itself; it fails with
// the last answer when ctx ends, after three minutes without a deadline. On a cluster
// attached to or shared it returns at once.
func (c *Cluster) WaitReady(ctx context.Context) error {
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	if c.refuse != nil {
		return nil // somebody else's: attaching has asked already
	}
	var serving []*node
	for _, n := range c.nodes {
		if n.state().serving {
			serving = append(serving, n)
		}
	}
	if len(serving) == 0 {
		return errors.New("realkafka: no broker is running")
	}
	ids := make([]int32, 0, len(serving))
	for _, n := range serving {
		ids = append(ids, int32(n.plan.id))
	}
	for _, n := range serving {
		if err := c.waitNode(ctx, n, ids); err != nil {
			return err
		}
	}
	return nil
}

// waitNode waits until n alone, asked as the administrator, is ready.
func (c *Cluster) waitNode(ctx context.Context, n *node, ids []int32) error {
	cl, err := kgo.NewClient(c.access.clientOpts([]string{n.addr()}, AdminUser, c.access.adminPassword)...)
	if err != nil {
		return n.errorf(err)
	}
	defer cl.Close()
	return poll(ctx, n, func(ctx context.Context) error {
		if err := knowsBrokers(ctx, cl, ids); err != nil {
			return err
		}
		return canCreateTopic(ctx, cl, len(ids))
	})
}

// poll asks until ask succeeds, n dies, or ctx ends.
func poll(ctx context.Context, n *node, ask func(context.Context) error) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		askCtx, cancel := context.WithTimeout(ctx, askTimeout)
		err := ask(askCtx)
		cancel()
		if err == nil {
			return nil
		}
		if died := n.state().died; died != nil {
			return died
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return n.errorf(fmt.Errorf("not ready: %w; its last answer: %w; the end of its log:\n%s", context.Cause(ctx), err, n.logTail()))
		}
	}
}

// knowsBrokers asks the one seed of cl which brokers there are.
func knowsBrokers(ctx context.Context, cl *kgo.Client, ids []int32) error {
	known, err := askBrokers(ctx, cl)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.Contains(known, id) {
			return fmt.Errorf("it knows brokers %v, not yet all of %v", known, ids)
		}
	}
	return nil
}

// askBrokers returns the ids of the unfenced brokers the first seed of cl knows. It goes
// to the seed itself, where a plain request may go to any broker the client has met.
func askBrokers(ctx context.Context, cl *kgo.Client) ([]int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	answer, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, err
	}
	meta, ok := answer.(*kmsg.MetadataResponse)
	if !ok {
		return nil, fmt.Errorf("unexpected answer %T", answer)
	}
	ids := make([]int32, 0, len(meta.Brokers))
	for _, b := range meta.Brokers {
		ids = append(ids, b.NodeID)
	}
	slices.Sort(ids)
	return ids, nil
}

// canCreateTopic asks for a topic without creating it: the controller checks that it
// leads and has enough live brokers.
func canCreateTopic(ctx context.Context, cl *kgo.Client, replicas int) error {
	const name = "waybill-realkafka-probe"
	answers, err := kadm.NewClient(cl).ValidateCreateTopics(ctx, 1, int16(replicas), nil, name)
	if err != nil {
		return err
	}
	if err := answers[name].Err; err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic: %w", err)
	}
	return nil
}

// AddUser creates a SCRAM user, or gives it a new password, and returns once every
// running broker lets it in. The user has no rights of its own. It fails for PLAIN,
// whose users are fixed at start by Options.Users, and without SASL. ctx is given three
// minutes if it has no deadline.
func (c *Cluster) AddUser(ctx context.Context, user, password string) error {
	if c.access.mechanism != SASLScramSHA256 {
		return fmt.Errorf("realkafka: AddUser needs SASL %s, this cluster has %q: give the users in Options.Users", SASLScramSHA256, c.access.mechanism)
	}
	if err := validateUser(user, password); err != nil {
		return err
	}
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	admin, err := kgo.NewClient(c.ClientOpts()...)
	if err != nil {
		return fmt.Errorf("realkafka: %w", err)
	}
	defer admin.Close()
	altered, err := kadm.NewClient(admin).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{
		User: user, Mechanism: kadm.ScramSha256, Iterations: 4096, Password: password,
	}})
	if err == nil {
		err = altered.Error()
	}
	if err != nil {
		return fmt.Errorf("realkafka: add user %q: %w", user, err)
	}
	for _, n := range c.nodes {
		if !n.state().serving {
			continue
		}
		if err := c.waitLogin(ctx, n, user, password); err != nil {
			return err
		}
	}
	return nil
}

// waitLogin waits until n has heard of the user: credentials reach the brokers through
// the metadata log, each in its own time.
func (c *Cluster) waitLogin(ctx context.Context, n *node, user, password string) error {
	cl, err := kgo.NewClient(c.access.clientOpts([]string{n.addr()}, user, password)...)
	if err != nil {
		return n.errorf(err)
	}
	defer cl.Close()
	return poll(ctx, n, func(ctx context.Context) error {
		_, err := askBrokers(ctx, cl)
		return err
	})
}
