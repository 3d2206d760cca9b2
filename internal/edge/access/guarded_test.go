package access_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/internal/setup"
)

// Everybody's password is their name.
var users = []string{"worker", "producer", "operator", "rotated"}

// guarded is a cluster with users and rights: nobody but the administrator has any to begin with.
type guarded struct {
	t *testing.T
	*edge.Cluster
	admin *kadm.Client
}

// both runs a case on an in-memory broker and on one real Kafka of its own, with users and rights. Parts of a case are
// subtests: a cluster takes seconds to start.
func both(t *testing.T, test func(g *guarded)) {
	t.Helper()
	t.Run("kfake", func(t *testing.T) {
		opts := []kfake.Opt{kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser(connect.ScramSHA256, realkafka.AdminUser, realkafka.AdminUser)}
		for _, u := range users {
			opts = append(opts, kfake.User(connect.ScramSHA256, u, u))
		}
		c := edge.Fake(t, opts...)
		c.Opts = append(c.Opts, kgo.SASL(scram.Auth{User: realkafka.AdminUser, Pass: realkafka.AdminUser}.AsSha256Mechanism()))
		test(guard(t, c))
	})
	t.Run("kafka", func(t *testing.T) {
		passwords := map[string]string{}
		for _, u := range users {
			passwords[u] = u
		}
		test(guard(t, edge.Real(realkafka.ForTest(t, realkafka.Options{SASL: realkafka.SASLScramSHA256, ACLs: true, Users: passwords}))))
	})
}

func guard(t *testing.T, c *edge.Cluster) *guarded {
	t.Helper()
	g := &guarded{t: t, Cluster: c}
	var err error
	c.Opts = append(c.Opts, kgo.MetadataMinAge(100*time.Millisecond)) // what was made just now is to be seen
	if g.admin, err = kadm.NewOptClient(c.Opts...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.admin.Close)
	g.At.SASL = as("worker")
	return g
}

func as(user string) connect.SASL {
	return connect.SASL{Mechanism: connect.ScramSHA256, Username: user, Password: user}
}

// opts are how a user gets in.
func (g *guarded) opts(user string) []kgo.Opt {
	g.t.Helper()
	at := g.At
	at.SASL = as(user)
	opts, err := at.Opts()
	if err != nil {
		g.t.Fatal(err)
	}
	return append(opts, kgo.MetadataMinAge(100*time.Millisecond))
}

// part is a subtest with a topic and a group of its own, which the administrator has made: topics and group are new, nobody
// has a right to them.
func (g *guarded) part(name string, test func(p *part)) {
	g.t.Run(name, func(t *testing.T) {
		p := &part{g: &guarded{t: t, Cluster: g.Cluster, admin: g.admin}, rig: edge.New(t, g.Cluster)}
		p.want = setup.Want{Group: p.rig.Group, Tiers: p.rig.Tiers, Topics: []setup.TopicWant{{Name: p.rig.Topic, Partitions: int(p.rig.Partitions)}}}
		test(p)
	})
}

type part struct {
	g    *guarded
	rig  *edge.Rig
	want setup.Want
}

// make creates the topics, as an operator does before anything runs.
func (p *part) make() {
	p.g.t.Helper()
	report, err := setup.Plan(p.g.t.Context(), p.g.admin, p.g.Opts, p.want)
	if err == nil {
		err = setup.Apply(p.g.t.Context(), p.g.admin, p.g.Opts, report)
	}
	if err != nil {
		p.g.t.Fatal(err)
	}
}

func (p *part) rights(role setup.Role) []setup.Right { return setup.Rights(role, p.want, nil) }

func acl(user string, r setup.Right) *kadm.ACLBuilder {
	b := kadm.NewACLs().Allow("User:" + user).AllowHosts("*").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kmsg.ACLOperation(r.Op))
	if r.Group {
		return b.Groups(r.Name)
	}
	return b.Topics(r.Name)
}

// grant gives a user rights, and waits until the brokers know.
func (p *part) grant(user string, rights ...setup.Right) {
	p.g.t.Helper()
	for _, r := range rights {
		made, err := p.g.admin.CreateACLs(p.g.t.Context(), acl(user, r))
		if err != nil || made[0].Err != nil {
			p.g.t.Fatal(r, err, made)
		}
	}
	p.known(user, rights, nil)
}

// revoke takes them away.
func (p *part) revoke(user string, rights ...setup.Right) {
	p.g.t.Helper()
	for _, r := range rights {
		gone, err := p.g.admin.DeleteACLs(p.g.t.Context(), acl(user, r))
		if err != nil || gone[0].Err != nil || len(gone[0].Deleted) != 1 {
			p.g.t.Fatal(r, err, gone)
		}
	}
	p.known(user, rights, rights)
}

// known waits until the brokers say that of those rights the user lacks just so many.
func (p *part) known(user string, rights, missing []setup.Right) {
	p.g.t.Helper()
	cl, err := kgo.NewClient(p.g.opts(user)...)
	if err != nil {
		p.g.t.Fatal(err)
	}
	defer cl.Close()
	p.rig.Until(func() string {
		left, err := lacks(p.g.t.Context(), cl, rights)
		if err != nil {
			return err.Error()
		}
		if !slices.Equal(names(left), names(missing)) {
			return fmt.Sprintf("%s lacks %v, not %v", user, left, missing)
		}
		return ""
	})
}

func lacks(ctx context.Context, cl *kgo.Client, rights []setup.Right) ([]setup.Right, error) {
	spare, err := setup.Probe(ctx, cl, rights)
	if missing, ok := err.(*setup.RightsError); ok {
		return append(spare, missing.Missing...), nil
	}
	return spare, err
}

func names(rights []setup.Right) (out []string) {
	for _, r := range rights {
		out = append(out, r.String())
	}
	slices.Sort(out)
	return out
}

// meter counts the requests that a client writes; it is a hook.
type meter struct {
	mu   sync.Mutex
	keys map[int16]int
}

func (m *meter) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil {
		m.keys = map[int16]int{}
	}
	m.keys[key]++
}

// take returns what was counted, and begins anew.
func (m *meter) take() map[int16]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := m.keys
	m.keys = nil
	return keys
}
