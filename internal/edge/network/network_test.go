package network_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/producer"
)

// away is for how long brokers are in trouble: well beyond a session. WAYBILL_EDGE_AWAY=1m is the long run.
func away(t *testing.T) time.Duration {
	t.Helper()
	said := os.Getenv("WAYBILL_EDGE_AWAY")
	if said == "" {
		return 12 * time.Second
	}
	d, err := time.ParseDuration(said)
	if err != nil {
		t.Fatalf("WAYBILL_EDGE_AWAY: %v", err)
	}
	return d
}

// A broker that is slow, hangs, is gone, or speaks nonsense for longer than a session lasts ends no instance and loses no
// job: the instance says that it is not ready and why, and goes on by itself.
func TestBrokersInTrouble(t *testing.T) {
	t.Parallel()
	t.Run("kfake", func(t *testing.T) { // each on its own: parallel cases
		t.Parallel()
		for name, is := range conditions {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				trouble(t, edge.Fake(t), is, 10*time.Second)
			})
		}
	})
	t.Run("kafka", func(t *testing.T) {
		t.Parallel()
		c := edge.Real(realkafka.Shared(t))
		for name, is := range conditions {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				trouble(t, c, is, away(t))
			})
		}
	})
}

var conditions = map[string]edge.Condition{"slow": edge.Slow, "hangs": edge.Silent, "gone": edge.Gone, "garbage": edge.Garbage}

// trouble has the line of one instance in trouble for so long, which is what the case is about, and not to wait for something.
func trouble(t *testing.T, c *edge.Cluster, is edge.Condition, long time.Duration) {
	r := edge.New(t, c)
	var l, ours edge.Line
	i := r.Start("w", over(&l))
	q, err := producer.New(producer.Config{Brokers: c.At.Brokers, Topic: r.Topic, Opts: []kgo.Opt{kgo.Dialer(ours.Dial)}})
	if err != nil {
		t.Fatal(err)
	}
	enqueue := func(n int) error {
		_, err := q.Enqueue(t.Context(), edge.Good{N: n}, nil)
		return err
	}
	if err := enqueue(1); err != nil {
		t.Error(err)
	}
	r.Good(4)
	r.Finished()

	l.Become(is)
	ours.Become(is)
	over := time.NewTimer(long)
	defer over.Stop()
	r.Good(4)
	enqueued := make(chan error, 1)
	go func() { enqueued <- enqueue(2) }()
	if is != edge.Slow {
		r.Until(func() string {
			err, troubles := i.Ready(), i.Status().Troubles
			if err != nil && (is == edge.Silent || len(troubles) > 0 && strings.Contains(err.Error(), "; look at the brokers and at the network")) {
				return ""
			}
			return fmt.Sprintf("ready: %v; troubles: %+v", err, troubles)
		})
	}
	<-over.C
	if is == edge.Slow {
		r.Finished()
	}
	l.Become(edge.Fine)
	ours.Become(edge.Fine)
	r.Good(4)
	r.Finished()
	r.Until(func() string {
		if err := i.Ready(); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := <-enqueued; err != nil {
		t.Errorf("enqueue: %v", err)
	}
	if err := q.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if !i.Alive() {
		t.Error("the instance ended by itself")
	}
	if err := i.Stop(); err != nil {
		t.Error(err)
	}
}

func over(l *edge.Line) func(*consumer.Config) {
	return func(c *consumer.Config) { c.Opts = append(c.Opts, kgo.Dialer(l.Dial)) }
}
