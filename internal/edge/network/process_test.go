package network_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/waybill-dev/waybill/internal/edge"
	"github.com/waybill-dev/waybill/internal/realkafka"
	"github.com/waybill-dev/waybill/producer"
	"github.com/waybill-dev/waybill/retrytopics"
)

// The only broker of a cluster is frozen, killed, and runs out of disk, one after the other, under one instance and one
// producer: nothing of that ends them, and no job is lost.
func TestBrokerProcess(t *testing.T) {
	t.Parallel()
	k := realkafka.ForTest(t, realkafka.Options{})
	r := edge.New(t, edge.Real(k))
	i := r.Start("w")
	q, err := producer.New(producer.Config{Brokers: r.At.Brokers, Topic: r.Topic})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct{ down, up func(t *testing.T) }{
		"frozen":           {func(t *testing.T) { must(t, k.Pause(1)) }, func(t *testing.T) { must(t, k.Resume(1)) }},
		"killed":           {func(t *testing.T) { must(t, k.Kill(1)) }, func(t *testing.T) { must(t, k.StartBroker(1)) }},
		"its disk is full": {func(t *testing.T) { fill(t, k, r) }, func(t *testing.T) { must(t, k.StartBroker(1)) }},
	} {
		t.Run(name, func(t *testing.T) {
			r.Good(4)
			r.Finished()
			x.down(t)
			over := time.NewTimer(away(t))
			defer over.Stop()
			enqueued := make(chan error, 1)
			go func() {
				_, err := q.Enqueue(context.Background(), edge.Good{N: 2}, nil)
				enqueued <- err
			}()
			r.Until(func() string {
				if err := i.Ready(); err == nil || !strings.Contains(err.Error(), "no heartbeat was answered") {
					return fmt.Sprintf("ready: %v", err)
				}
				return ""
			})
			if said := fmt.Sprint(i.Ready()); name != "frozen" && !strings.Contains(said, "; look at the brokers and at the network") {
				t.Errorf("ready: %s", said)
			}
			<-over.C // how long it is away, and not to wait for something
			x.up(t)
			must(t, k.WaitReady(t.Context()))
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
			if !i.Alive() {
				t.Error("the instance ended by itself")
			}
		})
	}
	must(t, q.Close(context.Background()))
	must(t, i.Stop())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fill writes until the broker's disk takes no more: a broker whose only log folder fails a write shuts itself down.
func fill(t *testing.T, k *realkafka.Cluster, r *edge.Rig) {
	t.Helper()
	must(t, k.LimitFiles(1, 4<<20))
	ctx, cancel := context.WithTimeout(t.Context(), edge.Patience)
	defer cancel()
	cl, err := kgo.NewClient(append(r.Opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(2*time.Second))...)
	must(t, err)
	defer cl.Close()
	payload := `{"n":1,"pad":"` + strings.Repeat("x", 500<<10) + `"}`
	for n := 0; ; n++ {
		rec := r.Job(0, "good", fmt.Sprint("filler-", n), payload)
		if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
			break
		}
		if n > 1000 {
			t.Fatal("the disk takes everything")
		}
	}
	must(t, k.WaitEnded(ctx, 1))
}

// A broker with several disks lives on when one is full, and refuses what is on that one: what fails is named with its topic,
// and the disk.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	c := edge.Fake(t)
	r := edge.New(t, c)
	i := r.Start("w")
	r.Good(4)
	r.Finished()
	receipts := retrytopics.ReceiptTopic(r.Topic, r.Group)
	full := c.Kfake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: receipts, Err: kerr.KafkaStorageError, Count: -1})
	r.Good(4)
	r.Until(func() string {
		all := i.Status().Troubles
		for _, x := range all {
			if x.On == receipts && strings.HasPrefix(x.Do, "look at the broker that leads "+receipts) && strings.Contains(x.Do, "its disk is full") {
				return ""
			}
		}
		return fmt.Sprintf("%+v", all)
	})
	full.Remove()
	r.Good(4)
	r.Finished()
	must(t, i.Stop())
}
