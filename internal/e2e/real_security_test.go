package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/waybill-dev/waybill/connect"
	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/job"
)

// A producer and a group get into a Kafka that wants SCRAM over TLS, by settings alone.
func TestRealSCRAMOverTLS(t *testing.T) {
	c := realkafka.ForTest(t, realkafka.Options{SASL: realkafka.SASLScramSHA256, TLS: true, Users: map[string]string{"svc": "right"}})
	at := connect.Settings{Brokers: c.Addrs(), TLS: connect.TLS{Enabled: true, CAFile: c.CAFile()},
		SASL: connect.SASL{Mechanism: connect.ScramSHA256, Username: "svc", Password: "right"}}
	r := rigAs(t, c, at)
	a, b := r.start("a"), r.start("b")
	r.settled(a, b)
	const n = 100
	for i := range n {
		s := script{}
		if i%10 == 0 {
			s.Fails = 1
		}
		r.enqueue(fmt.Sprint("job-", i), s, job.Options{})
	}
	until(t, patience, func() string {
		if got := len(r.calls("")); got < n+n/10 {
			return fmt.Sprintf("%d calls, want %d", got, n+n/10)
		}
		return ""
	})
	r.idle(tiers...)
	if got := len(r.calls("")); got != n+n/10 {
		t.Errorf("%d calls, want %d", got, n+n/10)
	}
	for what, change := range map[string]func(*consumer.Config){
		"a wrong password":          func(c *consumer.Config) { c.SASL.Password = "wrong" },
		"an authority it must know": func(c *consumer.Config) { c.TLS.CAFile = "" },
		"clear text":                func(c *consumer.Config) { c.TLS = connect.TLS{} },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		err := consumer.Run(ctx, r.config("intruder", change))
		late := ctx.Err() != nil
		cancel()
		if err == nil {
			t.Errorf("%s: no error", what)
		}
		if what == "a wrong password" && (late || !errors.Is(err, kerr.SaslAuthenticationFailed)) {
			t.Errorf("%s: %v", what, err)
		}
		t.Logf("%s: %v", what, err)
	}
}
