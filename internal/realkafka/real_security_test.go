//go:build linux || darwin

package realkafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// login asks for metadata as the user.
func login(t *testing.T, c *Cluster, user, password string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return newClient(t, c.ClientOptsAs(user, password)...).Ping(ctx)
}

func TestRealSCRAMWithACLs(t *testing.T) {
	c := ForTest(t, Options{SASL: SASLScramSHA256, ACLs: true, Users: map[string]string{"early": "e1"}})
	roundTrip(t, c, "orders")
	if err := c.AddUser(t.Context(), "late", "l1"); err != nil {
		t.Fatal(err)
	}
	for user, password := range map[string]string{"early": "e1", "late": "l1"} {
		if err := login(t, c, user, password); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if err := login(t, c, user, "wrong"); !errors.Is(err, kerr.SaslAuthenticationFailed) {
			t.Errorf("%s with a wrong password: %v, want SASL_AUTHENTICATION_FAILED", user, err)
		}
	}

	late := newClient(t, append(c.ClientOptsAs("late", "l1"), kgo.DisableIdempotentWrite())...)
	if err := produce(t.Context(), late, "orders", "x"); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("write without a right: %v, want TOPIC_AUTHORIZATION_FAILED", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	reader := newClient(t, append(c.ClientOptsAs("late", "l1"), kgo.ConsumeTopics("orders"))...)
	if err := reader.PollFetches(ctx).Err(); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Errorf("read without a right: %v, want TOPIC_AUTHORIZATION_FAILED", err)
	}

	// With the right it works: the refusals were the authorizer's.
	admin := kadm.NewClient(newClient(t, c.ClientOpts()...))
	granted, err := admin.CreateACLs(t.Context(), kadm.NewACLs().Allow("User:late").AllowHosts("*").
		Topics("orders").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpWrite, kadm.OpDescribe))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range granted {
		if g.Err != nil {
			t.Fatal(g.Err)
		}
	}
	waitFor(t, 30*time.Second, func() error { return produce(t.Context(), late, "orders", "x") })

	// A new password replaces the old one.
	if err := c.AddUser(t.Context(), "late", "l2"); err != nil {
		t.Fatal(err)
	}
	if err := login(t, c, "late", "l1"); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("old password: %v, want SASL_AUTHENTICATION_FAILED", err)
	}
}

func TestRealPLAIN(t *testing.T) {
	c := ForTest(t, Options{SASL: SASLPlain, Users: map[string]string{"bob": "b1"}})
	roundTrip(t, c, "orders")
	if err := login(t, c, "bob", "b1"); err != nil {
		t.Error(err)
	}
	if err := login(t, c, "bob", "b2"); !errors.Is(err, kerr.SaslAuthenticationFailed) {
		t.Errorf("wrong password: %v, want SASL_AUTHENTICATION_FAILED", err)
	}
}

func TestRealTLS(t *testing.T) {
	c := ForTest(t, Options{TLS: true})
	roundTrip(t, c, "orders")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := newClient(t, kgo.SeedBrokers(c.Addrs()...)).Ping(ctx); err == nil {
		t.Error("a client without TLS got in")
	}
	ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	stranger := newClient(t, kgo.SeedBrokers(c.Addrs()...), kgo.DialTLS())
	if err := stranger.Ping(ctx); err == nil {
		t.Error("a client that does not trust the authority got in")
	}
}

// TestRealEverything has all of it at once, on three brokers, and a user that survives
// the loss of one.
func TestRealEverything(t *testing.T) {
	c := ForTest(t, Options{Brokers: 3, SASL: SASLScramSHA256, ACLs: true, TLS: true})
	if err := c.AddUser(t.Context(), "ann", "a1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(2); err != nil {
		t.Fatal(err)
	}
	if err := login(t, c, "ann", "a1"); err != nil {
		t.Error(err)
	}
	if err := c.StartBroker(2); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c, "orders")
}

func BenchmarkRealStart(b *testing.B) {
	for _, brokers := range []int{1, 3} {
		b.Run(fmt.Sprint(brokers), func(b *testing.B) {
			for b.Loop() {
				if err := ForTest(b, Options{Brokers: brokers}).Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
