package network_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-dev/waybill/consumer"
	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/producer"
)

// A broker that is slow, hangs, is gone, or speaks nonsense for longer than a session lasts ends no instance and loses no
// job: the instance says that it is not ready and why, and goes on by itself.
func TestBrokersInTrouble(t *testing.T) {
	t.Run("kfake", func(t *testing.T) { // each on its own: parallel cases
		for name, is := range conditions {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				trouble(t, edge.Fake(t), is, 10*time.Second)
			})
		}
	})
	t.Run("kafka", func(t *testing.T) {
		c := edge.Real(realkafka.Shared(t))
		for name, is := range conditions {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				long := 12 * time.Second // twice a session
				if is == gone {
					long = time.Minute
				}
				trouble(t, c, is, long)
			})
		}
	})
}

var conditions = map[string]condition{"slow": slow, "hangs": silent, "gone": gone, "garbage": garbage}

// trouble has the line of one instance in trouble for so long, which is what the case is about, and not to wait for something.
func trouble(t *testing.T, c *edge.Cluster, is condition, long time.Duration) {
	r := edge.New(t, c)
	var l, ours line
	i := r.Start("w", over(&l))
	q, err := producer.New(producer.Config{Brokers: c.At.Brokers, Topic: r.Topic, Opts: []kgo.Opt{kgo.Dialer(ours.dial)}})
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

	l.become(is)
	ours.become(is)
	over := time.NewTimer(long)
	defer over.Stop()
	r.Good(4)
	enqueued := make(chan error, 1)
	go func() { enqueued <- enqueue(2) }()
	if is != slow {
		r.Until(func() string {
			err, troubles := i.Ready(), i.Status().Troubles
			if err != nil && (is == silent || len(troubles) > 0 && strings.Contains(err.Error(), "; look at the brokers and at the network")) {
				return ""
			}
			return fmt.Sprintf("ready: %v; troubles: %+v", err, troubles)
		})
	}
	<-over.C
	if is == slow {
		r.Finished()
	}
	l.become(fine)
	ours.become(fine)
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

func over(l *line) func(*consumer.Config) {
	return func(c *consumer.Config) { c.Opts = append(c.Opts, kgo.Dialer(l.dial)) }
}
