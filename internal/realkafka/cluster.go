package realkafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// startTimeout bounds Start and WaitReady when their context has no deadline. One broker
// needs two seconds on an idle machine, three on a busy small one need many more, and
// the first start on a machine downloads 44 MB and runs a broker for practice.
const startTimeout = 3 * time.Minute

// Cluster is a running Kafka, or one attached to (see [ForTest]). Brokers are named by
// their node id, which counts from 1. Safe for concurrent use.
type Cluster struct {
	opts   Options
	dir    string
	addrs  []string
	access access
	nodes  []*node // empty when the cluster belongs to somebody else

	removeDir bool
	leases    []portLease
	closeOnce sync.Once
	closeErr  error

	// For a cluster that belongs to somebody else: what to tell a test that wants to
	// control its processes.
	tb     testing.TB
	refuse func(tb testing.TB)
}

// access is how clients get in.
type access struct {
	mechanism     string
	adminPassword string
	tls           tlsFiles // zero without TLS
}

// Start starts a cluster and returns once every broker answers, knows all the others,
// and topics can be created. ctx bounds the start only; without a deadline it is given
// three minutes. On an error everything is cleaned up, and the error holds the end of
// the log of the broker at fault.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o = o.withDefaults()
	if err := errors.Join(systemError, o.validate()); err != nil {
		return nil, err
	}
	ctx, cancel := withStartTimeout(ctx)
	defer cancel()
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	jvm, err := findRuntime(ctx, cache)
	if err != nil {
		return nil, err
	}
	c := &Cluster{opts: o}
	if err := c.start(ctx, cache, jvm); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// start builds the cluster in c; on an error the caller closes c.
func (c *Cluster) start(ctx context.Context, cache string, jvm javaRuntime) error {
	if err := c.makeDir(); err != nil {
		return err
	}
	const portsPerBroker = 3
	leases, err := leasePorts(cache, c.opts.Brokers*portsPerBroker)
	if err != nil {
		return err
	}
	c.leases = leases
	c.access.mechanism = c.opts.SASL
	if c.opts.SASL != "" {
		c.access.adminPassword = rand.Text()
	}
	if c.opts.TLS {
		if c.access.tls, err = generateTLS(filepath.Join(c.dir, "tls")); err != nil {
			return err
		}
	}
	plans := make([]nodePlan, c.opts.Brokers)
	for i := range plans {
		ports := leases[i*portsPerBroker:]
		plans[i] = nodePlan{
			id: i + 1, dir: filepath.Join(c.dir, "broker-"+strconv.Itoa(i+1)),
			clientPort: ports[0].port, internalPort: ports[1].port, controllerPort: ports[2].port,
		}
	}
	if err := c.formatAll(ctx, plans, jvm); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return c.WaitReady(ctx)
}

// makeDir settles c.dir.
func (c *Cluster) makeDir() error {
	if c.opts.Dir == "" {
		dir, err := os.MkdirTemp("", "waybill-kafka-")
		if err != nil {
			return fmt.Errorf("realkafka: %w", err)
		}
		c.dir, c.removeDir = dir, true
		return nil
	}
	dir, err := filepath.Abs(c.opts.Dir)
	if err != nil {
		return fmt.Errorf("realkafka: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("realkafka: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("realkafka: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("realkafka: %s is not empty: Options.Dir must be a new folder, data of an earlier cluster is not adopted", dir)
	}
	c.dir = dir
	return nil
}

// formatAll creates c.nodes and c.addrs and formats the nodes side by side, since most
// of it is Java starting.
func (c *Cluster) formatAll(ctx context.Context, plans []nodePlan, jvm javaRuntime) error {
	cred := credentials{adminPassword: c.access.adminPassword, keystore: c.access.tls.keystore, truststore: c.access.tls.ca}
	scramUsers := map[string]string{}
	if c.opts.SASL == SASLScramSHA256 {
		scramUsers[AdminUser] = c.access.adminPassword
		for name, password := range c.opts.Users {
			scramUsers[name] = password
		}
	}
	var log *lockedWriter
	if c.opts.Log != nil {
		log = &lockedWriter{w: c.opts.Log}
	}
	clusterID := randomClusterID()
	errs := make([]error, len(plans))
	var wg sync.WaitGroup
	for i, plan := range plans {
		n := &node{plan: plan, jvm: jvm, opts: c.opts}
		if log != nil {
			n.log = log
		}
		c.nodes = append(c.nodes, n)
		c.addrs = append(c.addrs, n.addr())
		properties := brokerProperties(c.opts, plan, plans, cred)
		wg.Go(func() { errs[i] = n.format(ctx, clusterID, properties, scramUsers) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close kills all brokers, joins them, and removes the directory if Start made it. It
// kills because data is not used again; call Stop first where a clean shutdown is the
// point. Further calls return the same error; on a cluster that was attached to or is
// shared, Close does nothing.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		for _, n := range c.nodes {
			n.close()
		}
		releasePorts(c.leases)
		if c.removeDir {
			if err := os.RemoveAll(c.dir); err != nil {
				c.closeErr = fmt.Errorf("realkafka: %w", err)
			}
		}
	})
	return c.closeErr
}

// Addrs returns the brokers' client addresses as host:port, in the order of their ids,
// also of those that are down.
func (c *Cluster) Addrs() []string { return slices.Clone(c.addrs) }

// Dir returns the folder of configuration, logs and data, "" when attached.
func (c *Cluster) Dir() string { return c.dir }

// AdminPassword returns AdminUser's password, "" without SASL.
func (c *Cluster) AdminPassword() string { return c.access.adminPassword }

// CAFile returns the PEM file clients must trust, "" without TLS.
func (c *Cluster) CAFile() string { return c.access.tls.ca }

// ClientOpts returns what a kgo client needs to connect, as AdminUser when there is
// SASL. The slice is new on each call: append to it.
func (c *Cluster) ClientOpts() []kgo.Opt {
	return c.ClientOptsAs(AdminUser, c.access.adminPassword)
}

// ClientOptsAs is ClientOpts with another user; without SASL it is the same.
func (c *Cluster) ClientOptsAs(user, password string) []kgo.Opt {
	return c.access.clientOpts(c.addrs, user, password)
}

func (a access) clientOpts(addrs []string, user, password string) []kgo.Opt {
	opts := []kgo.Opt{kgo.SeedBrokers(addrs...)}
	switch a.mechanism {
	case SASLPlain:
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism()))
	case SASLScramSHA256:
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism()))
	}
	if a.tls.config != nil {
		opts = append(opts, kgo.DialTLSConfig(a.tls.config))
	}
	return opts
}

func withStartTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, startTimeout)
}

// randomClusterID returns a Kafka UUID: 16 bytes in URL-safe base64. One that begins
// with a dash would be taken for an option by the storage tool.
func randomClusterID() string {
	for {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails, says crypto/rand
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id
		}
	}
}
